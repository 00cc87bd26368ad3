"""Boxes land where they should, text stays inside, sheets hold every cell."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from modist_det.analysis import detection_sheets
from modist_det.analysis.detection_sheets import draw_detection_sheet
from modist_det.analysis.result_files import result_file
from modist_det.data.catalog import DatasetCatalog
from modist_det.formats.ava.files import read_ava_boxes, write_detections
from modist_det.utils.errors import UserError
from modist_det.visualization import BoxLabels, contact_sheet, draw_people
from tests.warm import run_program

GRAY = np.full((100, 200, 3), 128, np.uint8)


@pytest.mark.parametrize("truth", [False, True])
def test_a_box_is_drawn_on_its_edges_and_the_image_is_kept(truth):
    drawn = draw_people(GRAY, [BoxLabels((0.25, 0.2, 0.75, 0.8), (), truth)])
    assert (GRAY == 128).all()
    changed = (drawn != GRAY).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    # 50..149 and 20..79, give or take half a line
    assert abs(rows[0] - 20) <= 1 and abs(rows[-1] - 79) <= 1
    assert abs(columns[0] - 50) <= 1 and abs(columns[-1] - 149) <= 1
    assert not changed[40:60, 80:120].any()
    assert drawn[20, 100].argmax() == (1 if truth else 0)  # green, orange


@pytest.mark.parametrize("truth", [False, True])
def test_text_has_the_color_of_the_box_and_is_above_detections_and_below_truth(truth):
    box, image = (0.25, 0.4, 0.75, 0.6), np.full((300, 400, 3), 128, np.uint8)
    drawn = draw_people(image, [BoxLabels(box, ("walk",), truth)])
    changed = (drawn != draw_people(image, [BoxLabels(box, (), truth)])).any(axis=2)
    rows = np.flatnonzero(changed.any(axis=1))
    assert rows.min() >= 179 if truth else rows.max() <= 121
    red, green, blue = drawn[changed].max(axis=0).astype(int)
    assert green > red + 50 if truth else red > blue + 50


def test_text_at_any_edge_stays_on_the_image():
    for box in ((0.0, 0.0, 0.1, 0.1), (0.95, 0.9, 1.0, 1.0), (0.9, 0.0, 1.0, 0.05)):
        for truth in (False, True):
            without = draw_people(GRAY, [BoxLabels(box, (), truth)])
            drawn = draw_people(GRAY, [BoxLabels(box, ("walk", "a very long name"), truth)])
            assert drawn.shape == GRAY.shape and (drawn != without).sum() > 300


def test_text_wider_than_the_image_is_shortened():
    box = (0.25, 0.5, 0.75, 0.9)
    drawn = draw_people(GRAY, [BoxLabels(box, ("a very long name of an action " * 3,))])
    assert (drawn != draw_people(GRAY, [BoxLabels(box, ())])).sum() > 300


def test_a_sheet_has_rows_and_columns_of_equal_cells():
    sheet = contact_sheet([GRAY] * 5, [str(n) for n in range(5)], columns=2, cell_width=100)
    # cells of 100x50 under a bar of 22, three rows
    assert sheet.shape == (3 * (50 + 22), 200, 3)
    assert (sheet[-50:, :100] == 128).all() and (sheet[-50:, 100:] == 0).all()
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([], [], columns=2)


def test_detections_of_a_data_set_on_a_sheet(tiny_puppets, tmp_path, root):
    csv, out = tmp_path / "detections.csv", tmp_path / "sheet.png"
    write_detections(csv, read_ava_boxes(tiny_puppets / "val.csv"))
    command = [root / "tools/draw_detections.py", "--data", tiny_puppets / "val.yaml"]
    done = run_program([*command, "--detections", csv, "--out", out, "--keyframes", "5"])
    assert done.returncode == 0, done.stderr
    detected = cv2.imread(str(out))
    # 5 cells in two rows of four
    assert detected.shape[1] == 4 * 480
    # Orange boxes cover the green ones; without detections there are green ones alone.
    csv.write_text("elsewhere,1,0.1,0.1,0.2,0.2,1,0.9\n")
    draw_detection_sheet(str(tiny_puppets / "val.yaml"), csv, out, keyframes=5)
    assert orange(detected) > 1000 and orange(cv2.imread(str(out))) == 0


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        (
            "elsewhere,1,0.1,0.1,0.2,0.2,1,0.9\n",
            "1 of 1 detections are in none of its keyframes, as in elsewhere,1",
        ),
        ("val_0000,900,0.1,0.1,0.2,0.2,1,0.9\n", "keyframes, as in val_0000,900"),
        ("val_0000,1,0.1,0.1,0.2,0.2,99,0.9\n", "it has no class with the id 99"),
        ("val_0000,1,0.1,0.1,0.2,0.2,1,0.9\nelsewhere,1,0.1,0.1,0.2,0.2,1,0.9\n", ""),  # some of more data
    ],
)
def test_detections_of_other_data_are_doubted(tiny_puppets, tmp_path, caplog, text, doubt):
    (tmp_path / "d.csv").write_text(text)
    draw_detection_sheet(
        str(tiny_puppets / "val.yaml"), tmp_path / "d.csv", tmp_path / "sheet.png", keyframes=1
    )
    assert (
        (doubt in caplog.text and "d.csv may be of other data than" in caplog.text)
        if doubt
        else not caplog.text
    )


def test_the_results_in_a_run_folder(tiny_puppets, tmp_path):
    data = str(tiny_puppets / "val.yaml")
    with pytest.raises(
        UserError, match=r"no results on puppets_val \(inference/puppets_val_d.*evaluate .* --data"
    ):
        result_file(tmp_path, data)
    for folder in ("on_val/inference", "inference"):  # of a later evaluation, and of the run's own
        file = tmp_path / folder / "puppets_val_detections.csv"
        file.parent.mkdir(parents=True)
        file.touch()
        assert result_file(tmp_path, data) == file
    assert result_file(file, data) == file


def test_persons_are_labelled_with_their_classes(tiny_puppets, tmp_path, monkeypatch):
    """Detections are the ground truth, so each person's detection has the names of their labels."""
    drawn: list[list[BoxLabels]] = []
    monkeypatch.setattr(detection_sheets, "draw_people", lambda image, people: drawn.append(people) or image)
    write_detections(tmp_path / "d.csv", read_ava_boxes(tiny_puppets / "val.csv"))
    data = str(tiny_puppets / "val.yaml")
    draw_detection_sheet(data, tmp_path / "d.csv", tmp_path / "sheet.png", keyframes=5, top=99)
    assert len(drawn) == 5
    for people in drawn:
        labels = {p.box: sorted(p.lines) for p in people if p.truth}
        assert labels and all(labels.values())
        found = {p.box: sorted(line.removesuffix(" 1.00") for line in p.lines) for p in people if not p.truth}
        assert sorted(found.values()) == sorted(labels.values())


def orange(image) -> int:
    blue, green, red = (image[..., channel].astype(int) for channel in range(3))
    return int(((red > 200) & (green - blue > 60) & (red - green > 60)).sum())


def test_a_data_set_without_annotations_cannot_be_drawn(tiny_puppets, tmp_path):
    description = tmp_path / "boxes.yaml"
    description.write_text(
        f"format: ava\nvideos: {tiny_puppets}/videos\nlabel_map: {tiny_puppets}/label_map.pbtxt\n"
        f"person_boxes: {tiny_puppets}/person_boxes_val.csv\n"
    )
    assert len(DatasetCatalog.get(description).records("detected", 0.0))
    with pytest.raises(UserError, match="no 'annotations'"):
        draw_detection_sheet(str(description), tmp_path / "none.csv", tmp_path / "sheet.png")
