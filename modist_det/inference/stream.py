"""Sources of frames (file, frame folder, camera), and pipeline stages that run in parallel threads.

A source is read once, in order, and keeps no frames. Damaged packets are skipped and counted. A truncated file ends
early, and an unplugged camera ends the stream.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, TypeVar

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ..video.container import ANY_TITLES, open_container
from ..video.errors import PYAV_ERRORS, VideoError, reading, reason_of
from ..video.frame_folder import FrameFolder
from ..video.orientation import Orientation, pixel_aspect
from ..video.scaling import FrameScaler, check_colours
from ..video.timeline import decode_in_order, decoded_times, survey

__all__ = [
    "CameraSource",
    "FileSource",
    "FolderSource",
    "Source",
    "StreamFrame",
    "in_background",
    "open_source",
    "paced",
]

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

_URL_TIMEOUT = 10.0  # seconds without data
_SAME_TIME = 1e-3  # seconds added when a frame's time is not later than that of the frame before


@dataclass(frozen=True, eq=False)
class StreamFrame:
    """A decoded frame; converted and scaled when its pixels are requested.

    Attributes:
        index: frame number from 0.
        second: time since the first frame; ascending.
        image: the decoder's frame, or an RGB array.
        orientation: rotation to apply to ``image`` for display.
    """

    index: int
    second: float
    image: av.VideoFrame | NDArray[np.uint8]
    orientation: Orientation = Orientation()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) as displayed."""
        if isinstance(self.image, np.ndarray):
            return self.image.shape[0], self.image.shape[1]
        return self.orientation.size(self.image.height, self.image.width)

    def rgb(self, scaler: FrameScaler, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """uint8 (height, width, 3) of ``size`` (height, width).

        Args:
            scaler: used by the calling thread only.
        """
        height, width = size or self.size
        if isinstance(self.image, np.ndarray):
            if (height, width) == self.size:
                return self.image
            return scaler(av.VideoFrame.from_ndarray(self.image, format="rgb24"), height, width)
        stored = self.orientation.size(height, width)
        return np.ascontiguousarray(self.orientation.apply(scaler(self.image, *stored)))


class Source(ABC):
    """A video that is read once. Subclasses set ``width``, ``height``, ``rate`` and other non-default attributes.

    Attributes:
        name: id of the video.
        width, height: size of a frame in pixels, as displayed.
        pixel_aspect: width of a pixel divided by its height; differs from 1 for anamorphic video.
        rate: nominal frames per second.
        duration: nominal seconds; 0 if unknown.
        live: frames arrive in real time (camera, network stream).
        origin: the file's timestamp of the first frame, in seconds.
        sound: file with the sound of the video.
        damaged: number of packets or images skipped so far.
    """

    width: int
    height: int
    rate: Fraction
    pixel_aspect = Fraction(1)
    duration = 0.0
    live = False
    origin = 0.0
    sound: Path | None = None

    def __init__(self, name: str) -> None:
        self.name = name
        self.damaged = 0
        self._stopped = threading.Event()

    @abstractmethod
    def frames(self) -> Iterator[StreamFrame]:
        """Yield all frames in order; may be called once."""

    def stop(self) -> None:
        """End the stream early; may be called from any thread."""
        self._stopped.set()


def open_source(where: str | os.PathLike, fps: float = 25.0) -> Source:
    """Open a video file, a frame folder, a camera (number or device) or a stream URL (rtsp://...).

    Args:
        fps: frame rate of a frame folder.

    Raises:
        VideoError: it does not exist or cannot be read.
    """
    text = os.fspath(where)
    if is_camera(text):
        return CameraSource(open_camera(text), input_name(text))
    if Path(text).is_dir():
        return FolderSource(text, fps)
    return FileSource(text)


def is_camera(text: str) -> bool:
    """Whether an input is a camera number or device."""
    return text.isdigit() or text.startswith("/dev/video")


def input_name(text: str) -> str:
    """Video id of an input: the name of the file, folder or stream, or ``camera0``."""
    if is_camera(text):
        return f"camera{text.removeprefix('/dev/video')}"
    return _name(text)


def _name(text: str) -> str:
    """Video id of a file, folder or stream."""
    if "://" in text:
        return text.rstrip("/").rpartition("/")[2].partition("?")[0] or "stream"
    path = Path(text)
    return path.resolve().name if path.is_dir() else path.stem


class FileSource(Source):
    """Frames of a video file, or of a network stream."""

    def __init__(self, where: str | os.PathLike, threads: int = 1) -> None:
        text = os.fspath(where)
        super().__init__(_name(text))
        self.live = "://" in text
        self.path = Path(text)
        if self.live:
            self._container, self._stream = _open_address(text, threads)
        else:
            self._container, self._stream = open_container(self.path, threads)
            self.sound = self.path
        self._frames = self._decode()
        try:
            with reading(self.path):
                self._first = next(self._frames, None)
                if self._first is None:
                    raise VideoError(text, "no frame of it can be decoded")
                self._describe(*self._first)
        except BaseException:
            self._container.close()
            raise

    def _describe(self, first: av.VideoFrame, ticks: int | None) -> None:
        check_colours(first, self._stream, self.path)
        self._orientation = Orientation.of_frame(first)
        self.height, self.width = self._orientation.size(first.height, first.width)
        self.pixel_aspect = pixel_aspect(self._stream, self._orientation)
        self.rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or 25)
        self.origin = first.time or 0.0
        stated = self._container.duration
        self.duration = 0.0 if self.live or not stated else stated / av.time_base
        # The timeline of VideoReader: from timestamps, by counting, or computed from the whole file.
        self._times: NDArray[np.float64] | None = None
        self._counted = False
        if not self.live:
            facts = survey(self.path, self._container, self._stream)
            self._counted = facts.counted
            if not facts.rising or (ticks is None and not facts.counted):
                self._times = decoded_times(self.path)
                self.duration = float(self._times[-1])

    def frames(self) -> Iterator[StreamFrame]:
        assert self._first is not None
        second = -1.0
        tick, start = float(self._stream.time_base or 1), self._first[1] or 0
        item: tuple[av.VideoFrame, int | None] | None = self._first
        self._first = None  # not kept in memory
        index = 0
        with self._container:
            while item is not None and not self._stopped.is_set():
                frame, ticks = item
                if self._times is not None:
                    stated = float(self._times[min(index, len(self._times) - 1)])
                elif ticks is None or self._counted:
                    stated = index / float(self.rate)
                else:
                    stated = (ticks - start) * tick
                # Two frames with one time, or a wrong timestamp: their order is still right.
                second = max(stated, 0.0) if stated > second else second + _SAME_TIME
                yield StreamFrame(index, second, frame, self._orientation)
                item = next(self._frames, None)
                index += 1

    def _decode(self) -> Iterator[tuple[av.VideoFrame, int | None]]:
        size = None
        decoded = decode_in_order(self._container, self._stream, self.path, self._pass_over)
        while True:
            try:
                item = next(decoded, None)
            except VideoError as error:
                self.damaged += 1
                logger.warning("%s ends here, %s", self.path, error.reason)
                return
            if item is None:
                return
            frame, ticks = item
            size = size or (frame.height, frame.width)
            # The writer needs a constant size; streams that change it are rare.
            if (frame.height, frame.width) != size:
                try:
                    frame = frame.reformat(size[1], size[0])
                except PYAV_ERRORS as error:
                    self._pass_over(error)
                    continue
            yield frame, ticks

    def _pass_over(self, error: BaseException) -> None:
        self.damaged += 1


