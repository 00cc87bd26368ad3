"""Plots of metrics: written, of the size that their classes need, and drawn where the numbers say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from modist_det.analysis.neighbours import _middle_frame, draw_neighbours
from modist_det.analysis.plots import draw_class_ap, draw_precision_recall, draw_score_histograms, write_plots
from modist_det.data.datasets.records import VideoRecord
from modist_det.evaluation.ava import match_ava
from modist_det.formats.ava.files import LabelEntry
from modist_det.utils.errors import UserError
from modist_det.video.reader import open_video
from modist_det.visualization.confusion import draw_confusion_matrix
from modist_det.visualization.names import shown_name

LABELS = {1: LabelEntry("walk"), 2: LabelEntry("run"), 7: LabelEntry("fly")}
BOX = "0.1,0.1,0.5,0.9"


@pytest.fixture
def matched(tmp_path):
    """Of "walk" one of two boxes is found after a false positive; "run" is found at once; "fly" has no ground truth."""

    def make(truth=f"a,1,{BOX},1\na,2,{BOX},1\na,1,{BOX},2\n"):
        (tmp_path / "g.csv").write_text(truth)
        (tmp_path / "d.csv").write_text(
            f"a,1,0.6,0.1,0.9,0.9,1,0.9\na,1,{BOX},1,0.8\na,1,{BOX},2,0.7\na,1,{BOX},7,0.6\n"
        )
        return match_ava(tmp_path / "g.csv", tmp_path / "d.csv", LABELS)

    return make


def colored(image, blue, green, red, tolerance=40) -> np.ndarray:
    return (np.abs(image.astype(int) - (blue, green, red)) < tolerance).all(axis=2)


def test_all_plots_are_written(matched, tmp_path):
    paths = write_plots(matched(), tmp_path / "plots")
    assert [cv2.imread(path).shape[2] for path in paths] == [3, 3, 3]
    assert len(list((tmp_path / "plots").iterdir())) == 3


def test_curve_of_the_better_class_comes_first_and_fills_its_panel(matched, tmp_path):
    draw_precision_recall(matched(), tmp_path / "pr.png")
    image = cv2.imread(str(tmp_path / "pr.png"))
    lines = colored(image, 0xB0, 0x6C, 0x2B)
    rows = np.flatnonzero(lines.sum(axis=1) > 30)
    top, low = rows[0], rows[rows > rows[0] + 30][0]
    ends = [np.flatnonzero(lines[row])[[0, -1]] for row in (top, low)]
    # run: precision 1 up to recall 1; to its right walk: precision 1/2 up to recall 1/2.
    assert ends[0][1] < ends[1][0]
    assert np.ptp(ends[1]) == pytest.approx(np.ptp(ends[0]) / 2, rel=0.1)


def test_bars_are_as_long_as_the_ap(matched, tmp_path):
    draw_class_ap(matched(), tmp_path / "ap.png")
    image = cv2.imread(str(tmp_path / "ap.png"))
    widths = np.unique(colored(image, 0xB0, 0x6C, 0x2B, 10).sum(axis=1))
    # AP 1 and 1/4; the red line of the mean and the antialiased ends take a few pixels.
    longest, shortest = widths[-1], min(width for width in widths if width > 20)
    assert shortest == pytest.approx(longest / 4, abs=6)


def test_histograms_show_hits_and_false_positives(matched, tmp_path):
    draw_score_histograms(matched(), tmp_path / "h.png")
    image = cv2.imread(str(tmp_path / "h.png"))
    hits, false = colored(image, 0x5A, 0x85, 0x2F, 15), colored(image, 0x96, 0x80, 0x71, 15)
    middle = image.shape[1] // 2
    assert hits[:, :middle].sum() > 200 and hits[:, middle:].sum() > 200
    assert false[:, middle:].sum() > 200 and false[:, :middle].sum() < 50


@pytest.mark.parametrize("draw", [draw_precision_recall, draw_class_ap, draw_score_histograms])
def test_nothing_to_draw_is_a_user_error(matched, draw, tmp_path):
    with pytest.raises(UserError, match="no class of the label map has ground truth"):
        draw(matched(truth="a,1\n"), tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_neighbours_are_in_order_with_borders_that_tell_right_from_wrong():
    gallery = np.array([[0.0, 1.0], [1.0, 0.1], [1.0, 0.0]])
    shades = [50, 100, 150]
    picture = draw_neighbours(
        gallery,
        np.array([[3.0, 0.0]]),
        lambda item: np.full((40, 80, 3), shades[item], np.uint8),
        lambda query: np.full((40, 80, 3), 250, np.uint8),
        ["jump", "jump", "walk"],
        ["walk"],
        count=2,
        cell_width=80,
    )
    assert picture.shape == (22 + 40, 3 * 80, 3)
    centres = picture[22 + 20, 40::80, 0].tolist()
    assert centres == [250, 150, 100]
    edge = picture[22 + 20, [80, 160]].astype(int)
    assert edge[0].argmax() == 1 and edge[1].argmax() == 0  # green, red
    with pytest.raises(ValueError, match="both"):
        draw_neighbours(gallery, gallery, lambda i: picture, lambda i: picture, ["a", "b", "c"])


@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_class_name_can_be_drawn(tmp_path):
    r"""``$\frac$`` is a formula that matplotlib cannot read; the others have no glyph, no end or no letter."""
    names = [r"$\frac$", r"a\$\frac{$", "line\nbreak\x00", "\N{GRINNING FACE}", "x" * 3000, "", "US$ 5"]
    (tmp_path / "g.csv").write_text("".join(f"a,1,{BOX},{c}\n" for c in range(1, len(names) + 1)))
    (tmp_path / "d.csv").write_text("".join(f"a,1,{BOX},{c},0.8\n" for c in range(1, len(names) + 1)))
    labels = {number: LabelEntry(name) for number, name in enumerate(names, 1)}
    paths = write_plots(match_ava(tmp_path / "g.csv", tmp_path / "d.csv", labels), tmp_path / "plots")
    draw_confusion_matrix(np.eye(len(names), dtype=int), names, tmp_path / "c.png", title=names[0])
    for path in (*paths, tmp_path / "c.png"):
        assert max(cv2.imread(str(path)).shape) < 2000
    shown = [shown_name(name) for name in names]
    assert shown[0] == r"\$\frac\$" and shown[2] == "line break\N{REPLACEMENT CHARACTER}"
    assert len(shown[4]) == 40 and shown[5] and shown[6] == r"US\$ 5"


def test_neighbours_are_shown_by_the_middle_of_their_part(tiny_puppets):
    path = str(tiny_puppets / "videos" / "val_0000.mp4")  # of 3 seconds
    with open_video(path) as video:
        whole, part = video.frames_at_times([1.5, 0.75], short_side=128)
    assert not np.array_equal(whole, part)
    assert np.array_equal(_middle_frame(VideoRecord(0, "a", path)), whole)
    assert np.array_equal(_middle_frame(VideoRecord(0, "a", path, start=0.5, end=1.0)), part)
