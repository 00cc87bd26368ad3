"""When frames are shown: the timeline that a player shows, for files whose time stamps restart, jump or overlap, too.

Recordings that were joined (MPEG-TS, fragmented mp4, edit lists) carry the times of each part. FFmpeg's players
put the parts one after the other where the format is one that breaks off and goes on (MPEG-TS, program streams, Ogg);
:class:`PacketClock` does what they do. Such files are decoded from their start; most files are not such files, and
:func:`survey` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from .container import demux, open_container
from .errors import PYAV_ERRORS, VideoError, reason_of
from .index import has_sound_index

__all__ = ["FrameClock", "PacketClock", "Survey", "decode_in_order", "decoded_times", "survey"]

_BREAKS_OFF = 0x0200  # AVFMT_TS_DISCONT
_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS
# Seconds by which times of packets may be ahead of what was expected, or go back; ffmpeg treats more as a break.
_MAX_JUMP = 10.0
_MAX_STEP_BACK = 0.1
# Seconds by which presentation times may go back where parts meet; with more the file is refused.
_MAX_OVERLAP = 0.5
_REMEMBERED = 64  # files, in a process


class PacketClock:
    """Corrects the times of packets where a new recording begins, as the ``ffmpeg`` program does.

    Where a packet's decoding time is 10 s away from the expected one, or goes back by more than 0.1 s, all further
    times are shifted so that the packet comes when it was expected. Formats with an index keep their times.
    Only video is looked at: with sound, a player may shift by some milliseconds more.
    """

    def __init__(self, container: InputContainer, stream: av.VideoStream) -> None:
        self.shift = 0  # ticks
        self._active = bool(int(container.format.flags) & _BREAKS_OFF)
        tick = float(stream.time_base or 1)
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        self.spacing = max(round(1 / (rate * tick)), 1)  # ticks between two frames
        self._jump, self._back = _MAX_JUMP / tick, _MAX_STEP_BACK / tick
        self._expected: int | None = None
        self._last = 0

    def correct(self, packet: av.Packet) -> None:
        """Shift a packet's times; of each packet, in the order of the file."""
        self.spacing = packet.duration or self.spacing
        if not self._active:
            return
        if packet.dts is not None:
            dts = packet.dts + self.shift
            if self._expected is not None:
                ahead = dts - self._expected
                if abs(ahead) > self._jump or dts + self._back < self._last:
                    self.shift -= ahead
                    dts = self._expected
            self._expected = self._last = dts
        if self.shift:
            packet.pts = None if packet.pts is None else packet.pts + self.shift
            packet.dts = None if packet.dts is None else packet.dts + self.shift
        if self._expected is not None:
            self._expected += self.spacing


