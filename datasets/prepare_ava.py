#!/usr/bin/env python3
"""Describe, check and split AVA-style data of your own: videos, one csv of person boxes with actions, a label map."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modist_det.data.catalog import DatasetCatalog
from modist_det.data.datasets import AVADataset
from modist_det.data.datasets.ava_check import check_dataset, format_report
from modist_det.data.datasets.ava_kinetics import write_clip_annotations
from modist_det.data.datasets.ava_prepare import split_dataset, write_description, write_label_map
from modist_det.formats.ava.files import read_ava_boxes
from modist_det.utils.cli import at_least, make_parser, run_cli
from modist_det.utils.errors import UserError

AVA_CLASSES = 80  # AVA trains these; its label map names the 60 that are evaluated

EXAMPLE = """\
  python datasets/prepare_ava.py init --videos clips --annotations boxes.csv --label-map actions.pbtxt \\
      --out datasets/mine/all.yaml
  python datasets/prepare_ava.py check datasets/mine/all.yaml
  python datasets/prepare_ava.py split datasets/mine/all.yaml --val-share 0.2"""


def parser() -> argparse.ArgumentParser:
    p = make_parser(__doc__, EXAMPLE)
    commands = p.add_subparsers(dest="command", required=True, metavar="{init,kinetics,check,split}")

    init = commands.add_parser("init", help="write a description file of a dataset")
    init.add_argument(
        "--videos",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="folders of videos or of frame folders",
    )
    init.add_argument(
        "--annotations",
        type=Path,
        required=True,
        metavar="CSV",
        help="video,second,x1,y1,x2,y2,action[,person]; boxes in [0, 1]",
    )
    init.add_argument(
        "--label-map",
        type=Path,
        metavar="PBTXT",
        help="names of the actions (default: a label_map.pbtxt written beside --out, with names for you to edit)",
    )
    init.add_argument(
        "--person-boxes",
        type=Path,
        metavar="CSV",
        help="boxes of a person detector: video,second,x1,y1,x2,y2,,score",
    )
    init.add_argument("--exclusions", type=Path, metavar="CSV", help="keyframes to exclude: video,second")
    init.add_argument(
        "--first-second",
        type=float,
        metavar="S",
        help="the csv's second at each video's first frame (default: 0)",
    )
    init.add_argument("--fps", type=float, help="frame rate of frame folders (default: 30)")
    init.add_argument(
        "--keyframe-spacing", type=float, metavar="S", help="seconds between keyframes (default: 1)"
    )
    init.add_argument("--force", action="store_true", help="replace existing files")
    init.add_argument("--out", type=Path, required=True, metavar="YAML", help="the description file to write")

    kinetics = commands.add_parser("kinetics", help="describe the Kinetics part of AVA-Kinetics")
    kinetics.add_argument(
        "--videos",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="Kinetics-700's clips, ID_START_END.mp4",
    )
    kinetics.add_argument(
        "--annotations", type=Path, required=True, metavar="CSV", help="kinetics_train_v1.0.csv"
    )
    kinetics.add_argument("--label-map", type=Path, required=True, metavar="PBTXT", help="AVA's")
    kinetics.add_argument("--force", action="store_true", help="replace existing files")
    kinetics.add_argument(
        "--out", type=Path, required=True, metavar="YAML", help="the description file to write"
    )

    check = commands.add_parser("check", help="check files and videos; exit status 0 if nothing is wrong")
    check.add_argument("dataset", metavar="DESCRIPTION", help="description file or catalogue name")
    check.add_argument(
        "--limit",
        type=at_least(0),
        default=100,
        metavar="N",
        help="number of problems to print (default: %(default)s)",
    )
    check.add_argument(
        "--threads", type=at_least(1), metavar="N", help="videos to open in parallel (default: one per CPU)"
    )

    split = commands.add_parser(
        "split", help="split a dataset by video into train.yaml and val.yaml, and check both"
    )
    split.add_argument("dataset", metavar="DESCRIPTION", help="description file")
    split.add_argument(
        "--val-share",
        type=float,
        default=0.2,
        metavar="X",
        help="share of the videos for validation (default: %(default)s)",
    )
    split.add_argument(
        "--seed", type=at_least(0), default=0, help="random seed of the split (default: %(default)s)"
    )
    split.add_argument("--force", action="store_true", help="replace existing files")
    split.add_argument("--out", type=Path, metavar="DIR", help="output folder (default: that of DESCRIPTION)")
    return p


def main(args: argparse.Namespace) -> int:
    return {"init": _init, "kinetics": _kinetics, "check": _check, "split": _split}[args.command](args)


def _init(args: argparse.Namespace) -> int:
    for folder in args.videos:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder" if folder.exists() else f"{folder} does not exist")
    for path in (args.annotations, args.label_map, args.person_boxes, args.exclusions):
        if path is not None and not path.is_file():
            raise UserError(f"{path} is a folder, not a file" if path.exists() else f"{path} does not exist")
    if args.out.suffix.lower() not in (".yaml", ".yml"):
        raise UserError(f"--out {args.out}: a description file ends in .yaml")
    if args.out.exists() and not args.force:
        raise UserError(f"{args.out} exists; remove it, choose another name, or add --force")
    settings = {
        "videos": args.videos,
        "label_map": args.label_map or args.out.parent / "label_map.pbtxt",
        "annotations": args.annotations,
        "person_boxes": args.person_boxes,
        "exclusions": args.exclusions,
        "first_second": args.first_second,
        "fps": args.fps,
        "keyframe_spacing": args.keyframe_spacing,
    }
    # Validates the settings before anything is written.
    AVADataset(args.out.stem, **{key: value for key, value in settings.items() if value is not None})
    if args.label_map is None:
        used = sorted(set(read_ava_boxes(args.annotations).action.tolist()))
        if not used:
            raise UserError(f"{args.annotations} has no row with an action, so there is no label map to make")
        label_map = write_label_map(settings["label_map"], used, force=args.force)
        print(f"wrote {label_map}; replace its names (class 1 ...) with those of your classes")
    write_description(args.out, settings, force=args.force)
    print(f"wrote {args.out}; next: python datasets/prepare_ava.py check {args.out}")
    return 0


def _kinetics(args: argparse.Namespace) -> int:
    rows = args.out.with_suffix(".csv")
    if rows.resolve() == args.annotations.resolve():
        raise UserError(f"{rows} would be written over by times of the clips; choose another name for --out")
    for file in (args.out, rows):
        if file.exists() and not args.force:
            raise UserError(f"{file} exists; remove it, choose another name, or add --force")
    missing = [str(path) for path in (args.annotations, args.label_map, *args.videos) if not path.exists()]
    if missing:
        raise UserError(
            f"missing: {', '.join(missing)}. How to get them: section AVA-Kinetics of datasets/README.md"
        )
    found, labelled = write_clip_annotations(args.annotations, args.videos, rows)
    settings = {"videos": args.videos, "label_map": args.label_map, "annotations": rows}
    write_description(args.out, {**settings, "num_classes": AVA_CLASSES}, force=args.force)
    print(f"wrote {args.out} and {rows}: {found} of {labelled} labelled keyframes are in the clips")
    return 0


def _check(args: argparse.Namespace) -> int:
    report = check_dataset(_open(args.dataset), threads=args.threads, progress=sys.stderr.isatty())
    print(format_report(report, args.limit))
    return 1 if report.problems else 0


def _split(args: argparse.Namespace) -> int:
    folder = args.out or Path(args.dataset).parent
    parts = split_dataset(_open(args.dataset), folder, args.val_share, args.seed, force=args.force)
    for split, (description, videos) in parts.items():
        print(f"wrote {description}: {len(videos)} videos for {split}")
    for description, _ in parts.values():
        report = check_dataset(_open(str(description)), progress=sys.stderr.isatty())
        print(f"\n{description}\n{format_report(report)}")
    return 0


def _open(name: str) -> AVADataset:
    dataset = DatasetCatalog.get(name)
    if not isinstance(dataset, AVADataset):
        raise UserError(f"{name} is not an AVA-style dataset")
    return dataset


if __name__ == "__main__":
    sys.exit(run_cli(parser(), main))
