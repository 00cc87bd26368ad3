"""What ``tools/run_net.py`` does."""

from __future__ import annotations

import argparse
import functools

__all__ = ["main"]


def main(args: argparse.Namespace) -> int:
    """Train or evaluate according to the arguments of :func:`~modist_det.engine.arguments.run_net_parser`."""
    # Imported late so that --help and a wrong option respond at once.
    from ..config import get_cfg
    from ..engine.launch import Timeouts, launch
    from ..engine.run import run

    if args.slurm:
        from .slurm import submit_run

        job = submit_run(args, main)
        print(f"submitted job {job.job_id}; its log: {job.paths.stdout}")
        return 0
    cfg = get_cfg(args.cfg, args.overrides)
    if args.num_gpus == 0:
        cfg.MODEL.DEVICE = "cpu"
    timeouts = Timeouts(cfg.DISTRIBUTED.RANK_TIMEOUT, cfg.DISTRIBUTED.GROUP_TIMEOUT)
    work = functools.partial(run, cfg, resume=args.resume, eval_only=args.eval_only)
    return launch(work, args.num_gpus, timeouts)
