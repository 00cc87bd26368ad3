"""Checks an AVA-style dataset for errors before training."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate
from tqdm import tqdm

from ...formats.ava.files import (
    EXCLUSIONS,
    GROUND_TRUTH,
    PERSON_BOXES,
    BoxTable,
    KeyTable,
    Layout,
    find_problems,
    read_ava_boxes,
    read_person_boxes,
)
from ...utils.errors import UserError
from ...video.frame_times import longest_pause
from ...video.listing import VIDEO_EXTENSIONS, extension, scan
from ...video.reader import FrameFolder, VideoError, open_video
from .ava import PERSON_SCORE_THRESH, AVADataset

__all__ = ["Report", "check_dataset", "duration_of", "format_report", "open_all"]

_GRID_TOLERANCE = 1e-3  # seconds
_LISTED = 10  # names in one line


@dataclass
class Report:
    """Result of a dataset check.

    Attributes:
        problems: errors, one line each, starting with file and line where possible.
        warnings: things that may be intended.
        summary: (quantity, value) pairs that describe the dataset.
        classes: (id, name, number of persons or videos).
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    summary: list[tuple[str, str]] = field(default_factory=list)
    classes: list[tuple[int, str, int]] = field(default_factory=list)


def format_report(report: Report, limit: int = 100, counted: str = "persons") -> str:
    """Format the report: tables, warnings, then up to ``limit`` problems and the number of further ones."""
    lines = [tabulate(report.summary, tablefmt="plain", disable_numparse=True)]
    if report.classes:
        lines += ["", tabulate(report.classes, headers=["id", "class", counted], disable_numparse=True)]
    for title, entries in (("warning", report.warnings), ("problem", report.problems)):
        lines += ["", f"{len(entries)} {title}s" if len(entries) != 1 else f"1 {title}"] if entries else []
        lines += [f"  {entry}" for entry in entries[:limit]]
        lines += [f"  ... and {len(entries) - limit} more"] if len(entries) > limit else []
    if not report.problems:
        lines += ["", "nothing is wrong with this dataset"]
    return "\n".join(lines)


def check_dataset(dataset: AVADataset, threads: int | None = None, progress: bool = False) -> Report:
    """Check every row of every file and open every video.

    Args:
        threads: videos to open in parallel; default: one per CPU.
        progress: show a progress bar.
    """
    report = Report()
    annotations = _read(dataset.annotations, GROUND_TRUTH, read_ava_boxes, report)
    person_boxes = _read(dataset.person_boxes, PERSON_BOXES, read_person_boxes, report)
    if dataset.exclusions is not None:
        _bad_lines(dataset.exclusions, EXCLUSIONS, report)
    tables = [table for table in (annotations, person_boxes) if table is not None]
    class_names = _check_classes(dataset, tables, report)
    for table in tables:
        _check_grid(dataset, table, report)
    _check_videos(dataset, tables, report, threads, progress)
    _summarize(annotations, person_boxes, class_names, report)
    return report


# ---- files ------------------------------------------------------------------------------------


def _bad_lines(path: str, layout: Layout, report: Report) -> set[int] | None:
    """Report malformed lines and return their numbers; None if the file is not text."""
    try:
        problems = find_problems(path, layout)
    except UserError as error:
        report.problems.append(str(error))
        return None
    report.problems += map(str, problems)
    return {problem.line for problem in problems}


def _read(
    path: str | None, layout: Layout, read: Callable[[str], BoxTable], report: Report
) -> BoxTable | None:
    """Read the valid rows and report the others as problems."""
    bad = None if path is None else _bad_lines(path, layout, report)
    if path is None or bad is None:
        return None
    try:
        return read(path)
    except UserError as error:
        if not bad:
            report.problems.append(str(error))
            return None
    # A bad row must not hide other errors: read a copy in which bad rows are blank, so that the others keep their
    # line numbers.
    lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "rows.csv")
        copy.write_text(
            "\n".join("" if number in bad else line for number, line in enumerate(lines, start=1)),
            encoding="utf-8",
        )
        try:
            return replace(read(str(copy)), path=path)
        except UserError:  # no row is left, or a row spans lines
            return None


