"""Which packets are decoded for which frames, on sequences written out by hand."""

from __future__ import annotations

import av
import pytest

from modist_det.video.packets import TimedPacket, UntimedError, plan_runs, timed_packet


def packets(text: str) -> list[TimedPacket]:
    """``"I0 P3 b1 x2"``: type and time in the order of decoding; I is a keyframe, x is not shown."""
    data = av.Packet(b"-")
    return [TimedPacket(int(word[1:]), word[0] == "I", word[0] != "x", data) for word in text.split()]


CLOSED = "I0 P3 b1 b2 I4 P7 b5 b6 I8 P11 b9 b10"
# The second and the third keyframe are followed by frames shown before them (an open group).
OPEN = "I0 P3 b1 b2 I6 b4 b5 P9 b7 b8 I12 b10 b11"


@pytest.mark.parametrize(
    ("sequence", "wanted", "expected"),
    [
        (CLOSED, [0], [(0, 0)]),
        (CLOSED, [2], [(0, 3)]),
        (CLOSED, [5], [(4, 6)]),
        (CLOSED, [4, 7], [(4, 5)]),
        (CLOSED, [1, 9], [(0, 2), (8, 10)]),  # the middle group is left out
        (CLOSED, [0, 4, 8], [(0, 0), (4, 4), (8, 8)]),
        (OPEN, [6], [(4, 4)]),
        (OPEN, [4], [(0, 5)]),  # decoded after keyframe 6, needs the group before
        (OPEN, [4, 6], [(0, 5)]),
        (OPEN, [9, 7], [(4, 8)]),
        (OPEN, [3, 10], [(0, 1), (4, 11)]),
        (OPEN, [5, 11], [(0, 12)]),
        ("P2 b1 I5 P6", [1], [(0, 1)]),  # nothing to start from but the beginning
    ],
)
def test_runs_by_hand(sequence, wanted, expected):
    assert plan_runs(packets(sequence), wanted) == expected
    assert plan_runs(packets(sequence), reversed(wanted)) == expected


def test_a_hidden_packet_does_not_stand_for_the_shown_one_of_its_time():
    assert plan_runs(packets("I0 x2 P1 P2"), [2]) == [(0, 3)]


def packet(data: bytes, pts: int | None) -> av.Packet:
    made = av.Packet(data)
    made.pts = pts
    return made


def test_times_count_from_the_first_frame_and_earlier_packets_are_hidden():
    assert timed_packet(packet(b"0" * 20, 130), "h264", 100)[:3] == (30, False, True)
    assert timed_packet(packet(b"0" * 20, 90), "h264", 100)[:3] == (-10, False, False)


def test_invisible_vp8_frames_are_hidden():
    assert timed_packet(packet(b"\x11...", 5), "vp8", 0).shown
    assert not timed_packet(packet(b"\x01...", 5), "vp8", 0).shown
    assert timed_packet(packet(b"\x01...", 5), "vp9", 0).shown


def test_packets_without_time_or_frame_are_not_trusted():
    with pytest.raises(UntimedError):
        timed_packet(packet(b"0" * 20, None), "h264", 0)
    with pytest.raises(UntimedError):
        timed_packet(packet(b"0" * 7, 0), "mpeg4", 0)
    assert timed_packet(packet(b"0" * 7, 0), "vp9", 0).shown
