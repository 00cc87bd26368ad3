"""Re-encode videos for training: small frames, frequent keyframes, verified times.

A clip is decoded from the last keyframe before it on. Where keyframes are seconds apart or frames are large, most of
what is decoded is thrown away. Here frames keep their times, or get a constant rate.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ..utils.errors import UserError
from ..utils.files import atomic_path
from ..utils.processes import map_in_processes
from ..utils.progress import progress_bar
from .container import ANY_TITLES
from .errors import PYAV_ERRORS, VideoError
from .frame_times import nearest
from .info import VideoInfo
from .listing import VIDEO_EXTENSIONS, Source, extension
from .packed import ffmpeg_name, part_of, status
from .reader import FrameFolder, VideoReader, describe_source, open_video
from .writer import VideoWriter

__all__ = [
    "Prepared",
    "PreparationSettings",
    "PreparedFile",
    "prepare_videos",
    "prepared_name",
    "psnr",
    "ssim",
]

_TOLERANCE = 1e-4  # seconds between the times of a frame before and after
_SAMPLES = 8  # frames of a video whose quality is measured
_CLIP = np.arange(8) * 8 / 30  # seconds; the clip whose reading is timed


@dataclass(frozen=True)
class PreparationSettings:
    """How videos are encoded.

    Attributes:
        short_side: pixels; smaller videos keep their size. 0: all do. Sides become even.
        keyframe_every: frames from one keyframe to the next; 1: every frame is one.
        fps: constant frame rate as a fraction ("30000/1001"); "": each frame keeps its time.
        sound: keep it.
        quality: constant rate factor of x264, 0 (best) to 51.
        preset: of x264.
    """

    short_side: int = 256
    keyframe_every: int = 8
    fps: str = ""
    sound: bool = False
    quality: int = 18
    preset: str = "medium"


@dataclass(frozen=True)
class PreparedFile:
    """What became of one video.

    Attributes:
        status: "made", "kept" (there already) or "failed", with the ``reason``.
        frames: in the new file.
        bytes_before, bytes_after: sizes.
        psnr, ssim: means over sampled frames, against the scaled originals (dB; 1 is equal).
        clip_before, clip_after: seconds that reading a clip of 8 frames takes, one thread.
    """

    video: str
    target: str
    status: str
    reason: str = ""
    frames: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    psnr: float = 0.0
    ssim: float = 0.0
    clip_before: float = 0.0
    clip_after: float = 0.0


@dataclass
class Prepared:
    """The outcome for all videos."""

    files: list[PreparedFile] = field(default_factory=list)

    def of(self, status: str) -> list[PreparedFile]:
        return [file for file in self.files if file.status == status]

    def summary(self) -> str:
        made = self.of("made")
        text = f"{len(made)} videos made, {len(self.of('kept'))} kept, {len(self.of('failed'))} failed"
        if not made:
            return text
        before, after = (
            sum(getattr(f, name) for f in made) / 1e6 for name in ("bytes_before", "bytes_after")
        )
        clip = [1e3 * np.median([getattr(f, name) for f in made]) for name in ("clip_before", "clip_after")]
        return (
            f"{text}; {before:.1f} MB -> {after:.1f} MB; PSNR {np.mean([f.psnr for f in made]):.1f} dB (lowest "
            f"{min(f.psnr for f in made):.1f}), SSIM {np.mean([f.ssim for f in made]):.4f} (lowest "
            f"{min(f.ssim for f in made):.4f}); a clip of 8 frames is read in {clip[1]:.1f} ms instead of {clip[0]:.1f}"
        )


def prepare_videos(
    sources: Sequence[Source],
    settings: PreparationSettings,
    workers: int = 0,
    replace: bool = False,
    show_progress: bool = True,
) -> Prepared:
    """Write each source's target, unless it is there already, made from the same file with the same settings.

    A target appears once it has been read again: it has all frames, at their times. Several machines may share the
    work if each has its own sources.

    Args:
        workers: processes; 0: this one.
        replace: put each new video in the place of its source, which is gone when the new one is complete. Without it,
            sources are never changed. A target that is another video is never replaced.
        show_progress: draw a progress bar and print failures as they occur.

    Returns:
        What was done. Unreadable videos do not stop the others.
    """
    if settings.fps:
        constant_rate(settings.fps)
    prepared = Prepared()
    work = partial(_prepare, settings=settings, replace=replace)
    with progress_bar("prepare", "video", len(sources), show=show_progress) as progress:
        for outcome in map_in_processes(work, sources, workers, _start_worker):
            progress.update()
            prepared.files.append(outcome)
            if outcome.status == "failed" and show_progress:
                progress.write(f"failed: {outcome.reason}", file=sys.stderr)
    return prepared


def prepared_name(place: Path) -> Path:
    """Where the video at ``place`` goes: its name with the ending ``.mp4`` in place of that of a video, if any."""
    is_video = extension(place.name) in VIDEO_EXTENSIONS and not place.is_dir()
    return place.with_suffix(".mp4") if is_video else place.with_name(place.name + ".mp4")


def constant_rate(text: str) -> Fraction:
    """Frames per second from "25", "29.97" or "30000/1001"."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise UserError(
            f"the frame rate is {text!r}, but must be a number or a fraction above 0, such as 30000/1001"
        )
    return rate


