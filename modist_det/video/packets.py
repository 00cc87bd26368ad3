"""Find the compressed packets that a set of frames needs.

A keyframe can be decoded alone; every other frame only after those that it refers to. Packets lie in
the order of decoding, which is not that of showing where frames refer to later ones (B-frames).
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import av

__all__ = ["TimedPacket", "UntimedError", "plan_runs", "timed_packet"]

# Shorter MPEG-4 packets may say "nothing coded": the decoder gives no frame for them.
_MIN_MPEG4_BYTES = 16


class UntimedError(Exception):
    """Packets do not say which frame is shown when; only decoding all of them in order tells."""


class TimedPacket(NamedTuple):
    """A packet and the time of its frame in ticks; ``shown`` is False for a frame only others refer to.

    ``corrupt``: a part of it is lost.
    """

    pts: int
    keyframe: bool
    shown: bool
    data: av.Packet[av.VideoStream]
    corrupt: bool = False


def timed_packet(
    packet: av.Packet[av.VideoStream], codec: str, origin: int, corrupt: bool = False
) -> TimedPacket:
    """A packet of a video stream with its time counted from ``origin``, the first frame shown.

    Raises:
        UntimedError: it has no presentation time, or perhaps no frame.
    """
    if packet.pts is None or (codec == "mpeg4" and packet.size < _MIN_MPEG4_BYTES):
        raise UntimedError
    # Not shown: what an edit list cuts off (is_discard), frames before the first that could be decoded,
    # and the invisible frames of VP8, which have times of their own (RFC 6386, section 9.1: bit 4).
    visible = not (codec == "vp8" and not memoryview(packet)[0] & 0x10)
    pts = packet.pts - origin
    return TimedPacket(
        pts, packet.is_keyframe, visible and not packet.is_discard and pts >= 0, packet, corrupt
    )


def plan_runs(packets: Sequence[TimedPacket], wanted: Iterable[int]) -> list[tuple[int, int]]:
    """The smallest ranges ``(first, last)`` of packets needed for the frames shown at ticks ``wanted``.

    Each begins at the last keyframe that is neither decoded nor shown after the frame: frames that
    come after a keyframe but are shown before it may refer to what lies before it (an open group of
    pictures). Adjacent ranges are merged.
    """
    positions = {packet.pts: i for i, packet in enumerate(packets) if packet.shown}
    keyframes = [i for i, packet in enumerate(packets) if packet.keyframe]
    needed = []
    for pts in wanted:
        last = positions[pts]
        key = bisect.bisect_right(keyframes, last) - 1
        while key >= 0 and packets[keyframes[key]].pts > pts:
            key -= 1
        needed.append((keyframes[key] if key >= 0 else 0, last))
    runs: list[tuple[int, int]] = []
    for first, last in sorted(needed):
        if runs and first <= runs[-1][1]:
            runs[-1] = (runs[-1][0], max(last, runs[-1][1]))
        else:
            runs.append((first, last))
    return runs
