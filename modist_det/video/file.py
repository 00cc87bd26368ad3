"""Read selected frames of a video file.

The reader seeks to the last keyframe before the first requested frame, decodes up to the last one, and converts and
scales only the requested frames. In H.264 and MPEG-1/2/4, frames that are neither requested nor referenced are not
decoded at all. Time 0 is the first frame shown.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Container, Iterator
from contextlib import AbstractContextManager
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import ArrayLike, NDArray

from .container import demux, open_container
from .errors import PYAV_ERRORS, VideoError, reading, reason_of
from .frame_times import as_indices, as_seconds, average_rate, nearest, nearest_frames
from .info import Timing, VideoInfo, output_size
from .orientation import Orientation, pixel_aspect
from .packets import TimedPacket, UntimedError, plan_runs, timed_packet
from .scaling import FrameScaler, check_colours
from .timeline import decode_in_order, decoded_times, print_of, survey

__all__ = ["VideoReader"]

logger = logging.getLogger(__name__)

# Frames further apart than this (seconds) are reached by seeking instead of reading all packets in between.
_SEEK_GAP = 10.0
# How far back (seconds) to try where a seek does not lead to a keyframe before the frame wanted.
_SEEK_BACK = (0.0, 1.0, 5.0, 25.0)
# No codec shows more than 16 frames before one that was decoded ahead of them.
_MAX_REORDER = 16
# Where skipping unreferenced frames leaves all other pixels as they are. Not HEVC: its unreferenced
# frames of one temporal layer may be referred to from the next.
_SKIPPABLE = {"h264", "mpeg4", "mpeg1video", "mpeg2video"}
# Several frames may share one time stamp here; FFmpeg gives the others (without a place in the file) a
# guess, which is wrong after a seek.
_PES_FORMATS = {"mpeg", "mpegts"}

# For each frame wanted (its number or its time in ticks) the rows of the result that show it.
Rows = dict[int, NDArray[np.intp]]


class VideoReader(AbstractContextManager["VideoReader"]):
    """Reads frames of one video file by number or by time.

    It handles variable frame rates, B-frames, any first timestamp, edit lists, rotated and mirrored
    frames, and files without duration or frame count. Files whose packets do not say when frames are
    shown (AVI with B-frames, MPEG program streams, raw H.264) are decoded from their start for each
    request, which is slow if they are long. In a raw stream without a container frame ``i`` is shown
    at ``i / rate``, with the rate that FFmpeg states (25 where it knows none).

    A truncated file ends with its last whole frame (of a transport stream the last frame may be an
    error: it does not tell). Damage that FFmpeg reports, in a frame or in one that it depends on, is an
    error; damage that FFmpeg conceals silently is not detected.

    The timeline is that of ``ffmpeg`` (its ``showinfo`` filter), also in a file whose times jump or restart, as MPEG-TS
    recordings that were joined, AVI with dropped frames, edit lists with several parts
    (:mod:`.timeline`); such files are decoded from their start for each request, too.

    A reader must not be shared by processes or threads. Opening one takes a few milliseconds.

    Args:
        path: a file of any format that FFmpeg reads.
        threads: decoder threads. Use 1 in the workers of a loader.

    Raises:
        VideoError: the file is missing, unreadable, empty, not a video, has only sound or no decodable frame.

    Example::

        with VideoReader("abseiling.mp4") as video:
            clip = video.frames_at_times(3.0 + np.arange(8) * 8 / 30, short_side=256)  # uint8 (8, 256, W, 3)
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 1) -> None:
        self.path = Path(path)
        self._threads = threads
        self._container, self._stream = open_container(self.path, threads)
        try:
            with reading(self.path):
                first = next(self._decode_from_start(self._container, self._stream))
                self._describe(first)
            if not self._rising:
                decoded_times(self.path)  # refuses times that no player could show
        except BaseException:
            self.close()
            raise

    def _describe(self, first: av.VideoFrame) -> None:
        check_colours(first, self._stream, self.path)
        self._codec_name: str = self._stream.codec_context.name
        self._tick = float(self._stream.time_base or 1)  # seconds
        self._stated_rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or 1)
        self._stored_size = first.height, first.width
        self._orientation = Orientation.of_frame(first)
        self.pixel_aspect = pixel_aspect(self._stream, self._orientation)
        self._origin = first.pts or 0  # in ticks; all other ticks here count from it
        self._scaler = FrameScaler(self.path)
        self._listed_frames = 0  # by packets with a time; 0: not counted yet
        facts = survey(self.path, self._container, self._stream)
        self._rising, self._is_even = facts.rising, facts.counted
        self._prints, self._broken = facts.prints, facts.broken
        self._ordered_by_pts = first.pts is not None and facts.rising and not facts.reordered

    @cached_property
    def info(self) -> VideoInfo:
        """Size, codec and rotation; number of frames, rate and duration are determined on first use."""
        height, width = self._orientation.size(*self._stored_size)
        return VideoInfo(width, height, self._codec_name, self._orientation.rotation, self._measure)

    def frames_at_indices(
        self, indices: ArrayLike, size: tuple[int, int] | None = None, short_side: int | None = None
    ) -> NDArray[np.uint8]:
        """Frames by number.

        The first call reads through the file once, without decoding, to find the time of each frame; for a
        few frames of a long video :meth:`frames_at_times` is faster.

        Args:
            indices: (T,) frame numbers from 0 in the order of showing; any order, repeats allowed;
                clamped to the first and the last frame.
            size: (height, width) of the result; the aspect ratio may change.
            short_side: instead of ``size``, the length of the shorter side; the aspect ratio is kept.

        Returns:
            uint8 (T, H, W, 3), RGB, turned as the file says; scaled bilinearly in one step with the
            conversion of colours (:class:`FrameScaler`).

        Raises:
            VideoError: a requested frame is damaged.
        """
        wanted = as_indices(indices)
        if self._ordered_by_pts:
            try:
                pts = self._pts[np.minimum(wanted, len(self._pts) - 1)]
                return self._read(pts.astype(np.float64), size, short_side)
            except UntimedError:
                self._distrust_pts()
        return self._read_in_order(wanted, size, short_side)

    def frames_at_times(
        self, seconds: ArrayLike, size: tuple[int, int] | None = None, short_side: int | None = None
    ) -> NDArray[np.uint8]:
        """Frames by time: for each time the nearest frame, or the earlier of two equally near ones.

        Across a gap of more than 1 s it is the frame before the gap, as a player shows it.
        Reads only the necessary part of the file.

        Args:
            seconds: (T,) seconds since the first frame, in any order, repeats allowed; times before
                the first or after the last frame give that frame.
            size, short_side: as in :meth:`frames_at_indices`; so are the result and the errors.
        """
        times = as_seconds(seconds)
        if self._is_even:
            return self.frames_at_indices(nearest_frames(times, self._stated_rate), size, short_side)
        if self._ordered_by_pts:
            try:
                return self._read(times / self._tick, size, short_side)
            except UntimedError:
                self._distrust_pts()
        return self.frames_at_indices(nearest(self._frame_times, times, 1e-9), size, short_side)

    def all_frames(self, size: tuple[int, int] | None = None) -> Iterator[NDArray[np.uint8]]:
        """Every frame uint8 (H, W, 3), in the order of showing; the file is decoded once.

        Raises:
            VideoError: (while iterating) a frame is damaged or missing.
        """
        count = 0
        for frame, whole in self._frames_from_start():
            if not whole:
                raise self._damaged(count / float(self._stated_rate))
            image = self._empty(1, size, None)
            self._convert(frame, image, np.zeros(1, np.intp))
            yield image[0]
            count += 1
        self._check_listed(count)

    @property
    def origin(self) -> float:
        """Seconds of the first frame on the file's own clock, by which its sound goes."""
        return self._origin * self._tick

    def close(self) -> None:
        """Close the file. ``info`` remains usable."""
        self._container.close()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Times of all frames

    def _measure(self) -> Timing:
        times = self._frame_times
        rate = average_rate(self._stated_rate, len(times), float(times[-1]))
        return Timing(len(times), rate, float(times[-1]) + float(1 / rate), times)

    @cached_property
    def _frame_times(self) -> NDArray[np.float64]:
        """Seconds (N,) at which the frames are shown, from 0, never falling."""
        if self._ordered_by_pts:
            try:
                times = (self._pts - self._pts[0]) * self._tick
            except UntimedError:
                self._distrust_pts()
        if not self._ordered_by_pts:
            times = decoded_times(self.path)
        return np.arange(len(times)) / float(self._stated_rate) if self._is_even else times

    @cached_property
    def _pts(self) -> NDArray[np.int64]:
        """Ticks (N,) of all frames in the order of showing, from the packets."""
        container, stream = open_container(self.path, self._threads)
        with container:
            shown = [packet.pts for packet in self._packets(container, stream) if packet.shown]
        pts = np.unique(np.asarray(shown, dtype=np.int64))
        self._listed_frames = len(pts)
        if len(pts) < len(shown) or not shown:
            raise UntimedError
        return pts

    def _distrust_pts(self) -> None:
        self._ordered_by_pts = False
        vars(self).pop("_frame_times", None)
        logger.info("%s: packets without usable times; each clip is decoded from the file's start", self.path)

    # Packets

    def _packets(self, container: InputContainer, stream: av.VideoStream) -> Iterator[TimedPacket]:
        """Packets from the next keyframe on, without broken ones at the end of a truncated file.

        Raises:
            UntimedError: they are not those that the file has when it is read from its start.
        """
        prints, broken = self._prints, self._broken
        place = -1
        for packet in demux(container, stream, self.path):
            if place < 0 and not packet.is_keyframe:
                continue
            if packet.pos is None and container.format.name in _PES_FORMATS:
                raise UntimedError
            damaged = packet.is_corrupt
            if prints is None or broken is None:
                place = 0
                if damaged:
                    return
            else:
                own = print_of(packet)
                place = place + 1 if place >= 0 else int(np.argmax(np.append(prints == own, True)))
                if place >= len(prints):
                    return
                if prints[place] != own:
                    raise UntimedError
                damaged = bool(broken[place])
            yield timed_packet(packet, self._codec_name, self._origin, damaged)
        if prints is not None and 0 <= place < len(prints) - 1:
            raise UntimedError

    def _packets_around(self, first: float, last: float) -> list[TimedPacket]:
        """All packets that may be needed for the frames nearest to ticks in ``[first, last]``."""
        for back in _SEEK_BACK:
            target = max(first - back / self._tick, 0.0)
            try:
                self._container.seek(self._origin + int(target), stream=self._stream)
            except PYAV_ERRORS:
                continue
            packets = self._packets_until(last, first_keyframe_by=first)
            if packets:
                return packets
        # From the very start, opened anew: not every format can go back there.
        self._reopen()
        return self._packets_until(last, first_keyframe_by=np.inf)

    def _reopen(self) -> None:
        self._container.close()
        self._container, self._stream = open_container(self.path, self._threads)

    def _packets_until(self, last: float, first_keyframe_by: float) -> list[TimedPacket]:
        """Packets up to the frame after tick ``last``; none if they begin later than they should."""
        packets: list[TimedPacket] = []
        later = 0
        for packet in self._packets(self._container, self._stream):
            if not packets and packet.pts > first_keyframe_by:
                break
            packets.append(packet)
            later += packet.shown and packet.pts > last
            if later > _MAX_REORDER:
                break
        return packets

    # Decoding

    def _read(
        self, ticks: NDArray[np.float64], size: tuple[int, int] | None, short_side: int | None
    ) -> NDArray[np.uint8]:
        """Frames nearest to ``ticks`` (T,)."""
        out = self._empty(len(ticks), size, short_side)
        distinct = np.unique(ticks)
        gaps = np.flatnonzero(np.diff(distinct) > _SEEK_GAP / self._tick)
        for group in np.split(distinct, gaps + 1) if len(distinct) else ():
            packets = self._packets_around(group[0], group[-1])
            shown = np.unique([packet.pts for packet in packets if packet.shown])
            if not len(shown):
                raise UntimedError
            chosen = shown[nearest(shown, group, 1e-6, 1 / self._tick)]
            rows = {
                int(pts): np.flatnonzero(np.isin(ticks, group[chosen == pts])) for pts in np.unique(chosen)
            }
            for first, last in plan_runs(packets, rows):
                try:
                    self._decode_run(packets[first : last + 1], rows, out)
                except (UntimedError, VideoError):
                    self._reopen()  # damage may have left settings of its own in the decoder
                    raise
            if rows:
                raise UntimedError  # the decoder gave no frame for a packet
        return out

    def _decode_run(self, packets: list[TimedPacket], rows: Rows, out: NDArray[np.uint8]) -> None:
        """Decode packets from a keyframe on and write the requested frames to ``out``.

        Frames that were found are removed from ``rows``.
        """
        expected = {packet.pts for packet in packets}
        start, previous = packets[0].pts, -np.inf
        for frame in self._decode(packets, rows):
            pts = None if frame.pts is None else frame.pts - self._origin
            if pts not in expected or pts <= previous:
                raise UntimedError
            previous = pts
            # A run ends with a frame that is wanted and depends on what was decoded before it,
            # except for frames shown before the first keyframe, which lack what they refer to.
            if frame.is_corrupt and pts >= start:
                raise self._damaged(pts * self._tick)
            if pts in rows:
                self._convert(frame, out, rows.pop(pts))

    def _decode(self, packets: list[TimedPacket], wanted: Container[int]) -> Iterator[av.VideoFrame]:
        codec = self._stream.codec_context
        codec.flush_buffers()
        for packet in [*packets, None]:  # None gives what the decoder held back
            if packet is not None:
                if packet.corrupt:
                    raise self._damaged(packet.pts * self._tick)
                if self._codec_name in _SKIPPABLE:
                    codec.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
            try:
                frames = self._stream.decode(packet and packet.data)
            except PYAV_ERRORS as error:
                raise self._damaged(packets[0].pts * self._tick, error) from error
            yield from frames

    def _read_in_order(
        self, indices: NDArray[np.int64], size: tuple[int, int] | None, short_side: int | None
    ) -> NDArray[np.uint8]:
        """Frames by number (T,), counted while decoding from the start of the file."""
        out = self._empty(len(indices), size, short_side)
        rows: Rows = {int(index): np.flatnonzero(indices == index) for index in np.unique(indices)}
        count = 0
        for frame, whole in self._frames_from_start():
            if not rows:
                return out
            if count in rows:
                if not whole:
                    raise self._damaged(count / float(self._stated_rate))
                self._convert(frame, out, rows.pop(count))
            count += 1
        if min(rows, default=self._listed_frames) < self._listed_frames:
            self._check_listed(count)
        for beyond in rows.values():
            self._convert(frame, out, beyond)
        return out

    def _check_listed(self, decoded: int) -> None:
        if self._listed_frames > decoded:
            raise VideoError(
                self.path,
                f"damaged: it lists {self._listed_frames} frames, of which {decoded} can be decoded",
            )

    def _frames_from_start(self) -> Iterator[tuple[av.VideoFrame, bool]]:
        """All frames in the order of showing, and whether each is undamaged, and what it depends on is."""
        whole = True
        container, stream = open_container(self.path, self._threads)
        with container:
            for frame in self._decode_from_start(container, stream):
                whole = (whole or frame.key_frame) and not frame.is_corrupt
                yield frame, whole

    def _decode_from_start(
        self, container: InputContainer, stream: av.VideoStream
    ) -> Iterator[av.VideoFrame]:
        """All frames in the order of showing; packets at the end that cannot be decoded are passed over."""
        errors: list[BaseException] = []
        count = 0
        for frame, _ in decode_in_order(container, stream, self.path, errors.append):
            if errors:  # how many frames are missing here is not known
                raise VideoError(
                    self.path,
                    f"after frame {count} there is a packet that cannot be decoded (FFmpeg: {reason_of(errors[0])}): "
                    "it is damaged, or recordings are joined (a chained Ogg file); make a file of what can be decoded: "
                    "ffmpeg -i IN OUT.mp4",
                ) from errors[0]
            count += 1
            yield frame
        if not count:
            why = f" (FFmpeg: {reason_of(errors[0])})" if errors else ""
            raise VideoError(self.path, f"no frame of it can be decoded{why}")

    def _damaged(self, second: float, error: BaseException | None = None) -> VideoError:
        why = f" (FFmpeg: {reason_of(error)})" if error else ""
        return VideoError(self.path, f"damaged at about {second:.2f} s{why}")

    def _empty(self, length: int, size: tuple[int, int] | None, short_side: int | None) -> NDArray[np.uint8]:
        shown = self._orientation.size(*self._stored_size)
        height, width = output_size(*shown, size, short_side, self.path, length)
        with reading(self.path):
            return np.empty((length, height, width, 3), dtype=np.uint8)

    def _convert(self, frame: av.VideoFrame, out: NDArray[np.uint8], rows: NDArray[np.intp]) -> None:
        height, width = self._orientation.size(*out.shape[1:3])
        out[rows[0]] = self._orientation.apply(self._scaler(frame, height, width))
        out[rows[1:]] = out[rows[0]]
