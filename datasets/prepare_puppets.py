#!/usr/bin/env python3
"""Generate the puppets dataset: short videos of drawn people who do named actions, with AVA annotations.

The same seed and options give the same files. A set that is already complete is kept; a run that was stopped
goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modist_det.puppets import PRESETS, contact_sheet, generate
from modist_det.utils.cli import make_parser, run_cli

EXAMPLE = """\
  python datasets/prepare_puppets.py
  python datasets/prepare_puppets.py --preset actions
  python datasets/prepare_puppets.py --out /tmp/hard --max-people 5 --camera-motion 1 --texture-contrast 1
  python datasets/prepare_puppets.py --contact-sheet puppets.png"""

FOLDERS = {"scenes": Path("datasets/puppets"), "actions": Path("datasets/puppets_actions")}
HELP = {
    "train_videos": "videos of the training split",
    "val_videos": "videos of the validation split",
    "frame_width": "pixels",
    "frame_height": "pixels",
    "fps": "frames a second",
    "seconds": "length of each video",
    "min_people": "fewest people in a video",
    "max_people": "most people in a video",
    "min_figure": "smallest person: height over the frame's height",
    "max_figure": "largest person: height over the frame's height",
    "appearances": "how many different persons, and places, the set has",
    "texture_contrast": "of clothes and backgrounds, 0 to 1",
    "max_distractors": "most moving things that are nobody, in a video",
    "distractor_speed": "0: they stand still",
    "camera_motion": "0: a tripod; 1: shake, pan and zoom",
    "shadow": "darkness of shadows on the ground, 0 to 1",
}


def parser() -> argparse.ArgumentParser:
    p = make_parser(__doc__, EXAMPLE)
    p.add_argument(
        "--preset",
        choices=list(PRESETS),
        default="scenes",
        help="scenes (default): several people and actions a video, for detection; actions: one person and one action "
        "a video, written in UCF101's and Kinetics' formats, too, for pretraining and classification",
    )
    p.add_argument(
        "--out", type=Path, help="folder of the set (default: datasets/puppets, datasets/puppets_actions)"
    )
    p.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    p.add_argument("--workers", type=int, help="processes; 0: none beside this one (default: one a core)")
    p.add_argument("--overwrite", action="store_true", help="replace another puppets set in the folder")
    p.add_argument(
        "--contact-sheet",
        type=Path,
        metavar="FILE",
        help="also write a PNG with a strip of frames for each class",
    )
    for name, text in HELP.items():
        default = getattr(PRESETS["scenes"], name)
        p.add_argument("--" + name.replace("_", "-"), type=type(default), help=f"{text} (scenes: {default})")
    return p


def main(args: argparse.Namespace) -> None:
    given = {name: getattr(args, name) for name in HELP if getattr(args, name) is not None}
    params = replace(PRESETS[args.preset], **given)
    out = args.out or FOLDERS[args.preset]
    made = generate(out, params, seed=args.seed, workers=args.workers, overwrite=args.overwrite)
    videos = f"{params.train_videos} training and {params.val_videos} validation videos"
    print(f"{out}: {videos}, {'written' if made else 'already complete, kept'}")
    if args.contact_sheet:
        contact_sheet(out, args.contact_sheet, split="val" if params.val_videos else "train")
        print(f"contact sheet: {args.contact_sheet}")


if __name__ == "__main__":
    sys.exit(run_cli(parser(), main))
