"""Motion maps against hand-made numbers and a slow computation pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from modist_det.motion import (
    MOTION_KINDS,
    flip_maps,
    flow_edges,
    flow_magnitude,
    flow_xy,
    frame_difference,
    motion_kind,
)
from modist_det.utils.errors import UserError

SOBEL = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]


def slow_edges(flow: np.ndarray) -> np.ndarray:
    """(2, H, W) -> (H, W), one pixel after the other in double precision."""
    _, height, width = flow.shape
    edges = np.zeros((height, width), np.uint8)

    def speed(y: int, x: int) -> float:
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        return math.hypot(float(flow[0, y, x]), float(flow[1, y, x]))

    for y in range(height):
        for x in range(width):
            gradient_x = gradient_y = 0.0
            for i in range(3):
                for j in range(3):
                    gradient_x += SOBEL[i][j] / 8 * speed(y + i - 1, x + j - 1)
                    gradient_y += SOBEL[j][i] / 8 * speed(y + i - 1, x + j - 1)
            value = min(max(math.hypot(gradient_x, gradient_y), 0.0), 10.0)
            edges[y, x] = round(value / 10 * 255)
    return edges


@pytest.mark.parametrize("shape", [(7, 9), (1, 5), (6, 1), (1, 1), (2, 2)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_edges_equal_a_slow_computation(shape, scale):
    flow = torch.randn(3, 2, 2, *shape, generator=torch.Generator().manual_seed(5)) * scale
    before = flow.clone()
    edges = flow_edges(flow)
    assert edges.dtype == torch.uint8
    assert edges.shape == (3, 2, 1, *shape)
    assert torch.equal(flow, before)
    for i in range(3):
        for j in range(2):
            np.testing.assert_array_equal(edges[i, j, 0].numpy(), slow_edges(flow[i, j].numpy()))


def test_edges_reach_the_limit_and_not_only_the_limit():
    flow = torch.randn(2, 40, 40, generator=torch.Generator().manual_seed(0)) * 30
    values = flow_edges(flow).unique()
    assert values[-1] == 255
    assert len(values) > 50


def test_edges_of_a_step():
    flow = torch.zeros(2, 4, 6)
    flow[0, :, 3:] = 4.8
    flow[1, :, 3:] = -6.4  # speed 8; (1 + 2 + 1) / 8 of it on both sides of the step
    row = [0, 0, 102, 102, 0, 0]
    assert flow_edges(flow).tolist() == [[row] * 4]


def test_even_motion_has_no_edges_and_a_zoom_few():
    pan = torch.full((2, 5, 5), 12.0)
    assert not flow_edges(pan).any()
    zoom = torch.zeros(2, 5, 9)
    zoom[0] = torch.arange(9) * 0.1  # 0.1 pixels a pixel
    assert flow_edges(zoom)[0, 2, 1:-1].tolist() == [3] * 7  # 2.55


def test_magnitude():
    flow = torch.tensor([[[3.0, 0.0, -30.0]], [[4.0, 0.0, 40.0]]])
    assert flow_magnitude(flow).tolist() == [[[64, 0, 255]]]  # 5 / 20 * 255 = 63.75


def test_flow_xy():
    flow = torch.tensor([[[0.0, 1.0, 99.0, 0.9]], [[-10.0, -20.0, -99.0, -0.9]]])
    # 128 - 63.5 = 64.5, to the even one; 128 + 5.715, 128 - 5.715
    assert flow_xy(flow).tolist() == [[[128, 134, 255, 134]], [[64, 1, 1, 122]]]


def test_another_limit_gives_smaller_motion_more_values():
    """The largest value stands for ``limit``; what is above it looks like it."""
    step = torch.zeros(2, 4, 6)
    step[0, :, 3:] = 2.0  # half of that on both sides of the step, 1 of 4
    assert flow_edges(step, 4.0).tolist() == [[[0, 0, 64, 64, 0, 0]] * 4]  # 63.75
    assert flow_edges(step, 0.5).tolist() == [[[0, 0, 255, 255, 0, 0]] * 4]
    flow = torch.tensor([[[3.0, 0.0, -30.0]], [[4.0, 0.0, 40.0]]])
    assert flow_magnitude(flow, 10.0).tolist() == [[[128, 0, 255]]]  # 127.5
    # 128 + 127 / 5 * (3, 0, -5) and (4, 0, 5)
    assert flow_xy(flow, 5.0).tolist() == [[[204, 128, 1]], [[230, 128, 255]]]
    frames, earlier = torch.full((3, 1, 2), 40, dtype=torch.uint8), torch.zeros(3, 1, 2, dtype=torch.uint8)
    earlier[:, 0, 1] = 30
    assert frame_difference(frames, earlier, 51.0).tolist() == [[[200, 50]]]


def test_frame_difference():
    frames = torch.tensor([[255, 10, 0, 0]] * 3, dtype=torch.uint8).reshape(3, 2, 2)
    earlier = torch.tensor([[0, 20, 0, 0], [0, 20, 0, 0], [0, 20, 200, 0]], dtype=torch.uint8).reshape(
        3, 2, 2
    )
    assert frame_difference(frames, earlier).tolist() == [[[255, 10], [23, 0]]]  # 0.114 * 200
    assert torch.equal(frame_difference(frames, earlier), frame_difference(earlier, frames))


@pytest.mark.parametrize("function", [flow_edges, flow_magnitude, flow_xy])
def test_dtypes_empty_batches_and_wrong_shapes(function):
    flow = (torch.randn(2, 6, 8) * 4).half()
    assert torch.equal(function(flow), function(flow.double()))
    assert function(torch.zeros(0, 2, 6, 8)).shape[0] == 0
    with pytest.raises(ValueError, match="2, H, W"):
        function(torch.zeros(3, 6, 8))


def test_no_value_is_waited_for():
    """A meta tensor has no values: whatever would have to look at one fails."""
    flow = torch.empty(4, 2, 6, 8, device="meta")
    for function in (flow_edges, flow_magnitude, flow_xy):
        assert function(flow).shape[-2:] == (6, 8)
    frames = torch.empty(4, 3, 6, 8, dtype=torch.uint8, device="meta")
    assert frame_difference(frames, frames).shape == (4, 1, 6, 8)


@pytest.mark.parametrize("name", [name for name, kind in MOTION_KINDS.items() if kind.from_flow])
def test_mirrored_maps_are_maps_of_the_mirrored_flow(name):
    flow = torch.randn(3, 2, 6, 8, generator=torch.Generator().manual_seed(1)) * 15
    mirrored = flow.flip(-1) * torch.tensor([-1.0, 1.0]).view(2, 1, 1)
    make = MOTION_KINDS[name].from_flow
    maps = make(flow)
    assert maps.shape[1] == MOTION_KINDS[name].channels
    # Halves round to the even one, on either side of 128.
    assert (flip_maps(maps, name).int() - make(mirrored).int()).abs().max() <= 1
    assert torch.equal(flip_maps(flip_maps(maps, name), name), maps)


def test_flip_survives_a_zero_from_a_lossy_file():
    maps = torch.tensor([0, 1, 128, 255], dtype=torch.uint8).repeat(2, 1).reshape(2, 1, 4)
    assert flip_maps(maps, "flow").tolist() == [[[1, 128, 255, 255]], [[255, 128, 1, 0]]]


def test_unknown_kind():
    with pytest.raises(UserError, match="did you mean 'edges'"):
        motion_kind("edge")