def psnr(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of two images in dB; 99 for equal ones."""
    error = np.mean((image.astype(np.float64) - other) ** 2)
    return float(min(10 * np.log10(255**2 / error), 99.0)) if error else 99.0


def ssim(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Structural similarity of the brightness of two RGB images, at most 1.

    Gaussian windows of 11 x 11 pixels with standard deviation 1.5, and the constants of Wang et al., "Image Quality
    Assessment: From Error Visibility to Structural Similarity", 2004.
    """
    x, y = (cv2.cvtColor(i, cv2.COLOR_RGB2GRAY).astype(np.float64) for i in (image, other))

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return cv2.GaussianBlur(values, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT_101)  # type: ignore[return-value]

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    similarity = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return float(similarity.mean())


def _start_worker() -> None:
    cv2.setNumThreads(1)


def _prepare(source: Source, settings: PreparationSettings, replace: bool) -> PreparedFile:
    try:
        return _make(source, settings, replace)
    except UserError as error:
        reason = str(error) if source.video in str(error) else f"{source.video}: {error}"
        return PreparedFile(source.video, source.target, "failed", reason)


def _make(source: Source, settings: PreparationSettings, replace: bool) -> PreparedFile:
    given, target = Path(source.video), Path(source.target)
    same = target.exists() and given.exists() and given.samefile(target)
    note = {"modist_det": asdict(settings)}
    if replace and part_of(given) is not None:
        raise UserError("it is in a packed folder, which cannot be changed; give --out FOLDER")
    if same and not replace:
        raise UserError("the new video would replace it; choose another --out, or --in-place")
    if replace and _note_of(given).get("modist_det") == note["modist_det"]:
        if not same:  # stopped before its name was changed
            _rename(given, target)
        return PreparedFile(source.video, source.target, "kept")
    with open_video(source.video, source.fps) as video:
        note["source"] = {"is": describe_source(video)}
        if not replace and _note_of(target) == note:
            return PreparedFile(source.video, source.target, "kept")
        if not same and target.exists() and (replace or _is_other_video(target)):
            raise UserError(f"{target} is another video; rename one of them")
        frames, seconds = _schedule(video.info, settings.fps)
        size = _size(video.info, settings.short_side)
        # In its source's place the new video needs no second name, of which a stop could leave both.
        with atomic_path(given if replace else target) as temporary:
            samples = _encode(video, temporary, frames, seconds, size, settings, json.dumps(note))
            with VideoReader(temporary) as new:
                _verify(new, seconds)
                copies = new.frames_at_indices(list(samples))
                pairs = list(zip(samples.values(), copies, strict=True))
                outcome = PreparedFile(
                    source.video,
                    source.target,
                    "made",
                    frames=len(seconds),
                    bytes_before=_bytes(given),
                    bytes_after=temporary.stat().st_size,
                    psnr=float(np.mean([psnr(*pair) for pair in pairs])),
                    ssim=float(np.mean([ssim(*pair) for pair in pairs])),
                    clip_before=_clip_time(source.video, source.fps, size, video.info.duration),
                    clip_after=_clip_time(str(temporary), None, size, video.info.duration),
                )
    if replace and given != target:
        _rename(given, target)
    return outcome


def _schedule(info: VideoInfo, fps: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each frame to be written the number of the original frame, and its second."""
    if not fps:
        return np.arange(info.num_frames), info.times
    rate = constant_rate(fps)
    seconds = np.arange(max(round(info.duration * rate), 1)) / float(rate)
    return nearest(info.times, seconds, 1e-9), seconds


def _size(info: VideoInfo, short_side: int) -> tuple[int, int]:
    """(height, width), even."""
    scale = min(short_side / min(info.height, info.width), 1.0) if short_side else 1.0
    height, width = (max(2 * round(side * scale / 2), 2) for side in (info.height, info.width))
    return height, width


def _encode(
    video: VideoReader | FrameFolder,
    path: Path,
    frames: NDArray[np.int64],
    seconds: NDArray[np.float64],
    size: tuple[int, int],
    settings: PreparationSettings,
    comment: str,
) -> dict[int, NDArray[np.uint8]]:
    """Write the video; gives some of its frames as they were before, by their new numbers."""
    sampled = np.unique(np.linspace(0, len(frames) - 1, _SAMPLES).astype(int)).tolist()
    samples = {}
    file = video if isinstance(video, VideoReader) else None
    number = 0
    with VideoWriter(
        path,
        *size,
        constant_rate(settings.fps) if settings.fps else video.info.rate,
        sound=file.path if settings.sound and file else None,
        origin=file.origin if file else 0.0,
        quality=settings.quality,
        pixel_aspect=file.pixel_aspect if file else Fraction(1),
        preset=settings.preset,
        keyframe_every=settings.keyframe_every,
        threads=1,
        comment=comment,
    ) as writer:
        for index, image in enumerate(video.all_frames(size)):
            while number < len(frames) and frames[number] == index:
                writer.write(image, float(seconds[number]))
                if number in sampled:
                    samples[number] = image
                number += 1
    if number < len(frames):
        raise VideoError(
            video.path, f"it has {video.info.num_frames} frames, of which {index + 1} can be decoded"
        )
    return samples


def _verify(new: VideoReader, seconds: NDArray[np.float64]) -> None:
    times = new.info.times
    if len(times) != len(seconds):
        raise UserError(f"the new file has {len(times)} frames instead of {len(seconds)}")
    worst = int(np.argmax(np.abs(times - (seconds - seconds[0]))))
    if abs(times[worst] - (seconds[worst] - seconds[0])) > _TOLERANCE:
        raise UserError(
            f"frame {worst} of the new file is shown at {times[worst]:.4f} s instead of {seconds[worst]:.4f} s: more "
            "than one frame has that time; choose a constant rate (--fps)"
        )


def _clip_time(path: str, fps: float | None, size: tuple[int, int], duration: float) -> float:
    """Seconds to open a video and read a clip at a place that depends on its name."""
    share = zlib.crc32(os.fsencode(Path(path).name)) / 2**32
    start = time.process_time()
    with open_video(path, fps) as video:
        video.frames_at_times(share * max(duration - _CLIP[-1], 0.0) + _CLIP, size)
    return time.process_time() - start


def _note_of(path: Path) -> dict[str, Any]:
    """What a prepared file says about how it was made; empty for all others."""
    try:
        with av.open(ffmpeg_name(path), **ANY_TITLES) as container:
            note = json.loads(container.metadata.get("comment", ""))
    except (*PYAV_ERRORS, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _bytes(path: Path) -> int:
    if not path.is_dir():
        return status(path)[0]
    return sum(file.stat().st_size for file in path.iterdir() if file.is_file())


def _is_other_video(path: Path) -> bool:
    """Whether a file is a video, and none that was made here."""
    if "modist_det" in _note_of(path):
        return False
    try:
        open_video(path).close()
    except VideoError:
        return False
    return True


def _rename(video: Path, target: Path) -> None:
    try:
        video.rename(target)
    except OSError as error:
        raise UserError(f"{video} cannot be renamed to {target}: {error.strerror or error}") from error
