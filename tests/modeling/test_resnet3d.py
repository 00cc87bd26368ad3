"""Shapes, parameter counts and values of ResNet3D; norms, initial weights, freezing."""

from __future__ import annotations

import re

import pytest
import torch
import torchvision
from torch import nn

from modist_det.config import get_cfg
from modist_det.modeling.backbone import ResNet3D, SlowFast, build_backbone
from modist_det.modeling.backbone.base import HasStages
from modist_det.modeling.backbone.blocks import make_norm
from modist_det.modeling.backbone.resnet3d import PRESETS
from modist_det.utils.errors import UserError


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _meta(**arguments) -> ResNet3D:
    with torch.device("meta"):
        return ResNet3D(**arguments)


@pytest.mark.parametrize(
    ("depth", "reference"),
    [(18, torchvision.models.resnet18), (50, torchvision.models.resnet50)],
)
def test_without_temporal_kernels_every_frame_is_a_2d_resnet(depth, reference):
    """torchvision's 2D networks, with random statistics, frame by frame."""
    torch.manual_seed(0)
    flat = reference().double().eval()
    for module in flat.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    ours = ResNet3D(depth=depth, temporal_kernels=(1, 1, 1, 1)).double().eval()
    state = {}
    for name, tensor in flat.state_dict().items():
        if name.startswith("fc."):
            continue
        name = re.sub(r"^conv1\.", "stem.conv.", name)
        name = re.sub(r"^bn1\.", "stem.norm.", name)
        name = re.sub(r"^layer(\d)", lambda m: f"res{int(m[1]) + 1}", name)
        name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut_norm")
        name = re.sub(
            r"\.(conv|bn)([123])\.", lambda m: f".{m[1].replace('bn', 'norm')}_{'abc'[int(m[2]) - 1]}.", name
        )
        state[name] = tensor.unsqueeze(2) if tensor.dim() == 4 else tensor
    ours.load_state_dict(state)

    clip = torch.randn(1, 3, 2, 64, 48, dtype=torch.float64)
    flat.fc, flat.avgpool = nn.Identity(), nn.Identity()
    with torch.no_grad():
        (features,) = ours(clip)
        for t in range(2):
            expected = flat(clip[:, :, t]).view(1, -1, 2, 2)
            torch.testing.assert_close(features[:, :, t], expected)


