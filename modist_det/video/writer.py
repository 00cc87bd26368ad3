"""Write an mp4 frame by frame, with the sound of the source file."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from ..utils.errors import UserError
from ..utils.files import atomic_path
from .container import ANY_TITLES
from .errors import PYAV_ERRORS, reason_of
from .packed import ffmpeg_name
from .scaling import tag_bt709, to_bt709

__all__ = ["VideoWriter"]

logger = logging.getLogger(__name__)

_TICKS = 90_000  # a second, at least; fine enough for any frame rate, a variable one too
# Seconds for which one frame may stand. An mp4 holds no more than 2^31 ticks (3.3 hours or more) between two frames,
# and between the times at which a frame is decoded and shown, which may be three frames apart.
_MAX_STAND = 3600
# What an mp4 may hold and players play; other sound is encoded anew as AAC.
_COPIED = {"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"}


class VideoWriter:
    """Writes H.264 in mp4; each frame has its own time, so a variable frame rate is preserved.

    Colours are BT.709 in limited range, and tagged so. A frame that stands for more than an hour is repeated, since an
    mp4 cannot say much more. The complete file appears when the ``with`` block ends without an error.

    Args:
        path: the file.
        height, width: size of the frames; even numbers.
        rate: approximate frames per second.
        sound: file whose sound is copied as it is, or encoded anew where an mp4 cannot hold it; None: no sound.
        origin: seconds; time in that file of the first frame.
        quality: constant rate factor of x264, 0 (best) to 51.
        pixel_aspect: width of a pixel divided by its height.
        preset: x264's, from "ultrafast" to "veryslow".
        keyframe_every: frames from one keyframe to the next, in a coding that is decoded quickly (no B-frames, no
            CABAC); 0: as x264 chooses, for the smallest file.
        threads: of the encoder; 0: one per core.
        comment: text stored in the file.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        height: int,
        width: int,
        rate: Fraction,
        sound: Path | None = None,
        origin: float = 0.0,
        quality: int = 23,
        pixel_aspect: Fraction = Fraction(1),
        preset: str = "veryfast",
        keyframe_every: int = 0,
        threads: int = 0,
        comment: str = "",
    ) -> None:
        self.path = Path(path)
        self._size = (height, width)
        self._rate = rate
        self._sound_file = sound
        self._origin = origin
        self._options = {"crf": str(quality), "preset": preset}
        if keyframe_every:
            self._options |= {"g": str(keyframe_every), "sc_threshold": "0", "bf": "0", "tune": "fastdecode"}
        self._threads = threads
        self._comment = comment
        self._pixel_aspect = pixel_aspect
        self._reformatter = VideoReformatter()
        self._last = -1
        self._shown: NDArray[np.uint8] | None = None  # the frame written last

    def __enter__(self) -> VideoWriter:
        with self._writing(), contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            options = {"movflags": "faststart"}
            self._container = stack.enter_context(av.open(str(temporary), "w", format="mp4", options=options))
            self._container.metadata["comment"] = self._comment
            # The encoder's settings need a sensible rate, whatever a broken header says.
            rate = self._rate if 1 <= self._rate <= 240 else Fraction(25)
            self._ticks = _ticks(rate)
            self._stream = self._container.add_stream("libx264", rate=rate)
            self._stream.height, self._stream.width = self._size
            self._stream.pix_fmt = "yuv420p"
            tag_bt709(self._stream)
            self._stream.codec_context.sample_aspect_ratio = self._pixel_aspect
            self._stream.options = self._options
            self._stream.codec_context.thread_count = self._threads
            self._stream.codec_context.time_base = Fraction(1, self._ticks)
            self._sound = _Sound.open(self._sound_file, self._container, self._origin, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            try:
                with self._writing():
                    self._container.mux(self._stream.encode(None))
                self._write_sound(float("inf"))
            except BaseException as caught:
                self._stack.__exit__(type(caught), caught, caught.__traceback__)
                raise
        with self._writing():
            self._stack.__exit__(*error)

    def write(self, image: NDArray[np.uint8], second: float) -> None:
        """Add a frame uint8 (H, W, 3), RGB, shown at ``second``, which is later than the one before."""
        if self._shown is not None:
            stand = _MAX_STAND * self._ticks
            while round(second * self._ticks) - self._last > stand:
                self._encode(self._shown, self._last + stand)
        self._encode(image, max(round(second * self._ticks), self._last + 1))
        self._shown = image
        self._write_sound(second)

    def _encode(self, image: NDArray[np.uint8], pts: int) -> None:
        with self._writing():
            frame = to_bt709(image, self._reformatter)
            frame.pts, frame.time_base = pts, Fraction(1, self._ticks)
            self._last = pts
            self._container.mux(self._stream.encode(frame))

    def _write_sound(self, second: float) -> None:
        """Sound up to ``second``; where it cannot be had or put in, the rest of it is left out."""
        if self._sound is None:
            return
        try:
            self._sound.write_until(second)
        except PYAV_ERRORS as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            logger.warning(
                "%s: its sound is left out from %.1f s on (%s)",
                self._sound_file,
                self._last / self._ticks,
                error,
            )
            self._sound = None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except PYAV_ERRORS as error:
            raise UserError(f"cannot write video {self.path}: {reason_of(error)}") from error


def _ticks(rate: Fraction) -> int:
    """Ticks a second in which the times of frames at ``rate`` are whole numbers, if its numerator is small enough."""
    return rate.numerator * math.ceil(_TICKS / rate.numerator) if rate.numerator <= _TICKS else _TICKS


class _Sound:
    """Copies the sound of a file into another while its frames are written."""

    def __init__(
        self, source: InputContainer, stream: av.AudioStream, target: OutputContainer, origin: float
    ) -> None:
        self._target = target
        if stream.codec_context.name in _COPIED:
            self._out = target.add_stream_from_template(stream)
            self._packets = self._copied(source, stream, origin)
        else:
            # Raw sound often does not say which channels it has; more than two are mixed down.
            self._layout = "mono" if stream.channels == 1 else "stereo"
            self._out = target.add_stream("aac", rate=stream.rate, layout=self._layout)
            self._packets = self._encoded(source, stream, origin)
        self._next: av.Packet[av.AudioStream] | None = None

    @classmethod
    def open(
        cls, path: Path | None, target: OutputContainer, origin: float, stack: contextlib.ExitStack
    ) -> _Sound | None:
        """The best sound stream of ``path``; None where it has none that can be used."""
        if path is None:
            return None
        try:
            source = stack.enter_context(av.open(ffmpeg_name(path), **ANY_TITLES))
            stream = source.streams.best("audio")
            return None if stream is None else cls(source, stream, target, origin)
        except PYAV_ERRORS as error:
            logger.warning("%s: its sound is left out (%s)", path, error)
            return None

    def write_until(self, second: float) -> None:
        """Write the sound up to ``second`` of the video."""
        while True:
            self._next = self._next or next(self._packets, None)
            if self._next is None or float((self._next.pts or 0) * self._next.time_base) > second:
                return
            self._target.mux(self._next)
            self._next = None

    def _copied(
        self, source: InputContainer, stream: av.AudioStream, origin: float
    ) -> Iterator[av.Packet[av.AudioStream]]:
        assert stream.time_base is not None  # of a stream that has packets
        shift = round(origin / stream.time_base)
        for packet in _without_errors(source.demux(stream)):
            # Sound before the first frame is dropped.
            if packet.size and packet.pts is not None and packet.dts is not None and packet.pts >= shift:
                packet.pts -= shift
                packet.dts -= shift
                packet.stream = self._out
                yield packet

    def _encoded(
        self, source: InputContainer, stream: av.AudioStream, origin: float
    ) -> Iterator[av.Packet[av.AudioStream]]:
        resampler = av.AudioResampler("fltp", self._layout, stream.rate)
        for frame in _without_errors(source.decode(stream)):
            if frame.time is not None and frame.time >= origin:
                assert frame.pts is not None and frame.time_base is not None  # which give the time
                frame.pts -= round(origin / frame.time_base)
                for resampled in resampler.resample(frame):
                    yield from self._out.encode(resampled)
        yield from self._out.encode(None)


_Item = TypeVar("_Item")


def _without_errors(items: Iterator[_Item]) -> Iterator[_Item]:
    """Up to the place where the file is damaged, if it is."""
    with contextlib.suppress(*PYAV_ERRORS):
        yield from items
