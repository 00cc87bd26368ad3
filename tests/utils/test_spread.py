import pytest

from modist_det.utils.spread import evenly_spread, middles


@pytest.mark.parametrize(
    ("length", "count", "expected"),
    [
        (0, 3, []),
        (1, 3, [0]),
        (5, 0, []),
        (5, 1, [0]),
        (5, 2, [0, 4]),
        (9, 3, [0, 4, 8]),
        (10, 4, [0, 3, 6, 9]),
        (4, 9, [0, 1, 2, 3]),
    ],
)
def test_by_hand(length, count, expected):
    assert evenly_spread(length, count) == expected


def test_middles():
    assert middles(6.0, 3).tolist() == [1.0, 3.0, 5.0]
