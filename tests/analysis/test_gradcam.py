"""Grad-CAM against maps worked out by hand, and the share of a map inside boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from modist_det.analysis.gradcam import (
    class_score,
    draw_heat_maps,
    energy_in_boxes,
    feature_norm,
    grad_cam,
    similarity_to,
)
from modist_det.modeling.backbone import ResNet3D, SlowFast
from modist_det.modeling.heads import ClassificationHead, RoIActionHead


class Channels(nn.Module):
    """The clip's own channels as the feature map: its Grad-CAM can be done on paper."""

    def forward(self, clip):
        return [clip]


def linear_head(weight) -> ClassificationHead:
    head = ClassificationHead([len(weight[0])], len(weight))
    with torch.no_grad():
        head.projection.weight.copy_(torch.tensor(weight))
    return head


# Two channels, one frame, two by two pixels.
CLIP = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[4.0, 0.0], [1.0, 1.0]]]).view(1, 2, 1, 2, 2)


def test_class_map_is_the_weighted_sum_of_the_channels():
    # The logit is w . mean over 4 pixels: the gradient of each pixel is w / 4, their sum w.
    head = linear_head([[0.0, 0.0], [2.0, -1.0]])
    maps = grad_cam(Channels(), CLIP, class_score(head, 1))
    # 2 * 1 - 4 = -2 -> 0; 2 * 2 - 0 = 4; 2 * 3 - 1 = 5; 2 * 4 - 1 = 7
    assert maps.tolist() == [[[[0.0, 4.0], [5.0, 7.0]]]]
    assert head.training


def test_norm_and_similarity_maps():
    # Means of the channels: 2.5 and 1.5; the norm's gradient is their direction.
    length = (2.5**2 + 1.5**2) ** 0.5
    expected = torch.tensor([[2.5 + 6.0, 5.0], [7.5 + 1.5, 10.0 + 1.5]])
    maps = grad_cam(Channels(), CLIP, feature_norm)
    torch.testing.assert_close(maps[0, 0], expected / length)
    # Its dot product with itself: the same map, but for the factor.
    own = grad_cam(Channels(), CLIP, similarity_to(torch.tensor([[2.5, 1.5]])))
    torch.testing.assert_close(own[0, 0], expected)
    # To a clip that has only the second channel.
    other = grad_cam(Channels(), CLIP, similarity_to(torch.tensor([[0.0, 1.0]])))
    torch.testing.assert_close(other[0, 0], CLIP[0, 1, 0])


def test_each_clip_has_its_own_map():
    other = CLIP.flip(1)
    together = grad_cam(Channels(), torch.cat([CLIP, other]), feature_norm)
    torch.testing.assert_close(together[0], grad_cam(Channels(), CLIP, feature_norm)[0])
    torch.testing.assert_close(together[1], grad_cam(Channels(), other, feature_norm)[0])


def test_a_detectors_map_sums_over_the_boxes_of_a_clip():
    clip = torch.zeros(2, 2, 3, 8, 8)
    clip[:, 0, :, 1, 1] = 1.0
    clip[:, 1, :, 6, 6] = 1.0
    # The score of the box is the mean of samples in it: its gradient over all cells and frames sums to the weight.
    head = RoIActionHead([2], 2, spatial_stride=1, resolution=1, sampling_ratio=8)
    with torch.no_grad():
        head.projection.weight.copy_(torch.tensor([[1.0, 0.0], [0.5, 0.25]]))
    box = torch.tensor([1.0, 0.0, 0.0, 4.0, 4.0])  # of the second clip
    expected = torch.zeros(2, 3, 8, 8)
    expected[1, :, 1, 1] = 1.0
    torch.testing.assert_close(grad_cam(Channels(), clip, class_score(head, 0, box[None])), expected)
    expected[1, :, 1, 1], expected[1, :, 6, 6] = 0.5 * 2, 0.25 * 2
    torch.testing.assert_close(
        grad_cam(Channels(), clip, class_score(head, 1, torch.stack([box, box]))), expected
    )


@pytest.mark.parametrize("freeze", [False, True])
def test_a_network_gives_the_textbook_map(freeze):
    torch.manual_seed(0)
    backbone = ResNet3D(depth=18, width=4, zero_init_final_norm=False)
    head = ClassificationHead(backbone.out_channels, 3, init_std=1.0).eval()
    if freeze:
        backbone.freeze()
    clip = torch.randn(2, 3, 4, 64, 64)
    maps = grad_cam(backbone, clip, class_score(head, 2))
    assert maps.shape == (2, 4, 64, 64) and (maps >= 0).all() and (maps > 0).any()
    # A frozen backbone is always in evaluation mode.
    assert backbone.training is not freeze and all(p.grad is None for p in backbone.parameters())
    # With an average pool and a linear layer, Grad-CAM is CAM: the class's weights applied to the map.
    backbone.eval()
    with torch.no_grad():
        (features,) = backbone(clip)
        cam = torch.einsum("c,bcthw->bthw", head.projection.weight[2], features).relu()
    assert cam.shape[2:] == (2, 2)
    # In the middle of a cell of 32 pixels, between 16 and 17: bilinear interpolation gives nearly the cell.
    torch.testing.assert_close(maps[:, :, 15::32, 15::32], cam, rtol=0.05, atol=0.05 * float(cam.max()))


