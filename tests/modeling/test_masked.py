"""Masks, targets and training of the masked autoencoders (their numbers: tests/checkpoint/test_video_vit_parity.py)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from modist_det.config import get_cfg
from modist_det.modeling import build_model
from modist_det.modeling.methods.base import Views
from modist_det.modeling.methods.masked import patches, random_mask, tube_mask
from modist_det.utils.errors import UserError

TINY = ["DIM", 24, "DEPTH", 1, "HEADS", 2, "NUM_FRAMES", 4, "IMAGE_SIZE", 64]


def method(name, *changes):
    cfg = get_cfg()
    words = ["MODEL.META_ARCHITECTURE", name, "MODEL.BACKBONE.NAME", "VideoViT"]
    for key, value in zip(TINY[::2], TINY[1::2], strict=True):
        words += [f"MODEL.VIDEO_VIT.{key}", value]
    section = "VIDEO_MAE" if name == "VideoMAE" else "MAE_ST"
    words += [f"MODEL.{section}.DECODER_DIM", 16, f"MODEL.{section}.DECODER_DEPTH", 1]
    words += ["INPUT.NUM_FRAMES", 4, "INPUT.CROP_SIZE", 64]
    cfg.merge_from_list([*words, *changes])
    torch.manual_seed(0)
    return cfg, build_model(cfg)


def test_patches_by_hand():
    clip = torch.arange(2 * 4 * 4 * 6).view(1, 2, 4, 4, 6)  # values: ((c * 4 + t) * 4 + y) * 6 + x
    values = patches(clip, tubelet=2, patch=2)
    assert values.shape == (1, 2 * 2 * 3, 8, 2)
    # Token of step 1, row 0, column 2; its pixels in the order frame, row, column.
    expected = [
        [((c * 4 + t) * 4 + y) * 6 + x for c in (0, 1)] for t in (2, 3) for y in (0, 1) for x in (4, 5)
    ]
    assert values[0, 6 + 2].tolist() == expected


def test_masks():
    tubes = tube_mask(3, steps=4, places=10, ratio=0.75).view(3, 4, 10)
    assert (tubes.sum(2) == 7).all() and (tubes == tubes[:, :1]).all()
    assert not torch.equal(tubes[0], tubes[1]) or not torch.equal(tubes[0], tubes[2])
    shares = random_mask(2000, 8, 2).float().mean(0)
    assert shares.tolist() == pytest.approx([0.25] * 8, abs=0.05)
    assert (random_mask(5, 8, 2).sum(1) == 2).all()


def test_masks_with_weights_are_drawn_one_after_the_other():
    """Against the sum over all orders of drawing two of three."""
    weights = [1.0, 2.0, 5.0]
    expected = [0.0] * 3
    for first, second in itertools.permutations(range(3), 2):
        chance = weights[first] / 8 * weights[second] / (8 - weights[first])
        expected[first] += chance
        expected[second] += chance
    masks = random_mask(20000, 3, 2, weights=torch.tensor([weights]).expand(20000, 3))
    assert (masks.sum(1) == 2).all()
    assert masks.float().mean(0).tolist() == pytest.approx(expected, abs=0.015)
    # Equal weights draw what no weights draw.
    torch.manual_seed(3)
    plain = random_mask(50, 9, 4)
    torch.manual_seed(3)
    assert torch.equal(plain, random_mask(50, 9, 4, weights=torch.full((50, 9), 2.0)))


MOTION = ["MOTION_WEIGHT", 2.0, "MOTION_CELLS", 2, "MOTION_FOCUS", 3.0]


def with_motion(name, *changes):
    section = "VIDEO_MAE" if name == "VideoMAE" else "MAE_ST"
    words = [word if i % 2 else f"MODEL.{section}.{word}" for i, word in enumerate([*MOTION, *changes])]
    return method(name, *words, "MODEL.VIDEO_VIT.CLASS_TOKEN", name == "MAEST", "MOTION.NUM_FRAMES", 8)


def by_hand(maps, still=0.0):
    """Square roots of the motion in 2 steps x 8 x 8 cells, as (B, 32 patches, 4 cells), by loops."""
    values = np.zeros((len(maps), 2, 4, 4, 2, 2))
    for place in np.ndindex(*values.shape):
        b, step, row, column, y, x = place
        top, left = 16 * row + 8 * y, 16 * column + 8 * x
        block = maps[b, 0, 4 * step : 4 * step + 4, top : top + 8, left : left + 8].double() / 255
        values[place] = (block - still).abs().mean() ** 0.5
    return values.reshape(len(maps), 32, 4)


@pytest.mark.parametrize("name", ["VideoMAE", "MAEST"])
def test_pixels_and_motion_of_hidden_patches_are_predicted(name):
    cfg, model = with_motion(name, "PIXEL_WEIGHT", 0.5)
    batch = type(model).random_batch(cfg, 3, 0)
    assert batch["motion"].shape == (3, 1, 1, 8, 64, 64)
    batch["motion"] //= torch.arange(1, 65)  # more on the left
    torch.manual_seed(5)
    numbers = model(batch)
    assert set(numbers) == {"loss_pixels", "loss_motion", "explained"}
    assert not numbers["explained"].requires_grad

    torch.manual_seed(5)
    clip, maps = model.normalizer(batch["video"][:, 0]), batch["motion"][:, 0]
    parts = model.draw(clip, maps)
    torch.testing.assert_close(numbers["loss_pixels"], 0.5 * model.loss(clip, parts))
    wanted = by_hand(maps)
    wanted = (wanted - wanted.mean()) / wanted.std()
    predicted = model.predict(clip, parts).detach()[..., -4:].double().numpy()
    errors = np.square(predicted.reshape(-1, 4) - wanted[parts.numpy()])
    assert numbers["loss_motion"].item() == pytest.approx(2 * errors.mean(), rel=1e-4)
    assert numbers["explained"].item() == pytest.approx(1 - errors.mean(), abs=1e-4)
    (numbers["loss_pixels"] + numbers["loss_motion"]).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_motion_alone_trains_no_head_of_pixels():
    cfg, model = with_motion("VideoMAE", "PIXEL_WEIGHT", 0.0)
    numbers = model(type(model).random_batch(cfg, 2, 0))
    assert set(numbers) == {"loss_motion", "explained"}
    numbers["loss_motion"].backward()
    untrained = [name for name, p in model.named_parameters() if p.grad is None]
    assert untrained == ["decoder.head.weight", "decoder.head.bias"]
    assert not any(dict(model.named_parameters())[name].requires_grad for name in untrained)
    with pytest.raises(UserError, match="PIXEL_WEIGHT and MOTION_WEIGHT are both 0"):
        method("VideoMAE", "MODEL.VIDEO_MAE.PIXEL_WEIGHT", 0.0)


@pytest.mark.parametrize("name", ["VideoMAE", "MAEST"])
def test_masks_follow_the_motion(name):
    """A quarter of the places moves, in the second step alone."""
    _, model = with_motion(name, "MASK_RATIO", 1 / 16)  # one place, or two patches
    maps = torch.zeros(4000, 1, 2, 64, 64, dtype=torch.uint8)
    maps[:2000, :, 1, :32, :32] = 255
    masks = model.draw(torch.zeros(4000, 3, 4, 64, 64), maps).view(4000, 2, 4, 4).float()
    moving, still = masks[:2000].mean(0), masks[2000:].mean(0)
    torch.testing.assert_close(still, torch.full((2, 4, 4), 1 / 16), atol=0.03, rtol=0)
    if name == "VideoMAE":  # weights 1 + 3 x 4 and 1
        expected = torch.full((2, 4, 4), 1 / (4 * 13 + 12))
        expected[:, :2, :2] = 13 / (4 * 13 + 12)
        torch.testing.assert_close(moving, expected, atol=0.03, rtol=0)
    else:  # weights 1 + 3 x 8 and 1; of the first of the two draws
        assert moving[1, :2, :2].mean() > 20 * moving[0].mean() > 0
        assert moving[0].mean().item() == pytest.approx(moving[1, 2:].mean().item(), abs=0.02)


def test_masks_follow_the_mean_motion_of_all_channels():
    """A quarter of the places moves, in the second channel alone; weights 1 + 3 x 4 and 1."""
    _, model = with_motion("VideoMAE", "MASK_RATIO", 1 / 16)
    model.still = torch.zeros(2)
    maps = torch.zeros(2000, 2, 2, 64, 64, dtype=torch.uint8)
    maps[:, 1, :, :32, :32] = 255
    masks = model.draw(torch.zeros(2000, 3, 4, 64, 64), maps).view(2000, 2, 4, 4).float()
    assert masks[:, :, :2, :2].mean().item() == pytest.approx(13 / (4 * 13 + 12), abs=0.03)


def test_motion_is_asked_for_only_where_it_is_used():
    for key, used in (("MOTION_WEIGHT", True), ("MOTION_FOCUS", True), ("NORMALIZE_TARGET", False)):
        cfg, model = method("VideoMAE", f"MODEL.VIDEO_MAE.{key}", 1.0 if used else True)
        assert type(model).views(cfg) == Views(clips=1, motion=used)
        cfg.MOTION.ENABLED = False
        if used:
            with pytest.raises(UserError, match="MOTION.ENABLED is False, but MODEL.VIDEO_MAE.MOTION_WEIGHT"):
                type(model).views(cfg)
    type(model).complete_config(cfg, [0.5, 0.5])
    assert cfg.MODEL.VIDEO_MAE.MOTION_MEAN == [0.5, 0.5]
    cfg.MODEL.VIDEO_MAE.MOTION_WEIGHT = 1.0
    model = build_model(cfg)
    assert model.still.tolist() == [0.5, 0.5] and model.decoder.motion_head.out_features == 2 * 2 * 2
    still = torch.full((2, 2, 4, 64, 64), 127, dtype=torch.uint8)
    still[0, 0, :, :8, :8] = 255  # one cell of one channel
    target = model.motion_target(torch.zeros(2, 3, 4, 64, 64), still)
    assert target.shape == (2, 32, 8) and (target > 1).nonzero().tolist() == [[0, 0, 0], [0, 16, 0]]
    assert len(target.round(decimals=3).unique()) == 2  # both channels have one mean and one deviation


@pytest.mark.parametrize("name", ["VideoMAE", "MAEST"])
def test_training_step_and_features(name):
    changes = ["MODEL.VIDEO_VIT.CLASS_TOKEN", True] if name == "MAEST" else []
    cfg, model = method(name, *changes)
    batch = type(model).random_batch(cfg, 3, 0)
    assert batch["video"].shape == (3, 1, 3, 4, 64, 64)
    losses = model(batch)
    assert list(losses) == ["loss_pixels"]
    # The target has variance 1 in each patch, and the untrained prediction is nearly 0.
    assert losses["loss_pixels"].item() == pytest.approx(1, abs=0.1)
    losses["loss_pixels"].backward()
    assert all(p.grad is not None for p in model.parameters())
    features = model.eval()({"video": batch["video"][:, 0]})
    assert [row["features"].shape for row in features] == [(24,)] * 3
    maps = model.backbone(model.normalizer(batch["video"][:1, 0]))[0]
    torch.testing.assert_close(features[0]["features"], maps.mean((2, 3, 4))[0])


def test_the_hidden_patches_do_not_change_the_prediction():
    _, model = method("VideoMAE")
    model.eval()
    clip, mask = torch.randn(1, 3, 4, 64, 64), tube_mask(1, 2, 16, 0.5)
    other = clip.clone()
    hidden = mask.view(2, 4, 4).repeat_interleave(2, 0).repeat_interleave(16, 1).repeat_interleave(16, 2)
    other[:, :, hidden] = 5.0
    with torch.no_grad():
        torch.testing.assert_close(model.predict(clip, mask), model.predict(other, mask))
        assert model.loss(clip, mask) != model.loss(other, mask)


def test_targets_of_nearly_flat_patches():
    """What keeps the division from 0: VideoMAE adds it to the deviation, MAE-ST to the variance."""
    clip = torch.zeros(1, 3, 4, 64, 64)
    clip[..., ::2] = 0.01  # half of the pixels, which deviate from the mean by 0.005 times the scale
    _, model = method("VideoMAE", "MODEL.PIXEL_STD", [0.1, 0.1, 0.1])
    count = 2 * 16 * 16
    deviation = 0.0005 * (count / (count - 1)) ** 0.5
    assert model.target(clip).max().item() == pytest.approx(0.0005 / (deviation + 1e-6), rel=1e-3)
    changes = ["MODEL.VIDEO_VIT.CLASS_TOKEN", True, "MODEL.PIXEL_STD", [0.1, 0.1, 0.1]]
    _, model = method("MAEST", *changes)
    count = 3 * 16 * 16
    expected = 0.0005 / (0.0005**2 * count / (count - 1) + 1e-6) ** 0.5
    assert model.target(clip).max().item() == pytest.approx(expected, rel=1e-3)


def test_raw_pixels_as_the_target():
    _, model = method("VideoMAE", "MODEL.VIDEO_MAE.NORMALIZE_TARGET", False)
    video = torch.randint(0, 256, (1, 3, 4, 64, 64), dtype=torch.uint8)
    target = model.target(model.normalizer(video))
    torch.testing.assert_close(target, patches(video / 255, 2, 16).flatten(2), rtol=0, atol=1e-5)


def test_backbones_that_do_not_suit():
    with pytest.raises(UserError, match="needs MODEL.BACKBONE.NAME VideoViT"):
        method("VideoMAE", "MODEL.BACKBONE.NAME", "ResNet3D")
    with pytest.raises(UserError, match="MAEST needs MODEL.VIDEO_VIT.CLASS_TOKEN True"):
        method("MAEST")
    with pytest.raises(UserError, match="VideoMAE needs MODEL.VIDEO_VIT.CLASS_TOKEN False"):
        method("VideoMAE", "MODEL.VIDEO_VIT.CLASS_TOKEN", True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["INPUT.CROP_SIZE", 60], "not of 4 x 60 x 60 .* INPUT.CROP_SIZE to one of 16"),
        (["INPUT.NUM_FRAMES", 1], "not of 1 x 64 x 64 .* INPUT.NUM_FRAMES to a multiple of 2"),
        (["MODEL.VIDEO_MAE.MASK_RATIO", 0.05], "VIDEO_MAE.MASK_RATIO 0.05 hides no patch"),
    ],
)
def test_clips_and_ratios_without_patches_to_predict(changes, message):
    cfg, model = method("VideoMAE", *changes)
    with pytest.raises(UserError, match=message):
        model(type(model).random_batch(cfg, 2, 0))


def test_a_decoder_with_positions_for_other_clips():
    cfg, model = method("MAEST", "MODEL.VIDEO_VIT.CLASS_TOKEN", True, "INPUT.CROP_SIZE", 80)
    with pytest.raises(UserError, match="positions for 32 patches, but a clip has 50"):
        model(type(model).random_batch(cfg, 2, 0))


def test_the_config_reaches_the_method():
    changes = {"MASK_RATIO": 0.5, "NORMALIZE_TARGET": False, "DECODER_HEADS": 4, "DECODER_EPS": 0.1}
    changes |= {"DECODER_DIM": 128}
    words = [word for key, value in changes.items() for word in (f"MODEL.VIDEO_MAE.{key}", value)]
    _, model = method("VideoMAE", *words, "TEST.CLIPS_PER_FORWARD", 3, "MODEL.CHANNELS_LAST", True)
    assert (model.mask_ratio, model.normalize_target, model.clips_per_forward) == (0.5, False, 3)
    assert (model.decoder.blocks[0].attn.heads, model.decoder.norm.eps) == (4, 0.1)
    _, other = method("VideoMAE", "MODEL.VIDEO_MAE.DECODER_DIM", 128, "MODEL.VIDEO_VIT.EPS", 0.01)
    assert (other.decoder.blocks[0].attn.heads, other.decoder.blocks[0].norm1.eps) == (2, 0.01)
    assert model.normalizer.memory_format is torch.channels_last_3d
    masks = model.draw(torch.zeros(2, 3, 4, 64, 64))
    assert masks.sum(1).tolist() == [16, 16]  # of 2 x 16 patches
    _, model = method("MAEST", "MODEL.VIDEO_VIT.CLASS_TOKEN", True)
    assert model.draw(torch.zeros(2, 3, 4, 64, 64)).sum(1).tolist() == [29, 29]  # of 32 int(3.2) are seen