def _check_classes(dataset: AVADataset, tables: Sequence[BoxTable], report: Report) -> Mapping[int, str]:
    """Report invalid class ids; returns the class names."""
    try:
        metadata = dataset.metadata
    except UserError as error:
        if str(error) not in report.problems:
            report.problems.append(str(error))
        return {}
    known = set(metadata.class_names)
    if dataset.num_classes is not None:
        # AVA trains 80 classes and names the 60 that are evaluated.
        known |= set(range(1, dataset.num_classes + 1))
    seen: set[int] = set()
    for table in tables:
        for number in np.unique(table.action[table.action >= 1]).tolist():
            seen.add(number)
            if number not in known:
                text = f"class id {number} is not in {metadata.label_map}"
                report.problems.append(_at(table, np.flatnonzero(table.action == number), text))
    unused = [f"{metadata.class_names[n]} ({n})" for n in sorted(set(metadata.class_names) - seen)]
    if unused:
        report.warnings.append(f"no row has class {', '.join(unused)}")
    return metadata.class_names


def _check_grid(dataset: AVADataset, table: BoxTable, report: Report) -> None:
    steps = (table.second - dataset.first_second) / dataset.keyframe_spacing
    off = np.abs(steps - np.rint(steps)) * dataset.keyframe_spacing > _GRID_TOLERANCE
    for video in np.unique(table.video[off]).tolist():
        rows = np.flatnonzero(off & (table.video == video))
        text = (
            f"second {table.second[rows[0]]:g} of {table.videos[video]} is not a multiple of "
            f"keyframe_spacing {dataset.keyframe_spacing:g} after first_second {dataset.first_second:g}"
        )
        report.warnings.append(_at(table, rows, text))


def _at(table: BoxTable | KeyTable, rows: NDArray[np.intp], text: str) -> str:
    """``text`` with the place of the first of ``rows`` before it and the number of the others after it."""
    others = len(rows) - 1
    more = f" (and in {others} other row{'s' * (others != 1)})" if others else ""
    return f"{table.path}:{table.line[rows[0]]}: {text}{more}"


# ---- videos -----------------------------------------------------------------------------------


def _check_videos(
    dataset: AVADataset, tables: Sequence[BoxTable], report: Report, threads: int | None, progress: bool
) -> None:
    names = list(dict.fromkeys(name for table in tables for name in table.videos))
    try:
        found = dataset.find_videos(names)
    except UserError as error:
        report.problems.append(str(error))
        return
    missing = [name for name in names if name not in found]
    folders = ", ".join(dataset.videos)
    report.problems += [f"video {name} is missing from {folders}" for name in missing]
    opened = dict(zip(found, open_all(found.values(), dataset.fps, report, threads, progress), strict=True))
    durations = {name: duration for name, duration in opened.items() if duration is not None}
    for table in tables:
        for rows in (table, table.keyframes):
            _check_seconds(dataset, rows, durations, report)
    strangers = _without_annotations(dataset, set(found.values()))
    if strangers:
        have = "1 video has" if len(strangers) == 1 else f"{len(strangers)} videos have"
        more = ", ..." if len(strangers) > _LISTED else ""
        report.warnings.append(f"{have} no annotations: {', '.join(strangers[:_LISTED])}{more}")
    report.summary += [
        ("videos", f"{len(names)} annotated, {len(found)} found, {len(durations)} readable"),
        ("duration", f"{sum(durations.values()):.1f} s"),
    ]