def test_pathways_are_added():
    torch.manual_seed(0)
    backbone = SlowFast(depth=18, width=8, alpha=2, zero_init_final_norm=False)
    clip = torch.randn(1, 3, 4, 64, 64)
    slow_channels = backbone.out_channels[0]

    def only(pathway):
        return lambda features: features[pathway].mean(dim=(1, 2, 3, 4))

    both = grad_cam(backbone, clip, lambda features: only(0)(features) + only(1)(features))
    slow, fast = grad_cam(backbone, clip, only(0)), grad_cam(backbone, clip, only(1))
    assert both.shape == (1, 4, 64, 64) and slow_channels > 0 and slow.max() > 0 and fast.max() > 0
    torch.testing.assert_close(both, slow + fast)


def test_energy_share_counts_pixels_by_hand():
    maps = torch.zeros(3, 2, 4, 4)
    maps[0, :, 0, 0] = 3.0  # inside
    maps[0, :, 3, 3] = 1.0  # outside
    maps[1] = 1.0
    boxes = [
        torch.tensor([[0.0, 0.0, 2.0, 2.0]]),
        # Overlapping: their 4 + 4 - 1 pixels count once.
        torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0]]),
        torch.zeros(0, 4),
    ]
    energy = energy_in_boxes(maps, boxes)
    assert energy.share[:2].tolist() == [0.75, 7 / 16] and energy.share[2].isnan()
    assert energy.area.tolist() == [4 / 16, 7 / 16, 0.0]


def test_boxes_may_move_with_the_frames_and_cut_pixels():
    maps = torch.zeros(1, 2, 2, 4)
    maps[0, 0, :, 0] = 1.0
    maps[0, 1, :, 3] = 1.0
    moving = torch.tensor([[[0.0, 0.0, 1.0, 2.0]], [[3.0, 0.0, 4.0, 2.0]]])
    assert energy_in_boxes(maps, [moving]).share.item() == 1.0
    assert energy_in_boxes(maps, [moving[0]]).share.item() == 0.5
    # The centre of a pixel decides: .5 is inside from the left, outside from the right; beyond the edge is nothing.
    edges = torch.tensor([[0.5, -3.0, 2.5, 9.0]])
    assert energy_in_boxes(torch.ones(1, 1, 1, 4), [edges]).area.item() == 0.5
    with pytest.raises(ValueError, match="boxes of 2 clips for 1 maps"):
        energy_in_boxes(maps, [moving, moving])


def test_picture_has_rows_of_clips_and_columns_of_methods():
    clips = torch.full((2, 3, 3, 20, 40), 128, dtype=torch.uint8)
    hot = torch.zeros(2, 3, 20, 40)
    hot[:, 1, :, :20] = 5.0  # the left half of the middle frame
    hot[1] /= 10  # each clip has its own scale
    picture = draw_heat_maps(clips, {"ours": hot, "nothing": torch.zeros_like(hot)}, cell_width=80)
    bar = 22
    assert picture.shape == (2 * (bar + 40), 3 * 80, 3) and picture.dtype == np.uint8
    for top in (bar, 2 * bar + 40):
        frame, ours, nothing = (picture[top : top + 40, 80 * c : 80 * c + 80].astype(int) for c in range(3))
        assert (frame == 128).all()
        red, blue = ours[20, 20], ours[20, 60]
        assert red[0] > red[2] + 40 and blue[2] > blue[0] + 40
        assert (nothing[..., 2] > nothing[..., 0] + 40).all()


def test_boxes_on_the_picture():
    clips = torch.zeros(1, 3, 1, 20, 40, dtype=torch.uint8)
    box = torch.tensor([[10.0, 5.0, 30.0, 15.0]])
    picture = draw_heat_maps(clips, {}, [box], ["a"], cell_width=80)[22:]
    assert picture[10, 40].argmax() == 1 and picture[10, 40, 1] > 100 and (picture[20, 40] == 0).all()
    # With boxes of each frame those of the shown one are drawn.
    clips, boxes = clips.expand(-1, -1, 3, -1, -1), torch.stack([box - 5, box, box + 5])
    assert np.array_equal(draw_heat_maps(clips, {}, [boxes], ["a"], cell_width=80)[22:], picture)
