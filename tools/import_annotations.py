#!/usr/bin/env python3
"""Turn tracks of an annotation tool (CVAT, VIA, ...) into a dataset of tubes: a checked description file."""

from __future__ import annotations

import argparse
import functools
import sys
from collections import Counter
from pathlib import Path

from modist_det.utils.cli import at_least, make_parser, number_from, run_cli
from modist_det.utils.errors import UserError, nearest

EXAMPLE = """\
  python tools/import_annotations.py walk.xml run.xml --videos videos --attributes action --out mine
  python tools/import_annotations.py boxes.json --format coco-video --videos videos --test walk --out mine"""


def get_parser() -> argparse.ArgumentParser:
    from modist_det.formats.annotations import FORMATS

    parser = make_parser(__doc__, EXAMPLE)
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="annotation files (docs/ANNOTATIONS.md)")
    add("--format", default="", help=f"{', '.join(FORMATS)} (default: recognized)")
    add(
        "--videos",
        required=True,
        type=Path,
        metavar="FOLDER",
        help="the annotated videos or folders of frames",
    )
    add("--out", required=True, metavar="NAME", help="writes NAME.json and NAME.yaml")
    add(
        "--attributes",
        nargs="+",
        metavar="A",
        help="attributes whose values are actions (default: all; without attributes, labels are the actions)",
    )
    add(
        "--test",
        nargs="+",
        default=[],
        metavar="VIDEO",
        help="videos to test on: writes NAME_train.yaml and NAME_test.yaml instead of NAME.yaml",
    )
    add("--every", type=at_least(1), default=1, metavar="N", help="a keyframe at each N-th annotated frame")
    add("--fps", type=number_from(0, above=True), help="frame rate of folders of frames")
    return parser


def main(args: argparse.Namespace) -> None:
    from modist_det.data.datasets.ava_prepare import write_description
    from modist_det.data.datasets.description import load_description
    from modist_det.data.datasets.videos import find_videos
    from modist_det.formats.annotations import TrackAnnotations, read_annotations, to_tubes
    from modist_det.structures.tubes import VideoSize
    from modist_det.utils.files import atomic_path, write_json
    from modist_det.video.reader import probe

    @functools.cache
    def path_of(name: str) -> str:
        found = find_videos([str(args.videos)], [name])
        if name not in found:
            raise UserError(f"{args.videos} has no video {name!r}; name videos as in the annotations")
        return found[name]

    @functools.cache
    def size_of(name: str) -> VideoSize:
        info = probe(path_of(name), args.fps)
        return VideoSize(info.width, info.height, info.num_frames, info.fps)

    read = [read_annotations(path, args.format, size_of) for path in args.files]
    counts = Counter(name for part in read for name in part.videos)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise UserError(f"video {twice[0]} is in two of the files; give only one of them")
    for name in args.test:
        if name not in counts:
            raise UserError(f"--test: no video {name!r}{nearest(name, counts)} is annotated")
        if name.split() != [name]:
            raise UserError(
                f"--test: {name!r} has a space, which lists of videos cannot have; rename the video"
            )
    train = sorted(counts.keys() - set(args.test))
    if not train:
        raise UserError("--test names all annotated videos; leave at least one for training")
    videos = {name: size_of(name) for name in sorted(counts)}
    for part in read:
        for name, size in part.videos.items():
            if size.width and size[:2] != videos[name][:2]:
                raise UserError(
                    f"video {name} was annotated at {size.width} x {size.height} pixels, but {path_of(name)} "
                    f"has {videos[name].width} x {videos[name].height}; use the video that was annotated"
                )
    merged = TrackAnnotations(videos, [track for part in read for track in part.tracks])
    content = to_tubes(merged, args.attributes)

    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(f"{out}.json", content, indent=None)
    settings = {"videos": args.videos, "annotations": Path(f"{out}.json"), "every": args.every}
    subsets = {f"{out}": sorted(counts)}
    if args.test:
        subsets = {f"{out}_train": train, f"{out}_test": args.test}
    for subset, names in subsets.items():
        if args.test:
            settings["list_file"] = Path(f"{subset}.txt")
            with atomic_path(settings["list_file"]) as temporary:
                temporary.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        path = write_description(f"{subset}.yaml", settings, format="tubes", force=True)
        print(f"wrote {path}: {len(names)} videos, {len(load_description(path).records())} keyframes")
    tubes = Counter(tube["label"] for entry in content.values() for tube in entry["tubes"])
    print("tubes of each class: " + ", ".join(f"{name} {count}" for name, count in sorted(tubes.items())))


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