class FolderSource(Source):
    """Frames of a folder of images, in natural order of their names."""

    def __init__(self, path: str | os.PathLike, fps: float = 25.0) -> None:
        super().__init__(_name(os.fspath(path)))
        self._folder = FrameFolder(path, fps)
        info = self._folder.info
        self.width, self.height, self.rate, self.duration = info.width, info.height, info.rate, info.duration

    def frames(self) -> Iterator[StreamFrame]:
        for index in range(self._folder.info.num_frames):
            if self._stopped.is_set():
                return
            try:
                image = self._folder.frames_at_indices([index], size=(self.height, self.width))[0]
            except VideoError as error:
                self.damaged += 1
                logger.warning("skipped: %s", error)
                continue
            yield StreamFrame(index, float(index / self.rate), image)


class Capture(Protocol):
    """The used part of ``cv2.VideoCapture``."""

    def read(self) -> tuple[bool, Any]: ...

    def get(self, property: int, /) -> float: ...

    def release(self) -> None: ...


class CameraSource(Source):
    """Frames of a camera, timestamped on arrival.

    Args:
        capture: an open ``cv2.VideoCapture``, or an object with the same ``read() -> (success, BGR image)``.
        name: id of the video.
        patience: seconds without an image after which the camera counts as disconnected.

    Raises:
        VideoError: the camera returns no image.
    """

    live = True

    def __init__(self, capture: Capture, name: str = "camera", patience: float = 3.0) -> None:
        super().__init__(name)
        self._capture = capture
        self._patience = patience
        self._first = self._read()
        if self._first is None:
            capture.release()
            raise VideoError(name, "the camera gives no image; is another program using it?")
        self.height, self.width = self._first.shape[:2]
        self.rate = Fraction(capture.get(cv2.CAP_PROP_FPS) or 25).limit_denominator(1001)

    def frames(self) -> Iterator[StreamFrame]:
        image, self._first = self._first, None
        start, second, index = time.monotonic(), -1.0, 0
        try:
            while image is not None and not self._stopped.is_set():
                second = max(time.monotonic() - start, second + 1e-3)
                if image.shape[:2] == (self.height, self.width):
                    yield StreamFrame(index, second, image)
                    index += 1
                else:
                    self.damaged += 1
                image = self._read()
            if image is None and not self._stopped.is_set():
                logger.warning(
                    "%s gave no image for %g s; it counts as disconnected", self.name, self._patience
                )
        finally:
            self._capture.release()

    def _read(self) -> NDArray[np.uint8] | None:
        """The next RGB image; None after a timeout."""
        deadline = time.monotonic() + self._patience
        while not self._stopped.is_set():
            success, image = self._capture.read()
            if success:
                return np.ascontiguousarray(image[..., ::-1])
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        return None


