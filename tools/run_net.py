#!/usr/bin/env python3
"""Train or evaluate a model described by a config; --help shows examples."""

from __future__ import annotations

import argparse
import functools
import sys

from modist_det.engine.arguments import run_net_parser
from modist_det.utils.cli import run_cli


def main(args: argparse.Namespace) -> int:
    # Imported late so that --help and a wrong option respond at once.
    from modist_det.config import get_cfg
    from modist_det.engine.launch import Timeouts, launch
    from modist_det.engine.run import run

    cfg = get_cfg(args.cfg, args.overrides)
    if args.num_gpus == 0:
        cfg.MODEL.DEVICE = "cpu"
    timeouts = Timeouts(cfg.DISTRIBUTED.RANK_TIMEOUT, cfg.DISTRIBUTED.GROUP_TIMEOUT)
    work = functools.partial(run, cfg, resume=args.resume, eval_only=args.eval_only)
    return launch(work, args.num_gpus, timeouts)


if __name__ == "__main__":
    sys.exit(run_cli(run_net_parser(), main))
