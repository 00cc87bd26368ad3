#!/usr/bin/env python3
"""Generate the Puppets dataset: short videos of drawn people who do named actions, with AVA-style annotations.

The same seed and options give the same files. A complete dataset is kept; an interrupted run continues where it
stopped.
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
    "fps": "frames per second",
    "seconds": "length of each video",
    "min_people": "fewest people in a video",
    "max_people": "most people in a video",
    "min_figure": "height of the smallest person, as a fraction of the frame's height",
    "max_figure": "height of the largest person, as a fraction of the frame's height",
    "appearances": "number of different persons and of different places",
    "texture_contrast": "contrast of clothes and backgrounds, 0 to 1",
    "max_distractors": "most moving objects that are not people, per video",
    "distractor_speed": "speed of these objects; 0: they stand still",
    "camera_motion": "camera motion from 0 (tripod) to 1 (shake, pan and zoom)",
    "shadow": "darkness of shadows on the ground, 0 to 1",
}


def parser() -> argparse.ArgumentParser:
    p = make_parser(__doc__, EXAMPLE)
    p.add_argument(
        "--preset",
        choices=list(PRESETS),
        default="scenes",
        help="scenes (default): several people and actions per video, for detection; actions: one person and one "
        "action per video, also in UCF101's and Kinetics' formats, for pretraining and classification",
    )
    p.add_argument(
        "--out", type=Path, help="output folder (default: datasets/puppets, datasets/puppets_actions)"
    )
    p.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    p.add_argument(
        "--workers", type=int, help="worker processes; 0: only this process (default: one per core)"
    )
    p.add_argument(
        "--overwrite", action="store_true", help="replace a different Puppets dataset in the folder"
    )
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
