"""Person detector and flow estimator of docs/EXTENDING.md."""

from __future__ import annotations

import json

import numpy as np
import scipy.ndimage
import torch

from modist_det.formats.ava.files import read_person_boxes
from modist_det.motion.map_file import MapFile
from modist_det.structures.boxes import iou_matrix
from modist_det.video.reader import open_video


def bright_boxes(image):
    """Boxes in [0, 1] of regions of bright pixels, by scipy."""
    labelled, _ = scipy.ndimage.label(image.astype(int).sum(axis=2) > 360)
    height, width = labelled.shape
    return [
        (x.start / width, y.start / height, x.stop / width, y.stop / height)
        for number, (y, x) in enumerate(scipy.ndimage.find_objects(labelled), start=1)
        if (labelled == number).sum() >= 30
    ]


def test_person_detector(follow, folder, backbone_run, tiny_puppets):
    follow("A person detector")
    table = read_person_boxes(folder / "output" / "bright_people.csv")
    assert {name.split("_")[0] for name in table.videos} == {"train", "val"}
    with open_video(tiny_puppets / "videos" / "val_0001.mp4") as video:
        for second, image in zip((0, 1, 2), video.frames_at_times([0, 1, 2]), strict=True):
            rows = (table.video == table.videos.index("val_0001")) & (table.second == second)
            expected = bright_boxes(image)
            assert expected
            np.testing.assert_allclose(
                np.sort(table.boxes[rows], axis=0), np.sort(expected, axis=0), atol=1e-6
            )

    # The demo shows each keyframe's people where the detector finds them, or where they were a moment before.
    result = json.loads((folder / "output" / "demo" / "val_0000.json").read_text())
    assert result["person_detector"] == "BrightPeople"
    keyframes = [keyframe for keyframe in result["keyframes"] if keyframe["people"]]
    assert keyframes
    with open_video(tiny_puppets / "videos" / "val_0000.mp4") as video:
        for image, keyframe in zip(
            video.frames_at_times([keyframe["second"] for keyframe in keyframes]), keyframes, strict=True
        ):
            shown = np.array([person["box"] for person in keyframe["people"]])
            assert iou_matrix(shown, np.array(bright_boxes(image))).max() > 0.7


def test_flow_estimator(follow, folder, apart, tiny_puppets):
    apart(check_flow)
    follow("A flow estimator")
    (file,) = (folder / "output" / "motion").glob("*.motion")
    with MapFile(file) as maps:
        assert maps.info.estimator == "BlockMatching(block=8, radius=3)"
        found = maps.read([20])[0].numpy().astype(float)
    with open_video(tiny_puppets / "videos" / "val_0000.mp4") as video:
        frame, earlier = video.frames_at_times([2.0, 1.8]).astype(float)
    errors = []
    for y in range(8, 40, 8):
        for x in range(8, 56, 8):
            block = frame[y : y + 8, x : x + 8]
            costs = {
                (dx, dy): np.abs(block - earlier[y + dy : y + dy + 8, x + dx : x + dx + 8]).sum()
                for dx in range(-3, 4)
                for dy in range(-3, 4)
            }
            expected = 128 + 6.35 * np.array(min(costs, key=costs.get))
            errors.append(np.abs(found[:, y + 4, x + 4] - expected).max())
    assert np.median(errors) < 3 and np.mean(np.array(errors) < 8) > 0.9  # maps are kept as JPEG


def check_flow():
    from block_matching import BlockMatching

    rng = np.random.default_rng(0)
    others = rng.integers(0, 256, (2, 40, 56, 3), dtype=np.uint8)
    frames = np.stack([np.roll(others[0], (-2, 3), (0, 1)), np.roll(others[1], (1, 0), (0, 1))])
    flow = BlockMatching(radius=3)(frames, others)
    assert flow.shape == (2, 2, 40, 56) and flow.dtype == torch.float32
    inner = flow[:, :, 8:-8, 8:-8]
    assert (inner[0, 0] == -3).all() and (inner[0, 1] == 2).all()
    assert (inner[1, 0] == 0).all() and (inner[1, 1] == -1).all()
    assert (BlockMatching()(others, others) == 0).all()
