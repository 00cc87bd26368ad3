"""The chain of augmentations: boxes and motion maps go where the pixels go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from modist_det.config import get_cfg
from modist_det.data.augmentation import (
    Augmentation,
    Crop,
    ResizedCrop,
    Sometimes,
    View,
    blur,
    box_jitter,
    color_jitter,
    flip,
    grayscale,
    train_augmentation,
)
from modist_det.data.mappers import DetectionMapper
from modist_det.utils.errors import UserError

CROPS = [Crop(40, 60, 60), ResizedCrop(40, 60, (0.3, 0.9))]


def scene() -> View:
    """A bright rectangle and a box around it; the maps are the first channel."""
    clip = torch.zeros(3, 2, 60, 80, dtype=torch.uint8)
    clip[:, :, 12:48, 20:60] = 240
    boxes = np.array([[20, 12, 60, 48], [0, 0, 4, 4]], dtype=np.float32)
    return View(clip, boxes, maps=clip[:1].clone(), motion_kind="edges")


@pytest.mark.parametrize("crop", CROPS)
def test_boxes_and_maps_follow_the_pixels(crop):
    augment = Augmentation(crop, (Sometimes(0.5, flip),))
    left_out = 0
    for seed in range(20):
        view = augment(scene(), np.random.default_rng(seed))
        assert view.clip.shape == (3, 2, 40, 40)
        assert torch.equal(view.maps, view.clip[:1])
        if 0 not in view.kept:
            continue
        bright = view.clip[0, 0] > 120
        columns, rows = bright.any(0).nonzero().flatten(), bright.any(1).nonzero().flatten()
        drawn = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose(view.boxes[view.kept.tolist().index(0)], drawn, atol=1.0)
        left_out += 1 not in view.kept
    assert left_out > 5


@pytest.mark.parametrize("crop", CROPS)
def test_a_view_without_persons_is_cropped_anywhere(crop):
    nobody = View(scene().clip, np.zeros((0, 4), np.float32), np.arange(0))
    view = Augmentation(crop, (flip,))(nobody, np.random.default_rng(0))
    assert view.clip.shape == (3, 2, 40, 40)
    assert view.boxes.shape == (0, 4) and len(view.kept) == 0


def test_steps_come_after_the_crop_in_their_order():
    calls = []

    def note(view, rng, name):
        calls.append((name, view.clip.shape[-1], rng.integers(1000)))
        return view

    augment = Augmentation(CROPS[0], (lambda v, r: note(v, r, "a"), lambda v, r: note(v, r, "b")))
    augment(View(scene().clip), np.random.default_rng(0))
    rng = np.random.default_rng(0)
    rng.integers(0, 20, endpoint=True), rng.integers(0, 40, endpoint=True)  # the window of the crop
    assert calls == [("a", 40, rng.integers(1000)), ("b", 40, rng.integers(1000))]


def test_probabilities():
    colours = torch.randint(0, 256, (3, 1, 40, 40), dtype=torch.uint8)
    made = [
        not torch.equal(Sometimes(0.3, grayscale)(View(colours), np.random.default_rng(s)).clip, colours)
        for s in range(200)
    ]
    assert 0.2 < np.mean(made) < 0.4


def test_the_config_gives_the_crop_and_the_steps():
    cfg = get_cfg()
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.CROP_SIZE = [60, 70], 40
    cfg.INPUT.CROP_AREA, cfg.INPUT.CROP_ASPECT = [0.2, 0.9], [0.7, 1.5]
    cfg.INPUT.RANDOM_FLIP, cfg.INPUT.COLOR_JITTER.PROB, cfg.INPUT.GRAYSCALE_PROB = 0.1, 0.2, 0.3
    last = Sometimes(0.4, blur)
    square, resized = (train_augmentation(cfg, last, resized_crop=resized) for resized in (False, True))
    assert square.crop == Crop(40, 60, 70)
    assert resized.crop == ResizedCrop(40, 70, (0.2, 0.9), (0.7, 1.5))
    for augment in (square, resized):
        steps = [(step.prob, getattr(step.step, "func", step.step)) for step in augment.steps]
        assert steps == [(0.1, flip), (0.2, color_jitter), (0.3, grayscale), (0.4, blur)]


def test_the_size_at_which_clips_are_decoded():
    assert ResizedCrop(40, 70).short_side(np.random.default_rng(0)) == 70
    sides = {Crop(40, 60, 70).short_side(np.random.default_rng(seed)) for seed in range(100)}
    assert min(sides) < 62 and max(sides) > 68 and sides <= set(range(60, 71))


def test_a_crop_that_does_not_fit():
    with pytest.raises(UserError, match="INPUT.CROP_SIZE 64 does not fit into clips of short side 48"):
        Crop(64, 48, 60)


def test_boxes_jitter_within_their_limits():
    """A box of 40x36 pixels: edges move out by at most 20 % and 10 % of 41 and 37, in by 10 % and 5 %."""
    view = scene()
    view = replace(view, boxes=np.repeat(np.float32([[20, 12, 60, 48]]), 2000, axis=0))
    boxes = box_jitter(view, np.random.default_rng(0), [0.2, 0.1, 0.1, 0.05]).boxes
    low, high = [20 - 8.2, 12 - 3.7, 60 - 4.1, 48 - 1.85], [20 + 4.1, 12 + 1.85, 60 + 8.2, 48 + 3.7]
    np.testing.assert_allclose(boxes.min(0), low, atol=0.05)
    np.testing.assert_allclose(boxes.max(0), high, atol=0.05)
    assert abs(np.corrcoef(boxes.T) - np.eye(4)).max() < 0.1  # edges move independently
    # At the border, at least one pixel stays.
    tiny = replace(view, boxes=np.float32([[79, 59, 80, 60]] * 50))
    boxes = box_jitter(tiny, np.random.default_rng(0), [0.2, 0.1, 0.1, 0.05]).boxes
    assert (boxes[:, 2:] - boxes[:, :2] >= 1).all() and boxes[:, 2].max() <= 79 and boxes[:, 3].max() <= 59


def test_a_detector_jitters_boxes_only_in_training_and_if_it_is_asked_to():
    cfg = get_cfg()
    plain = len(DetectionMapper.from_config(cfg, is_train=True).augmentation.steps)
    cfg.INPUT.BOX_JITTER = [0.2, 0.1, 0.1, 0.05]
    assert len(DetectionMapper.from_config(cfg, is_train=True).augmentation.steps) == plain + 1
    assert DetectionMapper.from_config(cfg, is_train=False).augmentation is None
