"""SlowFast: which frames the slow pathway sees, fusion, shapes, parameter counts."""

from __future__ import annotations

import pytest
import torch

from modist_det.config import get_cfg
from modist_det.modeling.backbone import SlowFast, build_backbone
from modist_det.modeling.backbone.slowfast import FuseFastToSlow, slow_frame_indices
from modist_det.utils.errors import UserError


@pytest.mark.parametrize(
    ("frames", "alpha", "expected"),
    [
        # 31 / 7 = 4.43, 8.86, 13.29, 17.71, 22.14, 26.57, 31
        (32, 4, [0, 4, 8, 13, 17, 22, 26, 31]),
        # 31 / 3 = 10.33, 20.67, 31
        (32, 8, [0, 10, 20, 31]),
        # 7 / 1
        (8, 4, [0, 7]),
        (4, 4, [0]),
    ],
)
def test_slow_frames_by_hand(frames, alpha, expected):
    assert slow_frame_indices(frames, alpha) == expected


def test_slow_frames_are_those_of_pyslowfast():
    for alpha in range(1, 17):
        for count in range(1, 159 // alpha + 1):
            frames = alpha * count
            assert slow_frame_indices(frames, alpha) == torch.linspace(0, frames - 1, count).long().tolist()


def test_slow_pathway_gets_these_frames():
    backbone = SlowFast(depth=18, width=8, alpha=4).eval()
    seen = []
    backbone.slow.stem.conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    backbone.fast.stem.conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    clip = torch.arange(32.0).view(1, 1, 32, 1, 1).expand(1, 3, 32, 32, 32)
    with torch.no_grad():
        backbone(clip)
    assert seen[0][0, 0, :, 0, 0].tolist() == [0, 4, 8, 13, 17, 22, 26, 31]
    assert torch.equal(seen[1], clip)


@pytest.mark.parametrize("frames", [3, 30])
def test_frames_must_be_a_multiple_of_alpha(frames):
    with pytest.raises(UserError, match=f"multiple of 4 frames, not {frames}"):
        SlowFast(depth=18, width=8)(torch.zeros(1, 3, frames, 32, 32))


def test_fusion_appends_strided_fast_features():
    """One fast channel that holds the time, and a kernel that takes the middle frame."""
    fuse = FuseFastToSlow(channels=1, ratio=2, kernel=5, alpha=4, norm="none")
    with torch.no_grad():
        fuse.conv.weight.zero_()
        fuse.conv.weight[0, 0, 2] = 1
        fuse.conv.weight[1, 0, 2] = -1
    fast = torch.arange(1.0, 9.0).view(1, 1, 8, 1, 1)
    slow = torch.full((1, 3, 2, 1, 1), 7.0)
    out = fuse(slow, fast)[0, :, :, 0, 0]
    assert out[:3].tolist() == [[7, 7]] * 3
    assert out[3].tolist() == [1, 5]  # frames 0 and 4
    assert out[4].tolist() == [0, 0]  # ReLU


def test_each_stage_fuses_its_own_fast_features():
    """Fused features are those of the same stage, and they reach the slow map."""
    torch.manual_seed(0)
    backbone = SlowFast(depth=18, width=8, zero_init_final_norm=False).eval()
    made, fused = {}, {}
    for name in ("stem", "res2", "res3", "res4"):
        fast, fuse = getattr(backbone.fast, name), getattr(backbone, f"fuse_{name}")
        fast.register_forward_hook(lambda _, inputs, out, name=name: made.update({name: out}))
        fuse.register_forward_pre_hook(lambda _, inputs, name=name: fused.update({name: inputs[1]}))
    clip = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        slow = backbone(clip)[0]
        for name in made:
            assert torch.equal(made[name], fused[name])
        for name in list(made):
            getattr(backbone, f"fuse_{name}").conv.weight.zero_()
            without = backbone(clip)[0]
            assert (slow - without).abs().max() > 1e-4
            slow = without


@pytest.mark.parametrize(
    ("arguments", "millions"),
    # Published counts (PyTorchVideo's model zoo) with 400 classes; its R101 has fusion kernels of 5.
    [({"depth": 50}, 34.57), ({"depth": 101, "fusion_kernel": 5}, 62.83)],
)
def test_published_parameter_counts(arguments, millions):
    with torch.device("meta"):
        backbone = SlowFast(**arguments)
    count = sum(p.numel() for p in backbone.parameters()) + 400 * (2048 + 256) + 400
    assert count / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize(
    ("depth", "factor", "alpha", "kernel", "dilate"),
    [(18, 8, 4, 7, False), (18, 8, 8, 5, True), (50, 32, 4, 7, True), (101, 32, 8, 5, False)],
)
def test_maps_have_the_sizes_that_the_attributes_say(depth, factor, alpha, kernel, dilate):
    with torch.device("meta"):
        backbone = SlowFast(depth=depth, alpha=alpha, fusion_kernel=kernel, dilate_res5=dilate)
        slow, fast = backbone(torch.empty(2, 3, 32, 224, 256))
    size = (14, 16) if dilate else (7, 8)
    assert tuple(slow.shape) == (2, 64 * factor, 32 // alpha, *size)
    assert tuple(fast.shape) == (2, 8 * factor, 32, *size)
    assert backbone.out_channels == (64 * factor, 8 * factor)
    assert backbone.temporal_strides == (alpha, 1)
    assert backbone.spatial_stride == (16 if dilate else 32)


def test_config_reaches_the_network():
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.NAME = "SlowFast"
    node = cfg.MODEL.SLOWFAST
    node.DEPTH, node.WIDTH, node.ALPHA, node.BETA_INV = 101, 16, 8, 4
    node.FUSION_KERNEL, node.FUSION_RATIO, node.NORM, node.ZERO_INIT_FINAL_NORM = 5, 3, "BN", False
    node.SLOW_TEMPORAL_KERNELS = [1, 1, [3] * 6 + [1] * 17, 3]
    with torch.device("meta"):
        backbone = build_backbone(cfg)
    assert backbone.alpha == 8
    assert backbone.fuse_stem.conv.weight.shape == (12, 4, 5, 1, 1)
    assert [block.conv_a.weight.shape[2] for block in backbone.slow.res4] == [3] * 6 + [1] * 17
    assert [block.conv_a.weight.shape[2] for block in backbone.fast.res4] == [3] * 23


def test_final_norms_of_both_pathways_start_at_zero_when_asked():
    for zero in (True, False):
        backbone = SlowFast(depth=18, width=8, beta_inv=2, zero_init_final_norm=zero)
        for pathway in (backbone.slow, backbone.fast):
            assert pathway.res5[1].norm_b.weight.max() == (0 if zero else 1)


def test_width_must_divide():
    with pytest.raises(UserError, match="width 12 is not a multiple of beta_inv 8"):
        SlowFast(width=12)


def test_compiles_without_a_graph_break():
    torch.manual_seed(0)
    backbone = SlowFast(depth=18, width=8).eval()
    compiled = torch.compile(backbone, backend="eager", fullgraph=True)
    clip = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        for got, expected in zip(compiled(clip), backbone(clip), strict=True):
            torch.testing.assert_close(got, expected)
