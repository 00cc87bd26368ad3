"""Checks a dataset of tubes for errors before training."""

from __future__ import annotations

from collections import Counter

import numpy as np

from ...utils.errors import UserError
from .ava_check import Report, open_all
from .tubes import TubesDataset

__all__ = ["check_tubes"]

_MISSING = 0.1  # share of the annotated videos that may be missing without being a problem


def check_tubes(dataset: TubesDataset, threads: int | None = None, progress: bool = False) -> Report:
    """Read the annotations, find every annotated video, open it, and compare its length with its tubes'.

    Args:
        threads: videos to open in parallel; default: one per CPU.
        progress: show a progress bar.
    """
    report = Report()
    try:
        names, tubes = dataset.annotations.classes, dataset.tubes()
        videos = list(dict.fromkeys(tube.video for tube in tubes))
        paths = dataset.find_videos(videos)
    except UserError as error:
        report.problems.append(str(error))
        return report
    missing = [video for video in videos if video not in paths]
    too_many = len(missing) > _MISSING * len(videos) or not paths
    (report.problems if too_many else report.warnings).extend(
        f"{dataset.path}: video {video} is missing from {', '.join(dataset.videos)}" for video in missing
    )
    present = [video for video in videos if video in paths]
    ends = dict(
        zip(
            present,
            open_all([paths[v] for v in present], dataset.fps, report, threads, progress),
            strict=True,
        )
    )
    outside = 0
    for tube in tubes:
        size, end, last = dataset.size_of(tube.video), ends.get(tube.video), int(tube.frames[-1])
        # Half a frame, since durations of files are rounded; frames count from 1.
        if end is not None and (last - 0.5) / size.fps > end:
            report.problems.append(
                f"{dataset.path}: a tube of video {tube.video} lasts until frame {last}, which is second "
                f"{last / size.fps:.2f} at {size.fps:g} frames a second, but {paths[tube.video]} has {end:.2f}; are "
                "the annotations those of another video or frame rate?"
            )
        limits = np.array([size.width, size.height] * 2)
        outside += int(((tube.boxes < -1) | (tube.boxes > limits + 1)).any(axis=1).sum())
    if outside:
        report.warnings.append(f"{dataset.path}: {outside} boxes reach beyond the image by more than a pixel")
    counts = Counter(tube.label for tube in tubes)
    report.classes = [(number, name, counts[number - 1]) for number, name in enumerate(names, 1)]
    boxes = sum(len(tube.frames) for tube in tubes)
    readable = sum(end is not None for end in ends.values())
    report.summary += [
        ("classes", str(len(names))),
        ("videos", f"{len(videos)} annotated, {len(paths)} found, {readable} readable"),
        ("tubes", f"{len(tubes)} with {boxes} boxes"),
    ]
    return report
