"""The timeline: frames and classes are drawn where and when they belong."""

from __future__ import annotations

import cv2
import numpy as np

from modist_det.visualization.timeline import draw_timeline

RED, BLUE = (255, 0, 0), (0, 0, 255)
YELLOW, PURPLE = (253, 231, 36), (68, 1, 84)  # the ends of viridis


def places(image: np.ndarray, color: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels of one colour, without the colour bar at the right."""
    return np.nonzero((np.abs(image[:, : image.shape[1] * 8 // 10].astype(int) - color) < 3).all(axis=2))


def test_frames_and_classes_have_their_places(tmp_path):
    # Of three classes the second is never on; the first is on in the first window of three, the third after it.
    scores = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 1]], np.float32)
    frames = [np.full((40, 60, 3), color, np.uint8) for color in (RED, BLUE)]
    path = tmp_path / "a.png"
    draw_timeline(
        path, np.arange(3) * 2.0, np.arange(3) * 2.0 + 2, scores, ["a", "b", "c"], 6.0, frames, rows=2
    )
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    (red_rows, red), (blue_rows, blue) = places(image, RED), places(image, BLUE)
    (rows, yellow), (_, purple) = places(image, YELLOW), places(image, PURPLE)
    assert len(red) and red.max() < blue.min() and max(red_rows.max(), blue_rows.max()) < rows.min()
    middle = (rows.min() + rows.max()) // 2
    first, third = yellow[rows < middle], yellow[rows > middle]
    assert first.max() < third.min()
    # The second frame begins at 3 s of 6; the border of the first two windows is at 2 s.
    pixels = (blue.min() - red.min()) / 3
    assert abs(first.max() - red.min() - 2 * pixels) < 3 and abs(third.min() - first.max()) < 3
    assert purple.min() >= first.min() - 2 and len(purple) > 1000


def test_without_frames(tmp_path):
    path = tmp_path / "a.png"
    draw_timeline(path, np.zeros(1), np.ones(1), np.ones((1, 12), np.float32), list("abcdefghijkl"), 1.0)
    assert len(places(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), YELLOW)[0]) > 1000
