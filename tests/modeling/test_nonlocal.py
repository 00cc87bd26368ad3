"""Non-local blocks: values by hand, position in the network, settings, layouts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from modist_det.config import get_cfg
from modist_det.modeling import ActionDetector, ResNet3D, RoIActionHead, SlowFast, build_backbone
from modist_det.modeling.backbone.blocks import NONLOCAL_KINDS, NonLocalBlock
from modist_det.modeling.losses import bce_with_logits
from modist_det.utils.errors import UserError


def _shake(module: nn.Module) -> nn.Module:
    """Random values everywhere, in double precision, so that nothing cancels."""
    with torch.no_grad():
        for tensor in itertools.chain(module.parameters(), module.buffers()):
            if tensor.is_floating_point():
                tensor.normal_(0, 0.5)
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm3d):
                layer.running_var.uniform_(0.5, 1.5)
    return module.double().eval()


def _by_hand(block: NonLocalBlock, x: np.ndarray, pool: tuple[int, int, int]) -> np.ndarray:
    """The block for one map (C, T, H, W), position by position."""
    state = {name: tensor.numpy() for name, tensor in block.state_dict().items()}

    def linear(name: str, vector: np.ndarray) -> np.ndarray:
        return state[f"{name}.weight"][:, :, 0, 0, 0] @ vector + state[f"{name}.bias"]

    cells = list(itertools.product(*(range(size) for size in x.shape[1:])))
    corners = itertools.product(
        *(range(size // window) for size, window in zip(x.shape[1:], pool, strict=True))
    )
    pooled = []
    for corner in corners:
        window = [slice(c * p, (c + 1) * p) for c, p in zip(corner, pool, strict=True)]
        pooled.append(x[:, window[0], window[1], window[2]].max(axis=(1, 2, 3)))
    out = np.empty_like(x)
    for cell in cells:
        here = x[(slice(None), *cell)]
        query = linear("conv_theta", here)
        similarity = np.array([query @ linear("conv_phi", there) for there in pooled])
        if block.kind == "softmax":
            weights = np.exp(similarity / math.sqrt(len(query)))
            weights /= weights.sum()
        else:
            weights = similarity / len(pooled)
        mean = sum(w * linear("conv_g", there) for w, there in zip(weights, pooled, strict=True))
        y = (linear("conv_out", mean) - state["norm.running_mean"]) / np.sqrt(
            state["norm.running_var"] + 1e-5
        )
        out[(slice(None), *cell)] = here + y * state["norm.weight"] + state["norm.bias"]
    return out


@pytest.mark.parametrize("pool", [(1, 2, 2), (2, 2, 2), (1, 1, 1)])
@pytest.mark.parametrize("kind", NONLOCAL_KINDS)
def test_values_by_hand(kind, pool):
    torch.manual_seed(0)
    block = _shake(NonLocalBlock(6, kind, pool, "BN"))
    maps = torch.randn(2, 6, 3, 5, 4, dtype=torch.float64)  # odd: the last row and frame are in no window
    with torch.no_grad():
        out = block(maps)
    for one, result in zip(maps, out, strict=True):
        np.testing.assert_allclose(result.numpy(), _by_hand(block, one.numpy(), pool), atol=1e-10)
    assert (out - maps).abs().max() > 0.1


def test_it_follows_the_relu_of_its_block():
    torch.manual_seed(0)
    plain = _shake(ResNet3D(width=4)).res3
    backbone = _shake(ResNet3D(width=4, nonlocal_blocks=((), (1,), (), ())))
    missing = backbone.res3.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert {name.rsplit(".", 2)[0] for name in missing} == {"1.nonlocal_block"}
    x = torch.randn(1, 16, 2, 8, 6, dtype=torch.float64)
    with torch.no_grad():
        expected = plain[:2](x)
        expected = plain[2:](backbone.res3[1].nonlocal_block(expected))
        torch.testing.assert_close(backbone.res3(x), expected)


@pytest.mark.parametrize("preset", ["i3d_nonlocal", "c2d_nonlocal"])
def test_presets_have_the_published_places(preset):
    with torch.device("meta"):
        backbone = ResNet3D.preset(preset, depth=101)
    places = {
        (f"res{stage}", i)
        for stage in range(2, 6)
        for i, block in enumerate(getattr(backbone, f"res{stage}"))
        if isinstance(block.nonlocal_block, NonLocalBlock)
    }
    assert places == {("res3", 1), ("res3", 3), ("res4", 1), ("res4", 3), ("res4", 5)}
    assert {b.nonlocal_block.kind for b in backbone.res3[1:4:2]} == {"softmax"}
    # Three convolutions to half the channels and one back, with biases, and a norm.
    inner = (256, 512)
    added = sum(n * (4 * 2 * c * c + 3 * c + 2 * c + 4 * c) for n, c in zip((2, 3), inner, strict=True))
    with torch.device("meta"):
        without = ResNet3D.preset(preset.removesuffix("_nonlocal"), depth=101)
    assert (
        sum(p.numel() for p in backbone.parameters()) == sum(p.numel() for p in without.parameters()) + added
    )


@pytest.mark.parametrize("norm", ["BN", "GN", "none"])
def test_blocks_start_as_the_identity_and_learn(norm):
    torch.manual_seed(0)
    backbone = ResNet3D(width=8, norm=norm, nonlocal_blocks=((1,), (), (), ()))
    block = backbone.res2[1].nonlocal_block
    x = torch.rand(1, 32, 2, 4, 4)
    assert torch.equal(block(x), x)
    (x * block(x)).sum().backward()
    assert block.last_layer().weight.grad.abs().max() > 0
    kept = ResNet3D(width=8, zero_init_final_norm=False, nonlocal_blocks=((1,), (), (), ()))
    assert kept.res2[1].nonlocal_block.norm.weight.min() == 1


def test_config_reaches_the_blocks():
    cfg = get_cfg()
    pairs = {
        "NONLOCAL_BLOCKS": [[], [0], [1, 3], []],
        "NONLOCAL_KIND": "dot_product",
        "NONLOCAL_POOL": [2, 2, 2],
    }
    for section in ("RESNET3D", "SLOWFAST"):
        for key, value in {"WIDTH": 16, **pairs}.items():
            cfg.merge_from_list([f"MODEL.{section}.{key}", value])
    for name in ("ResNet3D", "SlowFast"):
        cfg.MODEL.BACKBONE.NAME = name
        backbone = build_backbone(cfg)
        blocks = {n: m for n, m in backbone.named_modules() if isinstance(m, NonLocalBlock)}
        pathway = "slow." if name == "SlowFast" else ""
        places = ("res3.0", "res4.1", "res4.3")
        assert list(blocks) == [f"{pathway}{place}.nonlocal_block" for place in places]
        assert {(block.kind, block.window) for block in blocks.values()} == {("dot_product", (2, 2, 2))}


def test_settings_and_clips_that_do_not_work_are_named():
    with pytest.raises(UserError, match="cannot follow block 6 of a stage with the blocks 0 to 5"):
        ResNet3D(width=4, nonlocal_blocks=((), (), (6,), ()))
    with pytest.raises(UserError, match="res2, res3, res4 and res5"):
        ResNet3D(width=4, nonlocal_blocks=((1,),))
    with pytest.raises(UserError, match="softmax or dot_product, not 'gaussian'"):
        ResNet3D(width=4, nonlocal_blocks=((), (1,), (), ()), nonlocal_kind="gaussian")
    small = ResNet3D(width=4, nonlocal_blocks=((), (), (1,), ()))
    with pytest.raises(UserError, match="pools its map by 1x2x2.*has only 2x1x1 cells"):
        small(torch.zeros(1, 3, 2, 16, 16))


@pytest.mark.parametrize("network", [ResNet3D, SlowFast])
def test_odd_clips_layouts_and_precisions(network):
    """One clip of an odd size, in the channels-last layout and under autocast, gives nearly the same map."""
    torch.manual_seed(0)
    backbone = network(width=16, nonlocal_blocks=((), (1,), (2,), ()), zero_init_final_norm=False).eval()
    clip = torch.randn(1, 3, 8, 75, 101)
    with torch.no_grad():
        expected = backbone(clip)
        assert expected[0].shape[-2:] == (3, 4)
        last = backbone.to(memory_format=torch.channels_last_3d)
        for maps, same in zip(
            last(clip.contiguous(memory_format=torch.channels_last_3d)), expected, strict=True
        ):
            torch.testing.assert_close(maps, same, rtol=1e-3, atol=1e-3)
        with torch.autocast("cpu", torch.bfloat16):
            half = backbone(clip)
    for maps, same in zip(half, expected, strict=True):
        assert (maps.float() - same).norm() < 0.05 * same.norm()


def test_detector_trains():
    torch.manual_seed(0)
    backbone = ResNet3D.preset("i3d_nonlocal", width=4, dilate_res5=True)
    head = RoIActionHead(backbone.out_channels, 3, backbone.spatial_stride)
    model = ActionDetector(backbone, head, bce_with_logits, [0.45] * 3, [0.225] * 3).train()
    batch = {
        "video": torch.randint(0, 256, (2, 3, 8, 64, 80), dtype=torch.uint8),
        "boxes": [torch.tensor([[5.0, 5, 60, 60]]), torch.zeros(0, 4)],
        "labels": [torch.tensor([[1.0, 0, 1]]), torch.zeros(0, 3)],
    }
    model(batch)["loss_action"].backward()
    # At first only the zero norm of the last step of a block has a gradient.
    assert backbone.res3[1].nonlocal_block.norm.weight.grad.abs().max() > 0
