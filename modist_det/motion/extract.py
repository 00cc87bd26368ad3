"""Extract the motion maps of many videos in several processes. Existing files are kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import torch

from ..utils.errors import UserError
from ..utils.files import remove_leftovers, write_json
from ..utils.json_reading import read_json
from ..utils.processes import map_in_processes
from ..utils.progress import progress_bar
from ..video.listing import Source
from ..video.reader import open_video
from .build import build_motion_reader
from .cached import describe_source
from .map_file import DEFAULT_QUALITY, MapFile, MapFileError, MapFileInfo, write_map_file
from .reader import DEFAULT_GAP, MotionReader, Video

__all__ = ["ExtractionReport", "ExtractionSettings", "Source", "extract_motion"]

_SETTINGS_FILE = "extraction.json"


@dataclass(frozen=True)
class ExtractionSettings:
    """What to extract: the arguments of ``build_motion_reader`` and the JPEG quality."""

    kind: str = "edges"
    estimator: str = "DIS"
    options: tuple[tuple[str, Any], ...] = ()
    gap_seconds: float = DEFAULT_GAP
    short_side: int | None = 128
    max_frame_side: int = 320
    quality: int = DEFAULT_QUALITY
    reference_side: int = 0
    limit: float = 0.0

    def build_reader(self) -> MotionReader:
        return build_motion_reader(
            self.kind,
            estimator=self.estimator,
            options=dict(self.options),
            gap_seconds=self.gap_seconds,
            short_side=self.short_side,
            max_frame_side=self.max_frame_side,
            reference_side=self.reference_side,
            limit=self.limit,
        )


@dataclass
class ExtractionReport:
    """Numbers of extracted and kept videos, of maps and bytes written, and the failures (video, reason)."""

    made: int = 0
    kept: int = 0
    maps: int = 0
    bytes: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Outcome:
    video: str
    maps: int = 0
    bytes: int = 0  # 0: the file existed
    reason: str = ""  # of a failure


def extract_motion(
    sources: Sequence[Source],
    out: str | os.PathLike,
    settings: ExtractionSettings,
    workers: int = 0,
    show_progress: bool = True,
) -> ExtractionReport:
    """Write the maps of each source to its target, unless the file exists.

    Files are written again if they are damaged or if their video has changed. Several processes or machines may write
    to one folder if each has its own share of the videos.

    Args:
        sources: from ``find_sources``.
        out: folder of the targets; the settings are recorded there.
        workers: number of processes; 0 works in this process.
        show_progress: draw a progress bar and print failures as they occur.

    Returns:
        What was done. Unreadable videos do not stop the others.

    Raises:
        UserError: invalid settings, ``out`` has maps with other settings, or a process was killed.
    """
    if workers < 0:
        raise UserError(f"the number of workers is {workers}, but must be 0 or more")
    settings.build_reader()  # finds invalid options here, not in every worker
    _note_settings(Path(out), settings)
    for folder in {Path(source.target).parent for source in sources}:
        remove_leftovers(folder)
    report = ExtractionReport()
    with progress_bar("motion", "video", len(sources), show=show_progress) as progress:
        for outcome in map_in_processes(
            partial(_extract, settings=settings), sources, workers, _start_worker
        ):
            progress.update()
            if outcome.reason:
                report.failed.append((outcome.video, outcome.reason))
                if show_progress:
                    progress.write(f"failed: {outcome.reason}", file=sys.stderr)
            elif outcome.bytes:
                report.made += 1
                report.maps += outcome.maps
                report.bytes += outcome.bytes
            else:
                report.kept += 1
            progress.set_postfix(failed=len(report.failed), refresh=False)
    return report


def _start_worker() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _extract(source: Source, settings: ExtractionSettings) -> _Outcome:
    try:
        reader = _reader(settings)
        with open_video(source.video, source.fps) as video:
            info = _describe(video, reader, settings.quality)
            if _is_done(source.target, info):
                return _Outcome(source.video)
            written = write_map_file(source.target, info, reader.all_maps(video))
            return _Outcome(source.video, info.num_frames, written)
    except UserError as error:
        reason = str(error)
        return _Outcome(
            source.video, reason=reason if source.video in reason else f"{source.video}: {reason}"
        )


@lru_cache(maxsize=1)
def _reader(settings: ExtractionSettings) -> MotionReader:
    return settings.build_reader()


def _describe(video: Video, reader: MotionReader, quality: int) -> MapFileInfo:
    height, width = reader.map_size(video)
    return MapFileInfo(
        kind=reader.kind,
        channels=reader.channels,
        height=height,
        width=width,
        num_frames=video.info.num_frames,
        rate=str(video.info.rate),
        gap_seconds=reader.gap_seconds,
        short_side=reader.short_side,
        max_frame_side=reader.max_frame_side,
        estimator=repr(reader.estimator) if reader.estimator else "",
        quality=quality,
        source=describe_source(video),
        reference_side=reader.reference_side,
        limit=reader.limit,
    )


def _is_done(target: str, info: MapFileInfo) -> bool:
    if not Path(target).exists():
        return False
    try:
        with MapFile(target) as file:
            file.verify()
            return file.info == info
    except MapFileError:
        return False


def _note_settings(out: Path, settings: ExtractionSettings) -> None:
    """Record the settings in the folder, or check that they are those of its maps."""
    path = out / _SETTINGS_FILE
    # Device and batch size do not change the maps.
    options = {name: value for name, value in settings.options if name not in ("device", "batch_size")}
    noted = {**asdict(settings), "options": options}
    if path.exists():
        try:
            before = {"reference_side": 0, "limit": 0.0, **read_json(path)}  # earlier releases
        except (UserError, ValueError, TypeError) as error:
            raise UserError(
                f"{path} is damaged, so the options of the maps in its folder are unknown; delete it if you know that "
                "they are the same, or give another folder"
            ) from error
        different = [f"{name} {before.get(name)!r}" for name in noted if before.get(name) != noted[name]]
        if different:
            raise UserError(
                f"{out} has maps with {', '.join(different)}; give the same options or another folder"
            )
        return
    write_json(path, noted)