def open_all(
    paths: Collection[str], fps: float | None, report: Report, threads: int | None, progress: bool
) -> list[float | None]:
    """The duration of each video in seconds; None for those that cannot be read, which are reported as problems."""
    doubts: list[str] = []
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        results = pool.map(lambda path: duration_of(path, fps, doubts), paths)
        opened = list(tqdm(results, "videos", len(paths), disable=not progress, leave=False))
    report.problems += [str(result) for result in opened if isinstance(result, VideoError)]
    report.warnings += sorted(doubts)
    return [None if isinstance(result, VideoError) else result for result in opened]


def duration_of(path: str, fps: float | None, doubts: list[str] | None = None) -> float | VideoError:
    """Duration of a video in seconds if its first and last frame can be decoded, otherwise the error.

    Args:
        doubts: list to which warnings are appended.
    """
    try:
        with open_video(path, fps) as video:
            if isinstance(video, FrameFolder):
                video.check()
                if doubts is not None and video.doubts:
                    doubts.append(video.doubts)
            video.frames_at_times([0.0, video.info.duration], short_side=16)
            pause = longest_pause(video.info.times)
            if doubts is not None and pause is not None:
                doubts.append(
                    f"{path}: no new frame from {pause[0]:.2f} to {pause[1]:.2f} s; times between show the frame before"
                )
            return float(video.info.duration)
    except VideoError as error:
        return error


def _check_seconds(
    dataset: AVADataset, rows: BoxTable | KeyTable, durations: dict[str, float], report: Report
) -> None:
    times = rows.second - dataset.first_second
    ends = np.array([durations.get(name, np.inf) for name in rows.videos])
    for wrong, text in (
        (times < 0, "is before the video's first frame, which is second {first:g} (first_second)"),
        (times >= ends[rows.video], "is beyond the video's end, which is second {last:.2f}"),
    ):
        for video in np.unique(rows.video[wrong]).tolist():
            of_video = np.flatnonzero(wrong & (rows.video == video))
            reason = text.format(first=dataset.first_second, last=dataset.first_second + ends[video])
            second = f"second {rows.second[of_video[0]]:g} of {rows.videos[video]}"
            report.problems.append(_at(rows, of_video, f"{second} {reason}"))


def _without_annotations(dataset: AVADataset, used: set[str]) -> list[str]:
    return sorted(
        entry.name
        for folder in dataset.videos
        for entry in scan(folder)
        if extension(entry.name) in VIDEO_EXTENSIONS and entry.path not in used
    )


# ---- what there is ----------------------------------------------------------------------------


def _summarize(
    annotations: BoxTable | None,
    person_boxes: BoxTable | None,
    class_names: Mapping[int, str],
    report: Report,
) -> None:
    keyframes: set[tuple[str, float]] = set()
    if annotations is not None:
        keys = annotations.names()
        keyframes = set(keys)
        empty = set(annotations.keyframes.names()) - keyframes
        persons = set(zip(keys, map(tuple, annotations.boxes.tolist()), strict=True))
        report.summary += [
            ("keyframes", f"{len(keyframes)} with persons, {len(empty)} without"),
            ("persons", f"{len(persons)} with {len(annotations)} actions"),
        ]
        numbers, counts = np.unique(annotations.action, return_counts=True)
        report.classes = [
            (number, class_names.get(number, "?"), count)
            for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
        ]
    if person_boxes is not None:
        detected = set(person_boxes.names())
        usual = PERSON_SCORE_THRESH
        sure = int((person_boxes.score >= usual).sum())
        report.summary.append(
            (
                "detected boxes",
                f"{len(person_boxes)} in {len(detected)} keyframes, {sure} with a score of at least {usual:g}",
            )
        )
        if len(person_boxes) and not sure:
            report.warnings.append(
                f"no box of {person_boxes.path} reaches {usual:g}, the default of DATASETS.PERSON_SCORE_THRESH "
                f"({len(person_boxes)} boxes, best {person_boxes.score.max():g}); set it lower to use them"
            )
        if keyframes and not keyframes & detected:
            report.warnings.append(
                f"no keyframe is in both {annotations and annotations.path} and {person_boxes.path}; "
                "do their videos and seconds agree?"
            )
