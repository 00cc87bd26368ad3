#!/usr/bin/env python3
"""Pack many videos into a few tar files that are read in place.

The result is a folder of shards with an index that stands for the folder of videos: name it as 'videos:' in a
description, here or by its https:// address. The shards are those of webdataset. Finished shards are kept: an
interrupted run continues where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from modist_det.utils.cli import add_videos, at_least, make_parser, number_from, run_cli
from modist_det.utils.errors import UserError

EXAMPLE = """\
  python tools/pack_videos.py k400_256/train --out k400_packed/train
  python tools/pack_videos.py datasets/mine/train.yaml --out datasets/mine/packed --shard-size 64"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    add = parser.add_argument
    add_videos(parser)
    add("--out", required=True, metavar="FOLDER", help="folder of the shards")
    add(
        "--shard-size",
        type=number_from(0, above=True),
        default=256,
        metavar="MB",
        help="of a shard (default: %(default)s)",
    )
    add("--seed", type=at_least(0), default=0, help="of the order in which videos are packed (default: 0)")
    return parser


def main(args: argparse.Namespace) -> int:
    import numpy as np

    from modist_det.data.motion_sources import find_sources
    from modist_det.utils.progress import progress_bar
    from modist_det.video.packed import Video, other_shards, part_of, plan_shards, write_index, write_shard

    out = Path(args.out)
    for given in args.inputs:
        if Path(given).is_dir() and out.resolve().is_relative_to(Path(given).resolve()):
            raise UserError(
                f"--out {out} is in the folder of the videos, {given}; choose a folder beside it, so that no video is "
                "found twice"
            )
    sources = find_sources(args.inputs, out, target_of=lambda place: place)
    facts = _labels(args.inputs)
    videos = []
    for number in np.random.default_rng(args.seed).permutation(len(sources)).tolist():
        path, _, target = sources[number]
        name = Path(target).relative_to(out).as_posix()
        if part_of(path) is not None:
            raise UserError(f"{path} is packed already; name the folder of which that was made")
        if not Path(path).is_file():
            raise UserError(f"{path} is no file; tools/prepare_videos.py makes files of folders of frames")
        stat = Path(path).stat()
        videos.append(Video(name, path, stat.st_size, int(stat.st_mtime), facts.get(path, {})))
    shards = plan_shards(videos, int(args.shard_size * 1e6))
    if others := other_shards(out, len(shards)):
        raise UserError(
            f"{out} has {others[0].name}, but now there are {len(shards)} shards; delete those of the earlier packing "
            f"({len(others)}), which webdataset would read, too, or choose another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    with progress_bar("pack", "shard", len(shards)) as progress:
        offsets = []
        for number, shard in enumerate(shards):
            offsets.append(write_shard(out, number, shard))
            progress.update()
    write_index(out, shards, offsets)
    print(f"{out}: {len(videos)} videos, {sum(v.size for v in videos) / 1e6:.1f} MB, in {len(shards)} shards")
    return 0


def _labels(inputs: list[str]) -> dict[str, dict[str, Any]]:
    """What the shards say about the videos of labelled datasets, by path."""
    from modist_det.data.catalog import DatasetCatalog
    from modist_det.data.datasets.classification import ClassificationDataset

    found: dict[str, dict[str, Any]] = {}
    for given in inputs:
        if given not in DatasetCatalog.list() and Path(given).suffix.lower() not in (".yaml", ".yml"):
            continue
        dataset = DatasetCatalog.get(given)
        if isinstance(dataset, ClassificationDataset):
            names = dataset.metadata.class_names
            for record in dataset.records():
                entry = {"labels": list(record.labels), "classes": [names[label] for label in record.labels]}
                if record.start is not None:
                    entry |= {"start": record.start, "end": record.end}
                found.setdefault(str(record.video), {"entries": []})["entries"].append(entry)
    return found


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