def open_camera(text: str) -> cv2.VideoCapture:
    """Open a camera by its number or device.

    Raises:
        VideoError: the camera does not exist or is in use.
    """
    capture = cv2.VideoCapture(int(text) if text.isdigit() else text)
    if not capture.isOpened():
        raise VideoError(text, "there is no such camera, or another program is using it")
    return capture


def _open_address(address: str, threads: int) -> tuple[Any, av.VideoStream]:
    try:
        container = av.open(address, timeout=_URL_TIMEOUT, **ANY_TITLES)
    except PYAV_ERRORS as error:
        raise VideoError(address, reason_of(error)) from error
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream):
        container.close()
        raise VideoError(address, "it has no video stream")
    stream.thread_count = threads
    return container, stream


def paced(
    frames: Iterable[StreamFrame], clock: Callable[[], float] = time.monotonic
) -> Iterator[StreamFrame]:
    """Yield the frames of a file in real time, as a camera would."""
    start = clock()
    for frame in frames:
        time.sleep(max(frame.second - (clock() - start), 0.0))
        yield frame


class _End:
    """Marks the end of the items, with the error that caused it, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def in_background(items: Iterable[Item], size: int, drop: bool = False) -> Generator[Item, None, None]:
    """Compute the items in a thread that is at most ``size`` items ahead.

    Errors of the thread are raised here. Closing this generator ends the thread and closes ``items``.

    Args:
        drop: when ``size`` items are waiting, drop the oldest instead of blocking the thread.
    """
    waiting: queue.Queue[Any] = queue.Queue(size)
    closed = threading.Event()

    def put(item: Any) -> bool:
        while not closed.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if drop and waiting.full():
                    with contextlib.suppress(queue.Empty):
                        waiting.get_nowait()
                if not put(item):
                    break
        except BaseException as caught:
            error = caught
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
        put(_End(error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        closed.set()
        thread.join()
