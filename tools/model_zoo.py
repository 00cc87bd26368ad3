#!/usr/bin/env python3
"""Published weights by name: list them, download them, check what is in the cache.

MODIST_DET_CACHE names the folder of downloads (default ~/.cache/modist_det), MODIST_DET_OFFLINE=1 forbids them,
MODIST_DET_LOCK names the file of hashes (default: lock.json in that folder).
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from modist_det.utils.cli import make_parser, run_cli
from modist_det.utils.errors import UserError

EXAMPLE = """\
  python tools/model_zoo.py list --task detection
  python tools/model_zoo.py info pytorchvideo/slowfast_8x8_r50_ava22
  python tools/model_zoo.py download pytorchvideo/slowfast_8x8_r50_ava22
  python tools/model_zoo.py verify
  python tools/model_zoo.py lock --out zoo.lock.json
  python tools/model_zoo.py list --markdown > MODEL_ZOO.md"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="names, tasks, published results")
    listing.add_argument("--task", help="detection, classification, pretraining or person_detection")
    listing.add_argument("--markdown", action="store_true", help="the page MODEL_ZOO.md")

    info = commands.add_parser("info", help="everything known of one entry")
    info.add_argument("name")
    info.add_argument("--tensors", action="store_true", help="and the tensors that its file must have")

    download = commands.add_parser("download", help="fetch files into the cache; prints their paths")
    download.add_argument("names", nargs="+", metavar="NAME", help="or a URL, or torchvision://NAME/WEIGHTS")

    verify = commands.add_parser("verify", help="check hashes, and that each file fills its network")
    verify.add_argument("names", nargs="*", metavar="NAME", help="(default: all that are in the cache)")

    lock = commands.add_parser("lock", help="record the hashes of files in the cache")
    lock.add_argument("names", nargs="*", metavar="NAME", help="(default: all that are in the cache)")
    lock.add_argument("--out", type=Path, metavar="FILE", help="write them to this file instead")
    return parser


def main(args: argparse.Namespace) -> int:
    from modist_det import model_zoo
    from modist_det.model_zoo import commands, page

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    if args.command == "list":
        if args.markdown and args.task:
            raise UserError("--markdown is the whole page; leave out --task")
        entries = [model_zoo.get_entry(name) for name in model_zoo.list(args.task)]
        print(
            page.markdown_page() if args.markdown else page.table(entries), end="" if args.markdown else "\n"
        )
    elif args.command == "info":
        entry = model_zoo.get_entry(args.name)
        print(commands.describe(entry))
        if args.tensors:
            from modist_det.model_zoo.zoo import expected_tensors

            for name, shape in expected_tensors(entry).items():
                print(f"  {name} {list(shape)}")
    elif args.command == "download":
        for path in commands.download(args.names):
            print(path)
    elif args.command == "verify":
        faults = commands.verify(args.names)
        for name, fault in faults.items():
            print(f"{name}: {fault or 'as it should be'}")
        if not faults:
            print("no model zoo file is in the cache")
        return 1 if any(faults.values()) else 0
    else:
        path, count = commands.lock(args.names, args.out)
        print(f"{path}: {count} hashes")
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
