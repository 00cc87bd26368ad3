"""The display times of frames as in a player, including files whose timestamps restart, jump or overlap.

Recordings that were joined (MPEG-TS, fragmented mp4, edit lists) carry the times of each part. FFmpeg's players
concatenate the parts if the format allows discontinuities (MPEG-TS, program streams, Ogg), and so does
:class:`PacketClock`. :func:`survey` detects such files, which are rare; they are decoded from their start.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from .container import demux, open_container
from .errors import PYAV_ERRORS, VideoError, reason_of
from .index import has_sound_index
from .packed import status

__all__ = ["FrameClock", "PacketClock", "Survey", "decode_in_order", "decoded_times", "print_of", "survey"]

_BREAKS_OFF = 0x0200  # AVFMT_TS_DISCONT
_NO_TIMESTAMPS = 0x80  # AVFMT_NOTIMESTAMPS
# Seconds by which times of packets may be ahead of what was expected, or go back; ffmpeg treats more as a break.
_MAX_JUMP = 10.0
_MAX_STEP_BACK = 0.1
# Seconds by which presentation times may go back where parts meet; with more the file is refused.
_MAX_OVERLAP = 0.5
_GAP = 1.0  # seconds between packets where something may be missing
# How many packets before a keyframe may be marked as broken only because a new recording begins with it.
_MARKED_BEFORE = 2
_REMEMBERED = 64  # files, in a process


class PacketClock:
    """Corrects packet times where a new recording begins, as the ``ffmpeg`` program does.

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

    def correct(self, packet: av.Packet[av.VideoStream]) -> None:
        """Shift a packet's times; of each packet, in the order of the file."""
        self.spacing = packet.duration or self.spacing
        if not self._active:
            return
        if packet.dts is not None:
            # No frame is shown before it is decoded: where a file says so, its decoding time is wrong.
            dts = (packet.dts if packet.pts is None else min(packet.dts, packet.pts)) + self.shift
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
    """Properties of a file's timestamps.

    Attributes:
        rising: times of decoding never go back and need no shift, so that the file can be sought in by time.
        counted: frames have no times of their own, and frame ``i`` is shown at ``i / rate``: raw streams, and AVI with
            B-frames in which each chunk has a frame.
        reordered: the file says in which order frames are decoded, not in which they are shown (AVI with B-frames).
        prints: uint32 (N,), :func:`print_of` each packet in the order of the file, without broken ones at its end;
            None where the file has an index that is trusted.
        broken: bool (N,), the packets that the demuxer marks as incomplete.
    """

    rising: bool = True
    counted: bool = False
    reordered: bool = False
    prints: NDArray[np.uint32] | None = None
    broken: NDArray[np.bool_] | None = None


def print_of(packet: av.Packet[av.VideoStream]) -> int:
    """A fingerprint of a packet's content and time."""
    return zlib.crc32(packet, (packet.pts or 0) & 0xFFFFFFFF)


def survey(path: Path, container: InputContainer, stream: av.VideoStream) -> Survey:
    """Determine whether the times of a file can be trusted.

    Of a file with an index only a few headers are read (:func:`.has_sound_index`). Others are read through
    without decoding, once in a process: milliseconds for a clip, about a second for each gigabyte.

    Args:
        container, stream: the open file; left as they are.
    """
    if int(container.format.flags) & _NO_TIMESTAMPS:
        return Survey(counted=True)
    reordered = container.format.name == "avi" and bool(stream.codec_context.has_b_frames)
    if has_sound_index(path, container.format.name):
        return Survey()
    facts: Survey = _remembered(_read_through, path)
    return replace(facts, counted=reordered and facts.counted, reordered=reordered)


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


def _with_end(packets: Iterator[av.Packet[av.VideoStream]]) -> Iterator[av.Packet[av.VideoStream] | None]:
    """The packets, and then None, which flushes a decoder."""
    yield from packets
    yield None


def _read_through(path: Path) -> Survey:
    """``counted``: no number is left out (AVI numbers its chunks)."""
    container, stream = open_container(path, 1)
    with container:
        clock = PacketClock(container, stream)
        stamps, prints, broken, keys = list[int](), list[int](), list[bool](), list[bool]()
        for packet in demux(container, stream, path):
            prints.append(print_of(packet))
            broken.append(packet.is_corrupt)
            keys.append(packet.is_keyframe)
            clock.correct(packet)
            if clock.shift:
                return Survey(rising=False)
            if packet.dts is not None:
                stamps.append(packet.dts)
    steps = np.diff(np.array(stamps, np.int64))
    marks = np.array(broken, np.bool_)
    length = int(np.flatnonzero(~marks).max(initial=-1)) + 1
    for begin in np.flatnonzero(keys & ~marks).tolist():
        # Where recordings are joined, the counters that reveal losses restart, and a frame shortly before is
        # marked without need. The decoder finds whether it is whole.
        marks[max(begin - _MARKED_BEFORE, 0) : begin] = False
    even = bool((steps == 1).all())
    # A recording that was joined after a pause, or lost a part: a decoder may give fewer frames there than packets.
    usual = float(np.median(steps)) if len(steps) else 0.0
    longest = (
        max(_GAP / float(stream.time_base or 1), 10 * usual) if container.format.name != "avi" else np.inf
    )
    rising = int(steps.min(initial=0)) >= 0 and int(steps.max(initial=0)) <= longest
    return Survey(rising, even, prints=np.array(prints[:length], np.uint32), broken=marks[:length])


def _decode_times(path: Path) -> NDArray[np.float64]:
    container, stream = open_container(path, 1)
    with container:
        stamps = [ticks for _, ticks in decode_in_order(container, stream, path)]
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        tick = float(stream.time_base or 1)
    known = np.array([ticks for ticks in stamps if ticks is not None], np.float64)
    if not len(known):
        return np.arange(len(stamps)) / rate
    # Only the first frames may have no time (Matroska with times below 0): they come one by one before the others.
    before = (np.arange(len(known) - len(stamps), 0)) / rate
    times = np.concatenate([before, (known - known[0]) * tick]) + (len(stamps) - len(known)) / rate
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


_Result = TypeVar("_Result")


def _remembered(function: Callable[[Path], _Result], path: Path) -> _Result:
    try:
        return _call(function, path.absolute(), *status(path))
    except OSError as error:
        raise VideoError(path, reason_of(error)) from error
    except VideoError as error:
        raise VideoError(path, error.reason) from error.__cause__


@lru_cache(_REMEMBERED)
def _call(function: Callable[[Path], _Result], path: Path, size: int, changed: int) -> _Result:
    return function(path)
