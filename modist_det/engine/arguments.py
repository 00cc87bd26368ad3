"""Arguments of ``tools/run_net.py``."""

from __future__ import annotations

import argparse

from ..utils.cli import at_least, make_parser

__all__ = ["run_net_parser"]

_EXAMPLE = """\
  python tools/run_net.py --cfg configs/Puppets/Slow_R18.yaml
  python tools/run_net.py --cfg configs/Puppets/Slow_R18.yaml --resume SOLVER.MAX_EPOCH 20
  python tools/run_net.py --cfg configs/Puppets/Slow_R18.yaml --eval-only MODEL.WEIGHTS model.pth
  torchrun --nproc_per_node 8 tools/run_net.py --cfg configs/AVA/Slow_R50_8x8.yaml
  python tools/run_net.py --cfg configs/AVA/Slow_R50_8x8.yaml --slurm partition=gpu time=240 nodes=2 gpus=8"""


def run_net_parser() -> argparse.ArgumentParser:
    """The command line of training and evaluation."""
    parser = make_parser(
        "Train a model described by a config file, or evaluate it with --eval-only.", _EXAMPLE
    )
    parser.add_argument("--cfg", required=True, metavar="FILE", help="config file (YAML)")
    parser.add_argument(
        "--resume", action="store_true", help="continue from the last checkpoint in OUTPUT_DIR"
    )
    parser.add_argument(
        "--eval-only",
        action="store_true",
        help="evaluate MODEL.WEIGHTS or the last checkpoint in OUTPUT_DIR, without training",
    )
    parser.add_argument(
        "--num-gpus",
        type=at_least(0),
        default=None,
        metavar="N",
        help="processes on this machine, one per GPU; 0 runs on the CPU (default: 1 with a GPU, else 0)",
    )
    parser.add_argument(
        "--slurm",
        nargs="+",
        metavar="NAME=VALUE",
        help="submit the run as a job of a Slurm cluster, which is queued again when it is preempted or out of time: "
        "time (minutes), nodes, gpus and tasks (per node), cpus (per task), mem (GB per node), partition, account, ... "
        "(docs/CLUSTERS.md)",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY VALUE", help="config keys to set, e.g. SOLVER.BASE_LR 0.1"
    )
    return parser
