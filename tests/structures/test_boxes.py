import numpy as np
import pytest

from modist_det.structures.boxes import (
    area,
    clip_boxes,
    has_area,
    intersection,
    iou,
    iou_matrix,
    scale_boxes,
)

# Whole, to the right, inside of the first, without width, without height, inside out.
BOXES = [[0, 0, 4, 2], [4, 0, 6, 2], [1, 1, 3, 2], [2, 0, 2, 2], [0, 1, 4, 1], [3, 2, 1, 0]]


def cells_of(box) -> set[tuple[int, int]]:
    """The unit squares that a box of whole numbers covers."""
    x1, y1, x2, y2 = box
    return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_by_hand(dtype) -> None:
    boxes = np.array(BOXES, dtype)
    assert has_area(boxes).tolist() == [True, True, True, False, False, False]
    assert area(boxes).tolist() == [8, 4, 2, 0, 0, 0]
    assert intersection(boxes[0], boxes).tolist() == [8, 0, 2, 0, 0, 0]
    overlaps = iou(boxes[:1], boxes)
    assert overlaps.tolist() == [1, 0, 0.25, 0, 0, 0]
    assert overlaps.dtype == area(boxes).dtype == scale_boxes(boxes, 2, 3).dtype == dtype


def test_a_box_without_area_overlaps_with_nothing() -> None:
    """Not even with itself; and nothing is NaN."""
    boxes = np.array(BOXES[3:], float)
    assert iou_matrix(boxes, np.array(BOXES, float)).tolist() == np.zeros((3, 6)).tolist()


def test_no_boxes() -> None:
    none, one = np.zeros((0, 4)), np.array([BOXES[0]], float)
    assert iou_matrix(none, one).shape == (0, 1) and iou_matrix(one, none).shape == (1, 0)
    assert iou(none, none).shape == (0,)


def test_counting_of_cells_gives_the_same() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 9, (60, 4)) for _ in range(2))  # a quarter of them has an area
    expected = np.zeros((60, 60))
    for i, one in enumerate(a.tolist()):
        for j, other in enumerate(b.tolist()):
            both, either = cells_of(one) & cells_of(other), cells_of(one) | cells_of(other)
            expected[i, j] = len(both) / len(either) if either else 0
    assert np.array_equal(iou_matrix(a.astype(float), b.astype(float)), expected)
    assert np.array_equal(iou(a.astype(float), b.astype(float)), expected.diagonal())
    assert area(a).tolist() == [len(cells_of(box)) for box in a.tolist()]
    assert 5 < has_area(a).sum() < 50 and np.array_equal(has_area(a), area(a) > 0)


def test_an_iou_of_one_half_is_one_half() -> None:
    """The evaluator's threshold: boxes of which one is half of the other, at places that floats do not hold exactly."""
    whole = np.array([[0.1, 0.2, 0.5, 0.6]])
    half = np.array([[0.1, 0.2, 0.3, 0.6]])
    assert iou(whole, half)[0] == pytest.approx(0.5, abs=1e-15)
    assert iou(np.array([[0, 0, 2, 2.0]]), np.array([[0, 0, 1, 2.0]]))[0] == 0.5


def test_scaling_and_clipping() -> None:
    boxes = np.array([[-0.1, 0.25, 0.5, 1.5], [1.1, 0, 1.2, 1]], np.float32)
    np.testing.assert_allclose(scale_boxes(boxes, 40, 20), [[-2, 10, 10, 60], [22, 0, 24, 40]], rtol=1e-6)
    clipped = clip_boxes(boxes)
    np.testing.assert_array_equal(clipped, np.array([[0, 0.25, 0.5, 1], [1, 0, 1, 1]], np.float32))
    assert has_area(clipped).tolist() == [True, False]
    np.testing.assert_array_equal(clip_boxes(np.array([[-1, 5, 30, 50.0]]), 40, 20), [[0, 5, 20, 40]])
