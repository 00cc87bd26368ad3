"""MotionRegression: its targets, its loss and what it needs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modist_det.config import get_cfg
from modist_det.modeling import MotionRegression
from modist_det.modeling.methods.motion_regression import motion_pyramid
from tests.modeling.tiny_methods import tiny_batch, tiny_method


def blocks(maps, still, cells):
    """The target in numpy: maps (B, C, T, H, W) divided into equal blocks."""
    distance = np.abs(maps.numpy() / 255 - np.array(still)[:, None, None, None])
    b, c, *size = distance.shape
    (t, h, w), (nt, nh, nw) = size, cells
    split = distance.reshape(b, c, nt, t // nt, nh, h // nh, nw, w // nw)
    return np.sqrt(split.mean(axis=(3, 5, 7))).reshape(b, -1)


@pytest.mark.parametrize("still", [[0.0], [128 / 255, 0.25]])
def test_the_target_is_the_motion_of_each_cell(still):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randint(0, 256, (2, len(still), 4, 6, 8), generator=generator, dtype=torch.uint8)
    found = motion_pyramid(maps, (2, 3, 4), torch.tensor(still))
    np.testing.assert_allclose(found.numpy(), blocks(maps, still, (2, 3, 4)), rtol=1e-5, atol=1e-6)


def test_the_loss_is_the_unexplained_share_of_the_variance():
    model, batch = tiny_method("MotionRegression", GRID=[2, 4, 4]), tiny_batch(size=3)
    numbers = model(batch)
    wanted = blocks(batch["motion"].flatten(0, 1), [0.0], (2, 4, 4))
    clips = model.normalizer(batch["video"].flatten(0, 1))
    predicted = model.head(model.backbone(clips)).detach().numpy()
    deviation = np.sqrt(np.maximum(wanted.var(axis=0), 1e-5))
    expected = np.square(predicted - (wanted - wanted.mean(axis=0)) / deviation).mean()
    assert numbers["loss_motion"].item() == pytest.approx(expected, rel=1e-4)
    assert numbers["explained"].item() == pytest.approx(1 - expected, rel=1e-3)
    numbers["loss_motion"].backward()
    assert model.backbone.stem.conv.weight.grad.abs().sum() > 0


def test_predicting_the_mean_explains_nothing():
    model, batch = tiny_method("MotionRegression"), tiny_batch(size=4)
    last = model.head.layers[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
    assert model(batch)["explained"].item() == pytest.approx(0, abs=1e-4)


def test_without_motion_the_loss_is_finite():
    model, batch = tiny_method("MotionRegression"), tiny_batch()
    batch["motion"].zero_()
    assert model(batch)["loss_motion"].isfinite()


def test_features_are_the_pooled_maps_of_all_clips():
    model, video = tiny_method("MotionRegression").eval(), tiny_batch()["video"]
    model.clips_per_forward = 3
    found = torch.stack([p["features"] for p in model({"video": video})])
    maps = [model.backbone(model.normalizer(clips))[0].mean(dim=(2, 3, 4)) for clips in video.unbind(1)]
    torch.testing.assert_close(found, torch.stack(maps).mean(dim=0))


def test_the_config_decides_clips_grid_and_what_stands_still():
    cfg = get_cfg()
    cfg.MODEL.META_ARCHITECTURE = "MotionRegression"
    cfg.MODEL.MOTION_REGRESSION.CLIPS, cfg.MODEL.MOTION_REGRESSION.GRID = 3, [2, 3, 4]
    cfg.TEST.CLIPS_PER_FORWARD = 7
    MotionRegression.complete_config(cfg, [0.5, 0.5])
    views = MotionRegression.views(cfg)
    assert (views.clips, views.motion) == (3, True)
    cfg.merge_from_list(["MODEL.RESNET3D.DEPTH", 18, "MODEL.RESNET3D.WIDTH", 4])
    model = MotionRegression.from_config(cfg)
    assert model.grid == (2, 3, 4) and model.still.tolist() == [0.5, 0.5] and model.clips_per_forward == 7
    assert model.head.layers[-1].out_features == 2 * 24
