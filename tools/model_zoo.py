#!/usr/bin/env python3
"""List published weights, download them, and verify the cache.

MODIST_DET_CACHE sets the download folder (default ~/.cache/modist_det), MODIST_DET_OFFLINE=1 forbids downloads, and
MODIST_DET_LOCK sets the file of hashes (default: lock.json in the download folder).
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
    listing.add_argument("--markdown", action="store_true", help="print the page MODEL_ZOO.md")

    info = commands.add_parser("info", help="show all details of one entry")
    info.add_argument("name")
    info.add_argument("--tensors", action="store_true", help="also list the tensors that its file must have")

    download = commands.add_parser("download", help="download files into the cache and print their paths")
    download.add_argument("names", nargs="+", metavar="NAME", help="entry, URL or torchvision://NAME/WEIGHTS")

    verify = commands.add_parser("verify", help="check hashes, and that each file matches its network")
    verify.add_argument("names", nargs="*", metavar="NAME", help="entries (default: all in the cache)")

    lock = commands.add_parser("lock", help="record the hashes of the files in the cache")
    lock.add_argument("names", nargs="*", metavar="NAME", help="entries (default: all in the cache)")
    lock.add_argument("--out", type=Path, metavar="FILE", help="write the hashes to this file instead")
    return parser


def main(args: argparse.Namespace) -> int:
    from modist_det import model_zoo
    from modist_det.model_zoo import commands, page

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    if args.command == "list":
        if args.markdown and args.task:
            raise UserError("--markdown prints the whole page; remove --task")
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
