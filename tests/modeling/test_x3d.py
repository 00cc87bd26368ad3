"""X3D and its head: published sizes, values by hand, settings, layouts, detection."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from modist_det.config import get_cfg
from modist_det.modeling import (
    X3D,
    ActionDetector,
    ClassificationHead,
    ResNet3D,
    RoIActionHead,
    X3DHead,
    build_backbone,
    build_head,
    build_model,
)
from modist_det.modeling.backbone.x3d import SqueezeExcite, X3DBlock
from modist_det.modeling.losses import bce_with_logits
from modist_det.utils.errors import UserError


def _meta(**arguments) -> X3D:
    with torch.device("meta"):
        return X3D(**arguments)


def _small(**arguments) -> X3D:
    return X3D(**{"width_factor": 1.0, "depth_factor": 1.0, "stem_channels": 8, **arguments})


def _shake(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for tensor in itertools.chain(module.parameters(), module.buffers()):
            if tensor.is_floating_point():
                tensor.normal_(0, 0.5)
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm3d):
                layer.running_var.uniform_(0.5, 1.5)
    return module.double().eval()


@pytest.mark.parametrize(
    ("depth_factor", "blocks", "millions"),
    # PySlowFast's models counted; its model zoo says 3.8 for XS, S and M and 6.2 for L.
    [(2.2, [3, 5, 11, 7], 3.794), (5.0, [5, 10, 25, 15], 6.153)],
)
def test_published_sizes(depth_factor, blocks, millions):
    backbone = _meta(depth_factor=depth_factor)
    with torch.device("meta"):
        head = X3DHead(backbone.out_channels, backbone.inner_channels, 2048, 400)
    stages = [backbone.res2, backbone.res3, backbone.res4, backbone.res5]
    assert [len(stage) for stage in stages] == blocks
    assert [stage[0].conv_c.out_channels for stage in stages] == [24, 48, 96, 192]
    assert [stage[0].conv_b.groups for stage in stages] == [54, 108, 216, 432]
    count = sum(p.numel() for p in itertools.chain(backbone.parameters(), head.parameters()))
    assert count / 1e6 == pytest.approx(millions, abs=0.0005)


def test_squeeze_and_excitation_is_in_every_other_block():
    backbone = _meta()
    for stage in (backbone.res2, backbone.res4):
        has = [isinstance(block.se, SqueezeExcite) for block in stage]
        assert has == [i % 2 == 0 for i in range(len(stage))]
    # 1/16 of 54, 108, 216 and 432 channels, in multiples of 8 that are not below 90 % of that.
    widths = [getattr(backbone, f"res{i}")[0].se.fc1.out_channels for i in range(2, 6)]
    assert widths == [8, 8, 16, 32]


@pytest.mark.parametrize("dilate", [False, True])
def test_map_has_the_size_that_the_attributes_say(dilate):
    backbone = _meta(dilate_res5=dilate)
    maps = backbone(torch.empty(1, 3, 5, 161, 250, device="meta"))
    assert [tuple(m.shape) for m in maps] == [(1, 192, 5, *((11, 16) if dilate else (6, 8)))]
    assert (backbone.out_channels, backbone.temporal_strides) == ((192,), (1,))
    assert backbone.spatial_stride == (16 if dilate else 32)
    for block in backbone.res5:
        assert block.conv_b.dilation == ((1, 2, 2) if dilate else (1, 1, 1))


def _norm(state: dict, name: str, x: np.ndarray) -> np.ndarray:
    shape = (-1, *(1,) * (x.ndim - 1))
    mean, var, scale, shift = (
        state[f"{name}.{part}"].numpy().reshape(shape)
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * scale + shift


def _pointwise(weight: torch.Tensor, x: np.ndarray) -> np.ndarray:
    return np.einsum("oc,cthw->othw", weight.numpy()[:, :, 0, 0, 0], x)


def _channelwise(weight: np.ndarray, x: np.ndarray, stride: int) -> np.ndarray:
    """A 3x3x3 convolution of each channel by itself, cell by cell."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (1, 1)))
    time, rows, columns = x.shape[1], -(-x.shape[2] // stride), -(-x.shape[3] // stride)
    out = np.zeros((len(x), time, rows, columns))
    for t, i, j in itertools.product(range(time), range(rows), range(columns)):
        window = padded[:, t : t + 3, i * stride : i * stride + 3, j * stride : j * stride + 3]
        out[:, t, i, j] = (window * weight[:, 0]).sum(axis=(1, 2, 3))
    return out


@pytest.mark.parametrize(("squeeze", "stride"), [(True, 1), (False, 1), (True, 2)])
def test_block_by_hand(squeeze, stride):
    torch.manual_seed(0)
    block = _shake(X3DBlock(4, 4, 9, stride, 1, "BN", squeeze))
    state = block.state_dict()
    x = torch.randn(4, 3, 5, 6, dtype=torch.float64)
    with torch.no_grad():
        result = block(x.unsqueeze(0))[0].numpy()
    x = x.numpy()
    out = np.maximum(_norm(state, "norm_a", _pointwise(state["conv_a.weight"], x)), 0)
    out = _norm(state, "norm_b", _channelwise(state["conv_b.weight"].numpy(), out, stride))
    if squeeze:
        mean = out.mean(axis=(1, 2, 3))
        hidden = np.maximum(
            state["se.fc1.weight"].numpy().reshape(8, 9) @ mean + state["se.fc1.bias"].numpy(), 0
        )
        gate = state["se.fc2.weight"].numpy().reshape(9, 8) @ hidden + state["se.fc2.bias"].numpy()
        out = out / (1 + np.exp(-gate)).reshape(-1, 1, 1, 1)
    out = out / (1 + np.exp(-out))
    out = _norm(state, "norm_c", _pointwise(state["conv_c.weight"], out))
    if stride == 2:
        x = _norm(state, "shortcut_norm", _pointwise(state["shortcut.weight"], x[:, :, ::2, ::2]))
    np.testing.assert_allclose(result, np.maximum(x + out, 0), atol=1e-10)


def test_head_by_hand():
    """The window slides over the map of a larger test crop; both convolutions are linear layers of a cell."""
    torch.manual_seed(0)
    head = _shake(X3DHead([4], 6, 8, 3, window=2))
    state = head.state_dict()
    maps = torch.randn(4, 5, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        scores = head.scores(head([maps.unsqueeze(0)]))[0].numpy()
    inner = np.maximum(_norm(state, "conv_5_bn", _pointwise(state["conv_5.weight"], maps.numpy())), 0)
    expected = []
    for position in range(2):
        mean = inner[:, :, :, position : position + 2].mean(axis=(1, 2, 3))
        hidden = np.maximum(state["lin_5.weight"].numpy().reshape(8, 6) @ mean, 0)
        logits = state["projection.weight"].numpy() @ hidden + state["projection.bias"].numpy()
        expected.append(np.exp(logits) / np.exp(logits).sum())
    np.testing.assert_allclose(scores, np.mean(expected, axis=0), atol=1e-6)
    head.train()
    assert head([maps.expand(2, -1, -1, -1, -1)]).shape == (2, 1, 3)


@pytest.mark.parametrize("norm", ["BN", "GN", "none"])
def test_blocks_start_as_the_identity(norm):
    torch.manual_seed(0)
    backbone = _small(norm=norm)
    x = torch.rand(1, 16, 2, 4, 4)
    assert torch.equal(backbone.res3[1:](x), x)
    kept = _small(norm=norm, zero_init_final_norm=False)
    assert not torch.equal(kept.res3[1:](x), x)
    has_bias = {n for n, m in kept.named_modules() if isinstance(m, nn.Conv3d) and m.bias is not None}
    convolutions = {
        n for n, m in kept.named_modules() if isinstance(m, nn.Conv3d) and "se" not in n.split(".")
    }
    assert has_bias & convolutions == (convolutions - {"stem.conv_xy"} if norm == "none" else set())


def test_config_reaches_network_and_head():
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.HEAD.NAME, cfg.MODEL.NUM_CLASSES = "X3D", "X3DHead", 7
    node = cfg.MODEL.X3D
    node.WIDTH_FACTOR, node.DEPTH_FACTOR, node.BOTTLENECK_FACTOR, node.STEM_CHANNELS = 1.5, 0.5, 3.0, 8
    node.DILATE_RES5, node.NORM, node.HEAD_CHANNELS = True, "GN", 33
    cfg.MODEL.HEAD.DROPOUT, cfg.MODEL.HEAD.ACTIVATION, cfg.INPUT.CROP_SIZE = 0.25, "softmax", 100
    cfg.MODEL.PIXEL_MEAN = [0.5]
    backbone = build_backbone(cfg)
    assert backbone.stem.conv_xy.weight.shape == (12, 1, 1, 3, 3)
    assert [len(getattr(backbone, f"res{i}")) for i in range(2, 6)] == [1, 1, 3, 2]
    assert (backbone.out_channels, backbone.inner_channels, backbone.spatial_stride) == ((96,), 288, 16)
    assert isinstance(backbone.stem.norm, nn.GroupNorm)
    head = build_head(cfg, backbone)
    assert isinstance(head, X3DHead)
    assert (head.conv_5.out_channels, head.lin_5.out_channels, head.window) == (288, 33, 7)
    assert (head.projection.out_features, head.dropout.p, head.activation) == (7, 0.25, "softmax")


def test_settings_that_do_not_work_are_named():
    cfg = get_cfg()
    cfg.MODEL.HEAD.NAME, cfg.MODEL.NUM_CLASSES = "X3DHead", 7
    with pytest.raises(
        UserError, match="X3DHead needs MODEL.BACKBONE.NAME X3D; use ClassificationHead with ResNet3D"
    ):
        build_head(cfg, ResNet3D(depth=18, width=8))
    with pytest.raises(UserError, match="one pathway, not of 2"):
        X3DHead([8, 8], 4, 4, 2)
    with pytest.raises(UserError, match="'LN'"):
        _meta(norm="LN")
    with pytest.raises(UserError, match="WIDTH_FACTOR is 0.*must be above 0"):
        cfg.merge_from_list(["MODEL.X3D.WIDTH_FACTOR", 0])


def test_odd_clips_layouts_and_precisions():
    torch.manual_seed(0)
    backbone = _shake(_small()).float()
    head = _shake(X3DHead(backbone.out_channels, backbone.inner_channels, 32, 3, window=2)).float()
    clip = torch.randn(1, 3, 5, 75, 101)
    with torch.no_grad():
        (maps,) = backbone(clip)
        assert maps.shape[2:] == (5, 3, 4)
        expected = head([maps])
        backbone.to(memory_format=torch.channels_last_3d)
        (last,) = backbone(clip.contiguous(memory_format=torch.channels_last_3d))
        # Sums in another order: the error of an element follows the size of the map, not its own.
        assert (last - maps).norm() < 1e-5 * maps.norm()
        assert (head([last]) - expected).norm() < 1e-5 * expected.norm()
        with torch.autocast("cpu", torch.bfloat16):
            half = head(backbone(clip))
    assert (half.float() - expected).norm() < 0.05 * expected.norm()


def test_compiles_without_a_graph_break():
    torch.manual_seed(0)
    backbone = _small().eval()
    compiled = torch.compile(backbone, backend="eager", fullgraph=True)
    clip = torch.randn(1, 3, 2, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(compiled(clip)[0], backbone(clip)[0])


@pytest.mark.parametrize("head", ["X3DHead", "ClassificationHead"])
def test_classifier_learns_one_clip_at_a_time(head):
    torch.manual_seed(0)
    cfg = get_cfg()
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.BACKBONE.NAME, cfg.MODEL.HEAD.NAME = "VideoClassifier", "X3D", head
    cfg.MODEL.NUM_CLASSES, cfg.MODEL.LOSS.NAME, cfg.MODEL.HEAD.ACTIVATION = 3, "cross_entropy", "softmax"
    cfg.MODEL.X3D.DEPTH_FACTOR, cfg.MODEL.X3D.STEM_CHANNELS, cfg.MODEL.X3D.HEAD_CHANNELS = 1.0, 4, 32
    cfg.INPUT.CROP_SIZE, cfg.MODEL.HEAD.DROPOUT = 32, 0.0
    model = build_model(cfg).train()
    assert type(model.head) is {"X3DHead": X3DHead, "ClassificationHead": ClassificationHead}[head]
    batch = {"video": torch.randint(0, 256, (1, 3, 4, 32, 32), dtype=torch.uint8), "labels": [2]}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(5):
        loss = model(batch)["loss_class"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("dilate", [False, True])
def test_detector_looks_where_the_box_is(dilate):
    """A change far from a box, outside what its cells see, leaves its scores alone; one inside does not."""
    torch.manual_seed(0)
    backbone = _shake(_small(depth_factor=0.2, dilate_res5=dilate)).float()
    for module in backbone.modules():  # whose mean would see everything
        if isinstance(module, X3DBlock):
            module.se = nn.Identity()
    head = RoIActionHead(backbone.out_channels, 3, backbone.spatial_stride)
    model = ActionDetector(backbone, head, bce_with_logits, [0.45] * 3, [0.225] * 3).eval()
    video = torch.randint(0, 256, (1, 3, 4, 64, 512), dtype=torch.uint8)
    boxes = [torch.tensor([[400.0, 8, 440, 60]])]
    changed_left, changed_inside = video.clone(), video.clone()
    changed_left[..., :200] = 0
    changed_inside[..., 400:440] = 0
    with torch.no_grad():
        scores, left, inside = (
            model({"video": clip, "boxes": boxes})[0]["scores"]
            for clip in (video, changed_left, changed_inside)
        )
    torch.testing.assert_close(scores, left, rtol=0, atol=1e-6)
    assert (scores - inside).abs().max() > 1e-4
