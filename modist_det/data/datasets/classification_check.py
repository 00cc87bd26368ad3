"""Checks a classification dataset for errors before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...utils.errors import UserError
from ...video.frame_list import ListedFolder
from .ava_check import Report, open_all
from .classification import ClassificationDataset, Entry

__all__ = ["check_classification"]

_LISTED = 10  # classes named in one line


def check_classification(
    dataset: ClassificationDataset,
    open_videos: bool = True,
    threads: int | None = None,
    progress: bool = False,
) -> Report:
    """Read the annotations, find every video and open it.

    Reading stops at the first malformed row, which is reported as a problem. Missing videos are warnings if their share
    is within ``max_missing``, otherwise problems.

    Args:
        open_videos: whether to decode the first and last frame of each video.
        threads: videos to open in parallel; default: one per CPU.
        progress: show a progress bar.
    """
    report = Report()
    try:
        names = dataset.metadata.class_names
        entries = dataset.entries()
        paths = dataset.find(entries)
    except UserError as error:
        report.problems.append(str(error))
        return report
    missing = [entry for entry in entries if entry.video_id not in paths]
    too_many = len(missing) > dataset.max_missing * len(entries) or not paths
    folders = ", ".join(dataset.videos)
    (report.problems if too_many else report.warnings).extend(
        f"{entry.where}: {entry.files[0]} is missing from {folders}" for entry in missing
    )
    readable = ""
    if open_videos:
        present = [entry for entry in entries if entry.video_id in paths]
        readable = f", {_open_all(dataset, present, paths, report, threads, progress)} readable"
    report.summary += [
        ("classes", str(len(names))),
        ("videos", f"{len(entries)} annotated, {len(paths)} found{readable}"),
    ]
    _count_classes(entries, names, report)
    return report


def _open_all(
    dataset: ClassificationDataset,
    entries: Sequence[Entry],
    paths: dict[str, str],
    report: Report,
    threads: int | None,
    progress: bool,
) -> int:
    """Count the readable videos; report the others, and parts beyond a video's end, as problems."""
    videos = [
        paths[entry.video_id]
        if entry.num_frames is None
        else ListedFolder(paths[entry.video_id], num_images=entry.num_frames)
        for entry in entries
    ]
    durations = open_all(videos, dataset.fps, report, threads, progress)
    for entry, video, end in zip(entries, videos, durations, strict=True):
        if entry.start is not None and end is not None and entry.start >= end:
            text = f"{entry.where}: second {entry.start:g} is beyond the end of {video}, {end:.2f}"
            report.problems.append(text)
    return sum(end is not None for end in durations)


def _count_classes(entries: Sequence[Entry], names: Sequence[str], report: Report) -> None:
    counts = Counter(label for entry in entries for label in entry.labels)
    report.classes = [(index, name, counts[index]) for index, name in enumerate(names)]
    unused = [name for index, name in enumerate(names) if not counts[index]]
    if unused:
        more = f" and {len(unused) - _LISTED} others" if len(unused) > _LISTED else ""
        report.warnings.append(f"no video has class {', '.join(unused[:_LISTED])}{more}")
    several = sum(len(entry.labels) > 1 for entry in entries)
    if several:
        report.summary.append(("videos with several labels", str(several)))
