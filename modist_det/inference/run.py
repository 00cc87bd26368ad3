"""Action detection in a whole video, with results as an object or as files written while reading."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..structures.actions import KeyframeActions, Tube, VideoHeader, top_actions
from ..utils.errors import UserError
from ..utils.progress import progress_bar
from ..utils.spread import evenly_spread
from ..video.animation import ANIMATIONS, AnimationWriter
from ..video.frame_times import average_rate
from ..video.info import output_size
from ..video.scaling import FrameScaler
from ..video.writer import VideoWriter
from ..visualization.keyframes import contact_sheet, write_png
from ..visualization.overlay import PersonOverlay, draw_overlay, drawing_size
from ..visualization.placement import Placer
from .draw_scores import DRAW_SCORE
from .persons import PersonDetector
from .persons.base import Remarks
from .pipeline import ActionStream, Event, PipelineSettings, Shown, StageTimes, find_people, mark_due
from .predictor import ActionPredictor
from .results import CocoWriter, CsvWriter, JsonWriter, ResultWriter, VideoActions
from .stream import Source, in_background, open_source, paced

__all__ = ["Drawing", "Outputs", "RunReport", "annotate", "predict_video", "stream_actions", "video_writer"]

logger = logging.getLogger(__name__)

_AHEAD = 8  # frames by which a stage may be ahead of the next one
_AHEAD_LIVE = 2


@dataclass(frozen=True)
class Outputs:
    """Output files; None to skip a file.

    Attributes:
        video: mp4 with the people drawn on its frames, and the sound; or the beginning of it as .gif or .webp, see
            :class:`.AnimationWriter`.
        json, csv, coco: see :class:`.VideoActions`.
        sheet: contact sheet (PNG) of evenly spaced frames.
        first_second: second of the first frame in the csv, see :meth:`.VideoActions.to_csv`.
        short_side: short side of the mp4 in pixels; None: see :func:`.drawing_size`.
        top, min_score: largest number and minimum score of the actions drawn per person; None: the class's
            ``draw_scores`` of :class:`.VideoHeader`, otherwise 0.1.
        sheet_frames: largest number of frames on the contact sheet.
    """

    video: Path | None = None
    json: Path | None = None
    csv: Path | None = None
    coco: Path | None = None
    sheet: Path | None = None
    first_second: float = 0.0
    short_side: int | None = None
    top: int = 3
    min_score: float | None = None
    sheet_frames: int = 12

    def files(self) -> list[Path]:
        """The requested files."""
        files = (self.video, self.json, self.csv, self.coco, self.sheet)
        return [file for file in files if file is not None]


@dataclass
class RunReport:
    """Counts and times of a run.

    Attributes:
        frames, keyframes, tubes: counts.
        people: number of tracks in the results.
        duration: seconds of video.
        wall: wall time of the run in seconds.
        times: working times of the stages, which run in parallel.
        dropped_keyframes: keyframes dropped to keep up in real time.
        damaged: number of packets or images skipped as damaged.
    """

    frames: int = 0
    keyframes: int = 0
    tubes: int = 0
    people: int = 0
    duration: float = 0.0
    wall: float = 0.0
    times: StageTimes = field(default_factory=StageTimes)
    dropped_keyframes: int = 0
    damaged: int = 0

    def __str__(self) -> str:
        counts = (
            f"{self.frames} frames, {self.duration:.1f} s, {self.keyframes} keyframes, {self.people} people"
        )
        lines = [
            f"{counts}; {self.wall:.1f} s of work: {self.duration / max(self.wall, 1e-9):.2f}x real time"
        ]
        for stage, seconds in self.times.seconds.items():
            speed = self.duration / max(seconds, 1e-9)
            each = 1000 * seconds / max(self.times.counts[stage], 1)
            lines.append(
                f"  {stage:17} {speed:8.2f}x real time  {each:8.2f} ms each, {self.times.counts[stage]} times"
            )
        if self.dropped_keyframes:
            lines.append(f"  {self.dropped_keyframes} keyframes dropped, as the action model was busy")
        if self.damaged:
            lines.append(f"  {self.damaged} damaged places skipped")
        return "\n".join(lines)


def stream_actions(
    source: Source,
    predictor: ActionPredictor,
    detector: PersonDetector,
    settings: PipelineSettings,
    report: RunReport,
) -> Generator[Event, None, None]:
    """Yield frames with people, keyframes and tubes of a source, computed in three threads that end on closing.

    ``report`` is updated on the way.
    """
    # Fail for an invalid size before anything is read.
    output_size(source.height, source.width, None, predictor.short_side, source.name)
    times = report.times
    ahead = _AHEAD_LIVE if settings.realtime else _AHEAD
    frames = times.watch("decoding", source.frames())
    if settings.realtime and not source.live:
        frames = paced(frames)
    stream = ActionStream(predictor, settings, detector, times)
    # Closed in reverse order, so that no thread waits for one that has ended.
    with (
        contextlib.closing(in_background(frames, ahead, drop=settings.realtime)) as decoded,
        contextlib.closing(
            in_background(find_people(mark_due(decoded, settings), detector, source.name, times), ahead)
        ) as searched,
        contextlib.closing(in_background(stream.run(searched), ahead)) as events,
    ):
        tracks: set[int] = set()
        for event in events:
            if isinstance(event, Shown):
                report.frames += 1
                report.duration = _end_of(event.frame.second, report.frames, source)
            elif isinstance(event, Tube):
                report.tubes += 1
                tracks.add(event.track_id)
                report.people = len(tracks)
            else:
                report.keyframes += 1
            yield event
    report.dropped_keyframes, report.damaged = stream.dropped_keyframes, source.damaged


def predict_video(
    video: str | os.PathLike,
    predictor: ActionPredictor,
    detector: PersonDetector,
    settings: PipelineSettings | None = None,
    *,
    fps: float = 25.0,
) -> VideoActions:
    """Detect actions in one video and return the results.

    Args:
        video: a file, or a frame folder with frame rate ``fps``.

    Raises:
        VideoError: the video cannot be read.
    """
    source = open_source(video, fps)
    report = RunReport()
    events = stream_actions(source, predictor, detector, settings or PipelineSettings(), report)
    found = [event for event in events if not isinstance(event, Shown)]
    return VideoActions(
        make_header(source, predictor, detector),
        tuple(event for event in found if isinstance(event, KeyframeActions)),
        tuple(event for event in found if isinstance(event, Tube)),
        report.duration,
        report.frames,
    )


def _end_of(second: float, num_frames: int, source: Source) -> float:
    """End time of the last frame so far; at the end of a video, its duration as a reader reports it."""
    return second + float(1 / average_rate(source.rate, num_frames, second))


def make_header(source: Source, predictor: ActionPredictor, detector: PersonDetector) -> VideoHeader:
    return VideoHeader(
        source.name,
        source.width,
        source.height,
        predictor.class_names,
        model=predictor.source,
        person_detector=type(detector).__name__,
        class_types=predictor.class_types,
        draw_scores=predictor.draw_scores,
    )


def annotate(
    source: Source,
    predictor: ActionPredictor,
    detector: PersonDetector,
    settings: PipelineSettings,
    outputs: Outputs,
    max_seconds: float = float("inf"),
    show_progress: bool = True,
) -> RunReport:
    """Process a source to its end, or up to ``max_seconds``, and write the requested files on the way.

    Each file is written completely or not at all. If the mp4 cannot be written, the others still are.

    Raises:
        UserError: a file cannot be written.
    """
    report = RunReport()
    start = time.perf_counter()
    header = make_header(source, predictor, detector)
    film, size = video_writer(source, outputs)
    sheet = _SheetFrames(outputs.sheet_frames)
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(writer) for writer in _result_writers(outputs, header)]
        mp4 = None
        if film is not None:
            mp4 = _Mp4(film)
            stack.enter_context(mp4)
        total = round(source.duration * float(source.rate)) or None
        progress = stack.enter_context(progress_bar(source.name, "frame", total, show=show_progress))
        events = stack.enter_context(
            contextlib.closing(stream_actions(source, predictor, detector, settings, report))
        )
        canvas_of = Drawing(header, outputs, size)
        for event in events:
            if isinstance(event, Shown):
                progress.update()
                if mp4 is not None or sheet.wants(report.frames - 1):
                    with report.times.measure("drawing"):
                        canvas = canvas_of(event)
                    sheet.offer(report.frames - 1, canvas, event.frame.second)
                if mp4 is not None:
                    with report.times.measure("encoding"):
                        mp4.write(canvas, event.frame.second)
                if report.duration >= max_seconds:
                    source.stop()
            elif isinstance(event, KeyframeActions):
                for writer in writers:
                    writer.keyframe(event)
            else:
                for writer in writers:
                    writer.tube(event)
        for writer in writers:
            writer.finish(report.duration, report.frames)
    if outputs.sheet is not None:
        sheet.write(outputs.sheet, source.name)
    if mp4 is not None and mp4.error is not None:
        raise UserError(f"{mp4.error}; the other files are complete") from mp4.error
    if isinstance(detector, Remarks) and (text := detector.remark(source.name)):
        logger.warning("%s", text)
    report.wall = time.perf_counter() - start
    return report


def video_writer(
    source: Source, outputs: Outputs
) -> tuple[VideoWriter | AnimationWriter | None, tuple[int, int]]:
    """The writer of the annotated video (None without one) and the size (height, width) of its frames.

    They are drawn with the displayed aspect ratio.
    """
    aspect = source.pixel_aspect
    height, width = drawing_size(source.height, float(source.width * aspect), outputs.short_side)
    if outputs.video is None:
        return None, (height, width)
    if outputs.video.suffix.lower() in ANIMATIONS:
        return AnimationWriter(outputs.video), (height, width)
    # Compensates for rounding to even numbers of pixels.
    rounding = Fraction(1)
    if aspect != 1:
        rounding = (aspect * source.width * height / (source.height * width)).limit_denominator(10_000)
    writer = VideoWriter(
        outputs.video, height, width, source.rate, source.sound, source.origin, pixel_aspect=rounding
    )
    return writer, (height, width)


def _result_writers(outputs: Outputs, header: VideoHeader) -> list[ResultWriter]:
    writers: list[ResultWriter] = []
    if outputs.json is not None:
        writers.append(JsonWriter(outputs.json, header))
    if outputs.csv is not None:
        writers.append(CsvWriter(outputs.csv, header, outputs.first_second))
    if outputs.coco is not None:
        writers.append(CocoWriter(outputs.coco, header))
    return writers


class _Mp4:
    """The mp4. If a frame cannot be written, ``error`` has the reason and no file is left."""

    def __init__(self, writer: VideoWriter | AnimationWriter) -> None:
        self._writer = writer
        self.error: UserError | None = None

    def __enter__(self) -> _Mp4:
        self._writer.__enter__()
        return self

    def write(self, image: NDArray[np.uint8], second: float) -> None:
        if self.error is None:
            try:
                self._writer.write(image, second)
            except UserError as error:
                self.error = error

    def __exit__(self, *raised: Any) -> None:
        if self.error is not None and raised[0] is None:
            raised = (type(self.error), self.error, self.error.__traceback__)
        try:
            self._writer.__exit__(*raised)
        except UserError as error:
            self.error = self.error or error


class Drawing:
    """Draws people on the frames of a video, in order."""

    def __init__(self, header: VideoHeader, outputs: Outputs, size: tuple[int, int]) -> None:
        self._names = list(header.class_names.values())
        lowest = outputs.min_score
        self._min_scores = np.array(
            [
                header.draw_scores.get(number, DRAW_SCORE) if lowest is None else lowest
                for number in header.class_names
            ]
        )
        self._outputs = outputs
        self._size = size
        self._scaler = FrameScaler()
        self._placer = Placer()

    def __call__(self, shown: Shown) -> NDArray[np.uint8]:
        options = self._outputs
        people = [
            PersonOverlay(
                person.track_id,
                person.box.tolist(),
                []
                if person.scores is None
                else top_actions(person.scores, self._names, options.top, self._min_scores),
            )
            for person in shown.people
        ]
        minutes, seconds = divmod(shown.frame.second, 60)
        image = shown.frame.rgb(self._scaler, self._size)
        return draw_overlay(image, people, f"{int(minutes)}:{seconds:04.1f}", self._placer)


class _SheetFrames:
    """Evenly spaced frames of a stream of unknown length: every n-th, where n doubles when there are too many."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._every = 1
        self._kept: list[tuple[NDArray[np.uint8], float]] = []

    def wants(self, number: int) -> bool:
        return number % self._every == 0

    def offer(self, number: int, image: NDArray[np.uint8], second: float) -> None:
        if not self.wants(number):
            return
        if len(self._kept) == 2 * self._count:
            self._kept = self._kept[::2]
            self._every *= 2
            if not self.wants(number):
                return
        self._kept.append((image, second))

    def write(self, path: Path, name: str) -> None:
        chosen = evenly_spread(len(self._kept), self._count)
        images = [self._kept[i][0] for i in chosen]
        titles = [f"{name}  {self._kept[i][1]:.2f} s" for i in chosen]
        sheet = contact_sheet(images, titles, columns=4 if images[0].shape[1] > images[0].shape[0] else 6)
        write_png(path, sheet)
