"""RoI head against a bilinear average by hand; classification head against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from modist_det.config import get_cfg
from modist_det.modeling import ClassificationHead, ResNet3D, RoIActionHead, build_head
from modist_det.modeling.heads.projection import ProjectionHead
from modist_det.modeling.heads.roi import exclusive_logits
from modist_det.modeling.losses import bce_with_logits
from modist_det.utils.errors import UserError


def _bilinear(image: Tensor, y: float, x: float) -> float:
    """Value between cells; cell (0, 0) is at (0, 0), the border continues outwards for one cell."""
    height, width = image.shape
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = (1 - dx) * image[top, left] + dx * image[top, right]
    lower = (1 - dx) * image[bottom, left] + dx * image[bottom, right]
    return float((1 - dy) * upper + dy * lower)


def _roi_max_by_hand(
    image: Tensor, box: list[float], stride: int, bins: int, ratio: int, aligned: bool
) -> float:
    offset = 0.5 if aligned else 0.0
    x1, y1, x2, y2 = (value / stride - offset for value in box)
    height, width = y2 - y1, x2 - x1
    if not aligned:  # Caffe2 makes every box at least one cell large
        height, width = max(height, 1.0), max(width, 1.0)
    step_y, step_x = height / bins, width / bins
    points_y, points_x = ratio or math.ceil(step_y), ratio or math.ceil(step_x)
    values = []
    for i in range(bins):
        for j in range(bins):
            samples = [
                _bilinear(
                    image, y1 + step_y * (i + (a + 0.5) / points_y), x1 + step_x * (j + (b + 0.5) / points_x)
                )
                for a in range(points_y)
                for b in range(points_x)
            ]
            values.append(sum(samples) / len(samples))
    return max(values)


def _pass_through(head) -> None:
    """Make the linear layer the identity, so that logits are the pooled features."""
    with torch.no_grad():
        head.projection.weight.copy_(torch.eye(head.num_classes))


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 2])
def test_roi_features_are_a_bilinear_average_by_hand(aligned, ratio):
    torch.manual_seed(1)
    head = RoIActionHead([2, 1], 3, 16, resolution=3, sampling_ratio=ratio, aligned=aligned).eval()
    _pass_through(head)
    slow, fast = torch.randn(2, 2, 2, 6, 8), torch.randn(2, 1, 4, 6, 8)
    boxes = [(1, [10.0, 5.0, 100.0, 90.0]), (0, [0.0, 0.0, 128.0, 96.0]), (1, [33.0, 40.0, 60.0, 47.0])]
    rois = torch.tensor([[clip, *box] for clip, box in boxes])
    with torch.no_grad():
        logits = head([slow, fast], rois)
    for row, (clip, box) in enumerate(boxes):
        images = [*slow[clip].mean(1), *fast[clip].mean(1)]
        expected = [_roi_max_by_hand(image, box, 16, 3, ratio, aligned) for image in images]
        assert logits[row].tolist() == pytest.approx(expected, abs=1e-5)


def test_roi_on_a_ramp():
    """On a map that grows by one a cell, the last of 7 bins averages to the value at its centre."""
    head = RoIActionHead([1], 1, 16).eval()
    _pass_through(head)
    ramp = torch.arange(10.0).expand(1, 1, 1, 10, 10)
    # The box spans cells 1 to 5; its last bin is centred at 5 - 2/7, half a cell less when aligned.
    with torch.no_grad():
        logits = head([ramp], torch.tensor([[0.0, 16, 16, 80, 80]]))
    assert logits.item() == pytest.approx(5 - 2 / 7 - 0.5, abs=1e-5)


@pytest.mark.parametrize(("activation", "expected"), [("sigmoid", [0.5, 0.75]), ("softmax", [0.25, 0.75])])
def test_scores(activation, expected):
    head = RoIActionHead([4], 2, 32, activation=activation)
    scores = head.scores(torch.tensor([[0.0, math.log(3)]], dtype=torch.float64))
    assert scores.dtype == torch.float32
    assert scores[0].tolist() == pytest.approx(expected)


def test_maximum_over_time_and_the_feature_of_the_whole_map():
    """Two clips, of which each box gets its own: first the box's feature, then the map's."""
    head = RoIActionHead([1], 2, 1, resolution=2, temporal_pool="max", global_feature=True).eval()
    _pass_through(head)
    maps = torch.zeros(2, 1, 3, 4, 4)
    maps[0, :, 1], maps[0, :, 2] = 5.0, -1.0
    maps[1, :, 0, :2] = 8.0
    with torch.no_grad():
        logits = head([maps], torch.tensor([[1.0, 0, 3, 4, 4], [0.0, 0, 0, 4, 4]]))
    # The box in the second clip is below its bright half; the mean of the upper bins is that half's.
    assert logits.tolist() == [[0, 8], [5, 5]]
    with pytest.raises(UserError, match="TEMPORAL_POOL is 'last'; known: 'avg', 'max'"):
        RoIActionHead([1], 2, 1, temporal_pool="last")


def test_roi_head_without_boxes_still_has_gradients():
    head = RoIActionHead([4], 2, 32)
    features = torch.randn(1, 4, 2, 4, 4, requires_grad=True)
    logits = head([features], torch.zeros(0, 5))
    assert logits.shape == (0, 2)
    logits.sum().backward()
    assert features.grad.abs().max() == 0
    assert head.projection.weight.grad.abs().max() == 0


def test_roi_align_stays_in_float32_under_autocast():
    """In bfloat16, 201 and 203 pixels are the same number."""
    head = RoIActionHead([1], 1, 1, resolution=1).eval()
    _pass_through(head)
    ramp = torch.arange(256.0).expand(1, 1, 1, 256, 256).to(torch.bfloat16)
    rois = torch.tensor([[0.0, 200, 0, 202, 8], [0.0, 201, 0, 203, 8]])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        of_map, of_image = head._pool(ramp, rois), head.align(ramp[:, :, 0], rois)
    for pooled in (of_map, of_image):
        assert pooled.dtype == torch.float32
        assert (pooled[1] - pooled[0]).item() == pytest.approx(1, abs=1e-4)


def test_classification_head_pools_all_pathways():
    head = ClassificationHead([2, 1], 3).eval()
    _pass_through(head)
    slow, fast = torch.randn(2, 2, 4, 3, 5), torch.randn(2, 1, 16, 3, 5)
    with torch.no_grad():
        logits = head([slow, fast])
    assert logits.shape == (2, 1, 3)
    expected = torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], 1)
    torch.testing.assert_close(logits[:, 0], expected)


def test_a_larger_test_crop_is_scored_at_each_position_of_the_window():
    head = ClassificationHead([1], 2, window=2, activation="softmax").eval()
    with torch.no_grad():
        head.projection.weight.copy_(torch.tensor([[1.0], [0.0]]))
    image = torch.tensor([[0.0, 2.0, 4.0], [0.0, 2.0, 4.0]])
    with torch.no_grad():
        scores = head.scores(head([image.expand(1, 1, 3, 2, 3)]))
    # Two positions with the averages 1 and 3; the softmax over (a, 0) is the sigmoid of a.
    expected = (1 / (1 + math.exp(-1)) + 1 / (1 + math.exp(-3))) / 2
    assert scores[0].tolist() == pytest.approx([expected, 1 - expected])
    head.train()
    head.dropout.p = 0.0
    assert head([image.expand(1, 1, 3, 2, 3)]).flatten().tolist() == pytest.approx([2, 0])


def test_a_smaller_test_crop_than_the_window_is_pooled_whole():
    head = ClassificationHead([1], 1, window=7).eval()
    _pass_through(head)
    with torch.no_grad():
        assert head([torch.full((1, 1, 2, 3, 4), 5.0)]).flatten().tolist() == pytest.approx([5])


def test_dropout_only_in_training():
    torch.manual_seed(0)
    head = RoIActionHead([64], 64, 1, dropout=0.5)
    _pass_through(head)
    features, rois = torch.ones(1, 64, 1, 8, 8), torch.tensor([[0.0, 0, 0, 8, 8]])
    dropped = head([features], rois).round().tolist()[0]
    assert set(dropped) == {0, 2}
    assert set(head.eval()([features], rois).round().tolist()[0]) == {1}


def test_initial_weights():
    torch.manual_seed(0)
    head = ClassificationHead([512], 100, init_std=0.02)
    assert head.projection.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert head.projection.bias.abs().max() == 0


def test_config_reaches_the_heads():
    cfg = get_cfg()
    cfg.MODEL.NUM_CLASSES = 7
    node = cfg.MODEL.HEAD
    node.DROPOUT, node.ACTIVATION, node.ROI_RESOLUTION = 0.1, "softmax", 5
    node.ROI_SAMPLING_RATIO, node.ROI_ALIGNED, node.INIT_STD = 2, False, 0.2
    backbone = ResNet3D(depth=18, width=8, dilate_res5=True)
    head = build_head(cfg, backbone)
    assert isinstance(head, RoIActionHead)
    assert head.projection.weight.shape == (7, 64)
    assert head.projection.weight.std().item() == pytest.approx(0.2, rel=0.2)
    assert (head.dropout.p, head.activation, head.resolution) == (0.1, "softmax", 5)
    assert (head.sampling_ratio, head.aligned, head.spatial_stride) == (2, False, 16)

    cfg.MODEL.HEAD.NAME, cfg.INPUT.CROP_SIZE = "ClassificationHead", 112
    head = build_head(cfg, backbone)
    assert isinstance(head, ClassificationHead)
    assert head.window == 7


def test_settings_that_do_not_work_are_named():
    cfg = get_cfg()
    backbone = ResNet3D(depth=18, width=8)
    with pytest.raises(UserError, match="MODEL.NUM_CLASSES is 0"):
        build_head(cfg, backbone)
    cfg.MODEL.NUM_CLASSES = 3
    cfg.MODEL.HEAD.ACTIVATION = "relu"
    with pytest.raises(UserError, match="'relu'"):
        build_head(cfg, backbone)
    cfg.MODEL.HEAD.NAME = "RoiActionHead"
    with pytest.raises(UserError, match="MODEL.HEAD.NAME.*did you mean 'RoIActionHead'"):
        build_head(cfg, backbone)
    with pytest.raises(UserError, match="at least one class"):
        ClassificationHead([8], 0)


@pytest.mark.parametrize("norm", ["none", "BN"])
def test_projection_head_against_its_formula(norm):
    head = ProjectionHead((3, 2), hidden=7, dim=4, norm=norm)
    assert [tuple(p.shape) for p in head.parameters()] == (
        [(7, 5), (7,), (4, 7), (4,)] if norm == "none" else [(7, 5), (7,), (7,), (4, 7), (4,)]
    )
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(parameter.numel()))
    maps = [torch.randn(6, channels, 2, 3, 3) for channels in (3, 2)]
    pooled = torch.cat([m.mean(dim=(2, 3, 4)) for m in maps], dim=1)
    first, *scale, last, bias = head.parameters()
    hidden = pooled @ first.T
    if norm == "none":
        hidden = hidden + scale[0]
    else:
        hidden = (hidden - hidden.mean(dim=0)) / (hidden.var(dim=0, unbiased=False) + 1e-5).sqrt() * scale[
            0
        ] + scale[1]
    expected = hidden.clamp(min=0) @ last.T + bias
    torch.testing.assert_close(head(maps), expected / expected.norm(dim=1, keepdim=True))


def test_exclusive_classes_have_a_softmax_and_its_loss():
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    changed = exclusive_logits(logits, 3)
    expected = torch.cat([logits[:, :3].softmax(dim=1), logits[:, 3:].sigmoid()], dim=1)
    torch.testing.assert_close(changed.sigmoid(), expected)
    targets = torch.tensor([1.0, 0, 0, 1, 0, 0, 1]).expand(4, 7)
    loss = torch.nn.functional.binary_cross_entropy(expected, targets, reduction="none").mean(dim=1)
    torch.testing.assert_close(bce_with_logits(changed, targets), loss)
    assert exclusive_logits(logits, 0) is logits
    half = logits.bfloat16()
    torch.testing.assert_close(exclusive_logits(half, 3), exclusive_logits(half.float(), 3), rtol=0, atol=0)


def test_exclusive_classes_and_hidden_layers_by_config():
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.NUM_CLASSES", 5, "MODEL.HEAD.EXCLUSIVE_CLASSES", 3, "MODEL.HEAD.MLP", True])
    torch.manual_seed(0)
    backbone = ResNet3D(depth=18, width=4)
    head = build_head(cfg, backbone).eval()
    rois = torch.tensor([[0.0, 0, 0, 32, 32], [0.0, 8, 8, 40, 60]])
    maps = [torch.randn(1, backbone.out_channels[0], 2, 4, 4)]
    hidden, _, last = head.projection
    logits = last(hidden(head.pooled(maps, rois)).relu())
    torch.testing.assert_close(head(maps, rois), exclusive_logits(logits, 3))
    scores = head.scores(head(maps, rois))
    torch.testing.assert_close(scores[:, :3].sum(dim=1), torch.ones(2))
    cfg.MODEL.HEAD.EXCLUSIVE_CLASSES = 5
    head = build_head(cfg, backbone).eval()
    torch.testing.assert_close(head.scores(head(maps, rois)).sum(dim=1), torch.ones(2))
    for wrong in (1, 6):
        cfg.MODEL.HEAD.EXCLUSIVE_CLASSES = wrong
        message = f"EXCLUSIVE_CLASSES is {wrong}, but must be 0 or from 2 to the 5 classes"
        with pytest.raises(UserError, match=message):
            build_head(cfg, backbone)