class FrameClock:
    """Times of decoded frames, in the order in which the decoder gives them, as FFmpeg's decoders guess them.

    A frame's own time, or that of the packet that completed it where there is none, or where times of frames go back
    more often than those (files that say only the order of decoding). The last frames of such a file have neither;
    they follow each other.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._faulty_pts = self._faulty_dts = 0
        self._last_pts = self._last_dts = -(1 << 62)

    def ticks(self, frame: av.VideoFrame, spacing: int) -> int | None:
        """When the frame is shown; None where the file does not say.

        Args:
            spacing: ticks from the frame before.
        """
        ticks = self._guess(frame)
        if ticks is None and self._last is not None:
            ticks = self._last + spacing
        self._last = ticks
        return ticks

    def _guess(self, frame: av.VideoFrame) -> int | None:
        pts, dts = frame.pts, frame.dts
        if dts is not None:
            self._faulty_dts += dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._faulty_pts += pts <= self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        return dts if pts is None or (self._faulty_pts > self._faulty_dts and dts is not None) else pts


@dataclass(frozen=True)
class Survey:
    """What the packets of a file say about its times.

    Attributes:
        rising: times of decoding never go back, need no shift and are the same after a seek, so that the file can be
            sought in by time.
        counted: frames have no times of their own, and frame ``i`` is shown at ``i / rate``: raw streams, and AVI with
            B-frames in which each chunk has a frame.
        reordered: the file says in which order frames are decoded, not in which they are shown (AVI with B-frames).
    """

    rising: bool = True
    counted: bool = False
    reordered: bool = False


def survey(path: Path, container: InputContainer, stream: av.VideoStream) -> Survey:
    """Whether the times of a file can be trusted.

    Of a file with an index only a few headers are read (:func:`.has_sound_index`). Others are read through
    without decoding, once in a process: milliseconds for a clip, about a second for each gigabyte.

    Args:
        container, stream: the open file; left as they are.
    """
    if int(container.format.flags) & _NO_TIMESTAMPS:
        return Survey(counted=True)
    reordered = container.format.name == "avi" and bool(stream.codec_context.has_b_frames)
    if not reordered and has_sound_index(path, container.format.name):
        return Survey()
    rising, even = _remembered(_read_through, path)
    return Survey(rising, reordered and even, reordered)


def decoded_times(path: Path) -> NDArray[np.float64]:
    """Seconds (N,) at which the frames of a file are shown, never falling, from decoding all; once in a process.

    Frames without a time stand at their number divided by the rate. Damaged frames are passed over.

    Raises:
        VideoError: the times go back, so that there is no one frame to a time.
    """
    return _remembered(_decode_times, path)


def decode_in_order(
    container: InputContainer,
    stream: av.VideoStream,
    path: Path,
    on_error: Callable[[BaseException], None] = lambda error: None,
) -> Iterator[tuple[av.VideoFrame, int | None]]:
    """All frames in the order of showing, each with its time in ticks of the stream (None: the file does not say).

    Args:
        container, stream: an open file, at its start.
        on_error: told of each packet that cannot be decoded; such packets are passed over.

    Raises:
        VideoError: the file is damaged, so that packets after this place cannot be found.
    """
    packets, frames = PacketClock(container, stream), FrameClock()
    for packet in _with_end(demux(container, stream, path)):
        if packet is not None:
            packets.correct(packet)
        try:
            decoded = stream.decode(packet)
        except PYAV_ERRORS as error:
            on_error(error)
            continue
        for frame in decoded:
            yield frame, frames.ticks(frame, packets.spacing)


def _with_end(packets: Iterator[av.Packet]) -> Iterator[av.Packet | None]:
    """The packets, and then None, which flushes a decoder."""
    yield from packets
    yield None


def _read_through(path: Path) -> tuple[bool, bool]:
    """Whether times of packets never go back, and whether none is left out (AVI numbers its chunks)."""
    container, stream = open_container(path, 1)
    with container:
        clock = PacketClock(container, stream)
        stamps: list[int] = []
        places: dict[int | None, int | None] = {}
        for packet in demux(container, stream, path):
            clock.correct(packet)
            if clock.shift:
                return False, False
            if packet.dts is not None:
                stamps.append(packet.dts)
                places[packet.dts] = packet.pos
        sought = container.format.name != "avi" or _index_agrees(container, stream, path, places)
    steps = np.diff(np.array(stamps, np.int64))
    return sought and not (steps < 0).any(), bool((steps == 1).all())


def _index_agrees(
    container: InputContainer, stream: av.VideoStream, path: Path, places: dict[int | None, int | None]
) -> bool:
    """Whether packets that are sought have the times that they have when all are read.

    Args:
        places: where the packet of each time is in the file, in order of the times.
    """
    stamps = list(places)
    for stamp in stamps[-1:] + stamps[len(stamps) // 2 :][:1]:
        try:
            container.seek(stamp or 0, stream=stream)
        except PYAV_ERRORS:
            return False
        packet = next(demux(container, stream, path), None)
        if packet is None or places.get(packet.dts) != packet.pos:
            return False
    return True


def _decode_times(path: Path) -> NDArray[np.float64]:
    container, stream = open_container(path, 1)
    with container:
        stamps = [ticks for _, ticks in decode_in_order(container, stream, path)]
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        tick = float(stream.time_base or 1)
    known = np.array([ticks for ticks in stamps if ticks is not None], np.float64)
    if not stamps or len(known) < len(stamps):
        return np.arange(len(stamps)) / rate
    times = (known - known[0]) * tick
    latest = np.maximum.accumulate(times)
    back = latest - times
    if back.max() > _MAX_OVERLAP:
        frame = int(np.argmax(back > _MAX_OVERLAP))
        raise VideoError(
            path,
            f"the times of its frames go back from {latest[frame]:.2f} s to {times[frame]:.2f} s (frame {frame}), as "
            "where recordings that begin at the same time are joined; encode it with new times: "
            f"ffmpeg -i IN -vf setpts=N/{rate:g}/TB OUT.mp4",
        )
    # Where parts overlap, what comes later replaces what is shown.
    return np.minimum.accumulate(times[::-1])[::-1]


def _remembered(function: Callable[[Path], Any], path: Path) -> Any:
    try:
        stat = path.stat()
        return _call(function, path.absolute(), stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise VideoError(path, reason_of(error)) from error
    except VideoError as error:
        raise VideoError(path, error.reason) from error.__cause__


@lru_cache(_REMEMBERED)
def _call(function: Callable[[Path], Any], path: Path, size: int, changed: int) -> Any:
    return function(path)