@pytest.mark.parametrize(
    ("preset", "millions"),
    # Published counts (PyTorchVideo's model zoo) of the networks with 400 classes.
    [("slow", 32.45), ("i3d", 28.04), ("c2d", 24.33)],
)
def test_published_parameter_counts(preset, millions):
    with torch.device("meta"):
        backbone = ResNet3D.preset(preset)
    assert (_count(backbone) + 400 * 2048 + 400) / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize(("depth", "dilate"), [(18, False), (18, True), (50, True), (101, False)])
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_map_has_the_size_that_the_attributes_say(depth, dilate, preset):
    if depth == 18 and preset.endswith("_nonlocal"):
        pytest.skip("stages of depth 18 lack the blocks that non-local blocks follow")
    with torch.device("meta"):
        backbone = ResNet3D.preset(preset, depth=depth, dilate_res5=dilate)
        maps = backbone(torch.empty(2, 3, 16, 224, 250))
    width = PRESETS[preset].get("width", 64)
    time = 16 if preset == "slow" else 8
    size = (14, 16) if dilate else (7, 8)
    channels = width * (8 if depth == 18 else 32)
    assert [tuple(m.shape) for m in maps] == [(2, channels, time, *size)]
    assert backbone.out_channels == (channels,)
    assert backbone.temporal_strides == (16 // time,)
    assert backbone.spatial_stride == (16 if dilate else 32)


def test_i3d_kernels_alternate_over_the_blocks():
    with torch.device("meta"):
        backbone = ResNet3D.preset("i3d")
    kernels = [
        [block.conv_a.weight.shape[2] for block in stage]
        for stage in (backbone.res2, backbone.res3, backbone.res4, backbone.res5)
    ]
    assert kernels == [[3, 3, 3], [3, 1, 3, 1], [3, 1, 3, 1, 3, 1], [1, 3, 1]]
    assert backbone.stem.conv.weight.shape[2:] == (5, 7, 7)


def test_basic_blocks_have_the_temporal_kernel_in_their_first_convolution():
    backbone = _meta(depth=18, width=8)
    for stage, size in ((backbone.res2, 1), (backbone.res4, 3)):
        for block in stage:
            assert block.conv_a.weight.shape[2:] == (size, 3, 3)
            assert block.conv_b.weight.shape[2:] == (1, 3, 3)


def test_dilated_res5_sees_the_neighbours_that_the_strided_one_sees():
    """All 3x3 convolutions of res5 have stride 1, dilation 2 and the same weights as before."""
    dilated = _meta(depth=50, width=8, dilate_res5=True)
    for block in dilated.res5:
        assert block.conv_b.stride == (1, 1, 1)
        assert block.conv_b.dilation == (1, 2, 2)
    strided = _meta(depth=50, width=8)
    assert {n: p.shape for n, p in dilated.named_parameters()} == {
        n: p.shape for n, p in strided.named_parameters()
    }


def test_initial_weights():
    torch.manual_seed(0)
    backbone = ResNet3D(depth=50, width=32)
    weight = backbone.res4[1].conv_a.weight  # 128 x 512 x 3 x 1 x 1: a fan out of 128 * 3
    assert weight.std().item() == pytest.approx((2 / (128 * 3)) ** 0.5, rel=0.02)
    for stage in (backbone.res2, backbone.res5):
        for block in stage:
            assert block.norm_c.weight.abs().max() == 0
            assert block.norm_b.weight.min() == 1
    kept = ResNet3D(depth=18, width=8, zero_init_final_norm=False)
    assert kept.res3[0].norm_b.weight.min() == 1


@pytest.mark.parametrize("norm", ["GN", "none"])
@pytest.mark.parametrize("depth", [18, 50])
def test_other_norms_do_not_mix_the_clips_of_a_batch(norm, depth):
    torch.manual_seed(0)
    backbone = ResNet3D(depth=depth, width=8, norm=norm, zero_init_final_norm=False).double().train()
    clips = torch.randn(2, 3, 4, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        together, alone = backbone(clips)[0], backbone(clips[:1])[0]
    torch.testing.assert_close(together[:1], alone)
    assert together.std() > 1e-3
    has_bias = [m.bias is not None for m in backbone.modules() if isinstance(m, nn.Conv3d)]
    assert set(has_bias) == {norm == "none"}
    assert not any(isinstance(m, nn.BatchNorm3d) for m in backbone.modules())


@pytest.mark.parametrize("channels", [2, 8, 24, 32, 64, 512])
def test_groups_of_group_norm_have_at_least_two_channels(channels):
    norm = make_norm("GN", channels)
    assert norm.num_groups <= 32
    assert channels // norm.num_groups >= 2


def test_without_norm_blocks_still_start_as_the_identity():
    backbone = ResNet3D(depth=18, width=8, norm="none")
    x = torch.rand(1, 8, 2, 8, 8)
    assert torch.equal(backbone.res2(x), x)
    assert backbone.res2[0].conv_a.weight.abs().max() > 0


def _config(**backbone):
    cfg = get_cfg()
    cfg.MODEL.RESNET3D.DEPTH = 18
    cfg.MODEL.RESNET3D.WIDTH = 8
    for key, value in backbone.items():
        cfg.MODEL.BACKBONE[key] = value
    return cfg


def test_frozen_statistics_stay_and_weights_learn():
    backbone = build_backbone(_config(FREEZE_BN=True)).train()
    before = {n: b.clone() for n, b in backbone.named_buffers()}
    backbone(torch.randn(2, 3, 4, 32, 32))[0].mean().backward()
    assert all(torch.equal(before[n], b) for n, b in backbone.named_buffers())
    assert backbone.stem.norm.weight.grad.abs().max() > 0
    assert backbone.training

    learning = build_backbone(_config()).train()
    learning(torch.randn(2, 3, 4, 32, 32))
    assert not torch.equal(before["stem.norm.running_mean"], learning.stem.norm.running_mean)


def test_frozen_backbone_has_neither_gradients_nor_moving_statistics():
    whole = nn.Sequential(build_backbone(_config(FREEZE=True))).train()
    before = {n: t.clone() for n, t in whole.state_dict().items()}
    assert not whole(torch.randn(2, 3, 4, 32, 32))[0].requires_grad
    assert not any(p.requires_grad for p in whole.parameters())
    assert all(torch.equal(before[n], t) for n, t in whole.state_dict().items())


def test_config_reaches_the_network():
    cfg = _config()
    node = cfg.MODEL.RESNET3D
    node.STEM_KERNEL, node.STEM_STRIDE, node.NORM = [5, 7, 7], [2, 2, 2], "GN"
    node.TEMPORAL_KERNELS, node.POOL_AFTER_RES2, node.DILATE_RES5 = [3, [3, 1], 1, 1], 2, True
    cfg.MODEL.PIXEL_MEAN = [0.5]
    backbone = build_backbone(cfg)
    assert backbone.stem.conv.weight.shape == (8, 1, 5, 7, 7)
    assert [block.conv_a.weight.shape[2] for block in backbone.res3] == [3, 1]
    assert backbone.temporal_strides == (4,)
    assert backbone.spatial_stride == 16
    assert isinstance(backbone.stem.norm, nn.GroupNorm)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 34}, "depth 34"),
        ({"temporal_kernels": (1, 3)}, "res2, res3, res4 and res5"),
        ({"temporal_kernels": (1, 1, 2, 3)}, "odd"),
        ({"stem_kernel": (2, 7, 7)}, "odd"),
        ({"norm": "LN"}, "'LN'"),
    ],
)
def test_settings_that_do_not_work_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        _meta(**arguments)


def test_unknown_names_lead_to_the_nearest_known_one():
    with pytest.raises(UserError, match="did you mean 'dense_slow'"):
        ResNet3D.preset("dense-slow")
    with pytest.raises(UserError, match="MODEL.BACKBONE.NAME.*did you mean 'ResNet3D'"):
        build_backbone(_config(NAME="Resnet3D"))


def test_compiles_without_a_graph_break():
    torch.manual_seed(0)
    backbone = ResNet3D(depth=18, width=8).eval()
    compiled = torch.compile(backbone, backend="eager", fullgraph=True)
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(compiled(clip)[0], backbone(clip)[0])


def test_stages_are_the_maps_that_the_last_one_is_made_of():
    torch.manual_seed(0)
    network = ResNet3D(depth=18, width=8, zero_init_final_norm=False, pool_after_res2=2).eval()
    assert isinstance(network, HasStages)
    clip = torch.randn(1, 3, 4, 64, 96)
    with torch.no_grad():
        maps = list(network.stages(clip))
        assert torch.equal(maps[0], network.res2(network.stem(clip)))
        assert torch.equal(maps[-1], network(clip)[0])
    strides, channels = network.stage_strides, network.stage_channels
    assert [tuple(m.shape[3:]) for m in maps] == [(64 // s, 96 // s) for s in strides]
    assert [m.shape[1] for m in maps] == list(channels) and [m.shape[2] for m in maps] == [4, 2, 2, 2]
    assert not isinstance(SlowFast(depth=18, width=8, alpha=2), HasStages)
