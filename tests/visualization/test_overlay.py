from __future__ import annotations

import cv2
import numpy as np
import pytest

from modist_det.visualization import labels, overlay
from modist_det.visualization.overlay import (
    PersonOverlay,
    draw_classes,
    draw_overlay,
    drawing_size,
    person_color,
)
from modist_det.visualization.placement import Place, Placer

GREY = np.full((480, 640, 3), 120, np.uint8)


def written(monkeypatch) -> list[str]:
    lines: list[str] = []
    for module in (labels, overlay):
        monkeypatch.setattr(module, "write", lambda canvas, text, *_: lines.append(text))
    return lines


def test_box_and_panel_are_where_they_belong():
    person = PersonOverlay(3, (0.25, 0.5, 0.5, 0.9), [("wave", 0.5)])
    canvas = draw_overlay(GREY, [person])
    assert canvas[300, 160].tolist() == list(person_color(3))  # left edge
    assert canvas[350, 250].tolist() == [120, 120, 120]  # inside it nothing is covered
    assert (canvas[225:240, 162:200] < 60).any()  # the panel is above the box
    assert (canvas == GREY).mean() > 0.9 and (GREY == 120).all()


def test_everything_stays_inside():
    edges = [(-0.1, -0.1, 0.1, 0.1), (0.9, 0.9, 1.2, 1.3), (0.0, 0.0, 1.0, 1.0), (0.5, 0.5, 0.5, 0.5)]
    people = [
        PersonOverlay(i, box, [("a very long name of an action " * 3, 1.0)]) for i, box in enumerate(edges)
    ]
    assert draw_overlay(GREY, people, "0:01.0").shape == GREY.shape
    assert draw_overlay(GREY[:20, :16], people).shape == (20, 16, 3)


def test_bars_are_as_long_as_scores():
    def bar(score: float) -> int:
        canvas = draw_overlay(GREY, [PersonOverlay(1, (0.3, 0.5, 0.6, 0.9), [("walk", score)])])
        return int((canvas[200:239] == person_color(1)).all(axis=2).sum(axis=1).max())

    assert abs(bar(1.0) - 2 * bar(0.5)) <= 3 and bar(1.0) > 40


def test_crowds_and_small_people_get_one_line():
    lines = [("a", 0.9), ("b", 0.8), ("c", 0.7)]

    def dark(people: int, height: float) -> int:
        found = [
            PersonOverlay(i, (0.05 * i, 0.5, 0.05 * i + 0.04, 0.5 + height), lines) for i in range(people)
        ]
        return int((draw_overlay(GREY, found) < 50).all(axis=2).sum()) / people

    assert dark(1, 0.4) > 2 * dark(1, 0.03)
    assert dark(1, 0.4) > 2 * dark(12, 0.4)


def test_labels_keep_off_the_note_and_their_positions():
    """The placer of the video is asked, and hears where the note is written."""
    placer, given = Placer(), []

    def spy(labels, height, width, reserved):
        given.append(reserved)
        return placer(labels, height, width, reserved)

    draw_overlay(GREY, [PersonOverlay(1, (0.3, 0.5, 0.6, 0.9))], "0:01.0", spy)
    (((x1, y1, x2, y2),),) = given
    written_on = (draw_overlay(GREY, [], "0:01.0") != GREY).any(axis=2)
    assert written_on[y1:y2, x1:x2].sum() == written_on.sum() > 50


def test_a_label_is_dark_and_its_line_has_its_color_and_a_dark_edge():
    canvas = GREY.copy()
    labels.draw_label(canvas, Place(0, (10, 10, 60, 26), ((60, 18), (200, 18))), ["a"], 0.4, (250, 0, 0))
    assert canvas[11, 50].tolist() == [30] * 3 and canvas[9, 50].tolist() == [120] * 3
    assert canvas[10:26, 10:60].min(axis=2).max() > 200  # white text
    assert canvas[18, 100, 0] > 200 and canvas[18, 100, 1:].max() < 10
    assert canvas[[17, 19], 100].max() < 60 and canvas[18, 210].tolist() == [120] * 3


@pytest.mark.parametrize("share", [7.0, -7.0])
def test_bars_end_with_their_label(share):
    canvas = GREY.copy()
    labels.draw_label(canvas, Place(0, (100, 10, 150, 26)), ["a"], 0.4, (250, 0, 0), [share])
    assert (canvas[:, :100] == 120).all() and (canvas[:, 150:] == 120).all()


def test_long_text_is_shortened_in_the_middle():
    text = labels.fit_text("the first of many words and the last", 0.4, 120)
    assert text.startswith("the f") and text.endswith("last") and ".." in text
    assert 100 < labels.label_size([text], 0.4)[0] <= 120
    assert labels.label_size(["a"], 0.4)[0] == cv2.getTextSize("a", labels.FONT, 0.4, 1)[0][0] + 8


def test_sizes():
    assert drawing_size(128, 192) == (480, 720)
    assert drawing_size(600, 800) == (600, 800)
    assert drawing_size(2160, 3840) == (720, 1280)
    assert drawing_size(1920, 1080) == (1280, 720)
    assert drawing_size(128, 192, 64) == (64, 96)
    height, width = drawing_size(4, 4000)
    assert height % 2 == width % 2 == 0 and width <= 4096


def test_neighbouring_numbers_differ_in_colour():
    colors = np.array([person_color(i) for i in range(1, 20)], int)
    assert np.abs(np.diff(colors, axis=0)).sum(axis=1).min() > 90


def test_the_first_line_begins_with_the_track(monkeypatch):
    lines = written(monkeypatch)
    box = (0.3, 0.2, 0.6, 0.9)
    draw_overlay(GREY, [PersonOverlay(7, box, [("walk", 0.9), ("wave", 0.5)]), PersonOverlay(8, box)], "note")
    assert lines == ["7: walk  0.90", "wave  0.50", "8", "note"]


def test_classes_of_a_frame(monkeypatch):
    canvas = draw_classes(GREY, [("fight", 0.9), ("other", 0.1)], 0.25)
    orange = (canvas == (255, 170, 40)).all(axis=2)
    assert orange[-2, :158].all() and not orange[-2, 163:].any()  # a quarter of the video is over
    bars = orange[:100].sum(axis=1)
    long, short = np.unique(bars[bars > 0])[[-1, 0]]
    assert long > 5 * short and (canvas[100:470] == 120).all()
    assert draw_classes(GREY, [], 7.0)[-2].tolist() == [[255, 170, 40]] * 640
    lines = written(monkeypatch)
    draw_classes(GREY, [("fight", 0.9), ("other", 0.1)], 0.5)
    assert lines == ["fight  0.90", "other  0.10"]
