"""Masks, targets and training of the masked autoencoders (their numbers: tests/checkpoint/test_video_vit_parity.py)."""

from __future__ import annotations

import pytest
import torch

from modist_det.config import get_cfg
from modist_det.modeling import build_model
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
