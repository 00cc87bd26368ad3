"""Transforms of clips and of the boxes in them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from hypothesis import given, settings
from hypothesis import strategies as st

from modist_det.data import transforms as T


def clip_with_box(height: int, width: int, x1: int, y1: int, x2: int, y2: int) -> torch.Tensor:
    """A black clip of three frames with a white rectangle between the pixel edges given."""
    clip = torch.zeros(3, 3, height, width, dtype=torch.uint8)
    clip[..., y1:y2, x1:x2] = 255
    return clip


def extent(clip: torch.Tensor) -> list[int]:
    """x1, y1, x2, y2 of what is bright in every frame and channel of the clip."""
    bright = (clip > 127).flatten(0, 1).all(dim=0)
    rows, columns = bright.any(dim=1).nonzero().flatten(), bright.any(dim=0).nonzero().flatten()
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def boxes_of(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


# ---- drawing ----------------------------------------------------------------------------------


def test_inverse_of_short_side_is_uniform() -> None:
    rng = np.random.default_rng(0)
    sides = np.array([T.draw_short_side(rng, 256, 320) for _ in range(4000)])
    assert sides.min() == 256 and sides.max() == 320
    # Mean of 1 / U(1/320, 1/256): ln(320 / 256) / (1/256 - 1/320) = 285.6, below the 288 of a uniform side.
    assert sides.mean() == pytest.approx(np.log(320 / 256) / (1 / 256 - 1 / 320), abs=0.9)


def test_short_side_of_one_size() -> None:
    assert T.draw_short_side(np.random.default_rng(0), 112, 112) == 112


def test_window_reaches_every_position_and_no_other() -> None:
    rng = np.random.default_rng(0)
    seen = {T.draw_window(rng, 10, 12, 8) for _ in range(500)}
    assert seen == {T.Window(top, left, 8, 8) for top in range(3) for left in range(5)}


def test_window_as_large_as_the_frame() -> None:
    assert T.draw_window(np.random.default_rng(0), 8, 8, 8) == T.Window(0, 0, 8, 8)


@pytest.mark.parametrize(
    "call", [T.center_window, lambda h, w, s: T.draw_window(np.random.default_rng(0), h, w, s)]
)
def test_window_larger_than_the_frame_is_an_error(call) -> None:
    with pytest.raises(ValueError, match="224 pixels does not fit into frames of 300x223"):
        call(223, 300, 224)


def test_center_window_rounds_up() -> None:
    assert T.center_window(256, 341, 224) == T.Window(16, 59, 224, 224)  # ceil(58.5) = 59, as PySlowFast


@pytest.mark.parametrize(
    ("box", "window"),
    [
        ([40, 50, 60, 70], T.Window(40, 30, 40, 40)),
        ([0, 0, 4, 4], T.Window(0, 0, 40, 40)),
        ([190, 90, 200, 100], T.Window(60, 160, 40, 40)),
        ([0, 0, 200, 100], T.Window(30, 80, 40, 40)),
    ],
)
def test_window_around_a_box_stays_inside(box, window) -> None:
    assert T.window_around(boxes_of(box)[0], 100, 200, 40) == window


def test_resized_window_keeps_area_and_aspect() -> None:
    rng = np.random.default_rng(0)
    windows = [T.draw_resized_window(rng, 240, 320, (0.3, 1.0), (0.5, 2.0)) for _ in range(500)]
    area = np.array([w.height * w.width for w in windows]) / (240 * 320)
    aspect = np.array([w.width / w.height for w in windows])
    assert 0.29 < area.min() < 0.35 and area.max() <= 1
    assert 0.49 < aspect.min() < 0.6 and 1.7 < aspect.max() < 2.02
    assert all(
        w.top >= 0 and w.left >= 0 and w.top + w.height <= 240 and w.left + w.width <= 320 for w in windows
    )


def test_resized_window_that_never_fits_is_the_largest_central_one() -> None:
    window = T.draw_resized_window(np.random.default_rng(0), 100, 1000, (1.0, 1.0), (0.5, 2.0))
    assert window == T.Window(0, 400, 100, 200)


# ---- boxes follow what is drawn -----------------------------------------------------------------


def test_flip_by_hand() -> None:
    assert T.flip_boxes(boxes_of([10, 20, 30, 40], [0, 0, 100, 50]), 100).tolist() == [
        [70, 20, 90, 40],
        [0, 0, 100, 50],
    ]


def test_crop_and_clip_by_hand() -> None:
    boxes = T.crop_boxes(boxes_of([10, 20, 30, 40], [0, 0, 5, 5]), T.Window(25, 15, 10, 10))
    assert boxes.tolist() == [[-5, -5, 15, 15], [-15, -25, -10, -20]]
    assert T.clip_boxes(boxes, 10, 10).tolist() == [[0, 0, 10, 10], [0, 0, 0, 0]]


def test_scale_boxes_by_hand() -> None:
    assert T.scale_boxes(boxes_of([0.25, 0.5, 0.5, 1.0]), 100, 400).tolist() == [[100, 50, 200, 100]]


def test_visible() -> None:
    whole = boxes_of(
        [0, 0, 8, 8], [0, 0, 8, 8], [0, 0, 8, 8], [0, 0, 100, 8], [0, 0, 100, 8], [0, 0, 0.5, 0.5]
    )
    inside = boxes_of(
        [0, 0, 2, 8], [0, 0, 1.9, 8], [0, 0, 0, 8], [0, 0, 5, 8], [0, 0, 4.9, 8], [0, 0, 0.5, 0.5]
    )
    assert T.visible(inside, whole, size=20).tolist() == [True, False, False, True, False, True]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_window_around_a_box_shows_it(data) -> None:
    height, width = data.draw(st.integers(20, 60)), data.draw(st.integers(20, 200))
    x1, y1 = data.draw(st.floats(0, width - 0.25)), data.draw(st.floats(0, height - 0.25))
    x2, y2 = data.draw(st.floats(x1 + 0.125, width)), data.draw(st.floats(y1 + 0.125, height))
    boxes = boxes_of([x1, y1, x2, y2])
    window = T.window_around(boxes[0], height, width, 20)
    inside = T.clip_boxes(T.crop_boxes(boxes, window), 20, 20)
    assert T.visible(inside, boxes, 20).all()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_boxes_stay_on_what_was_drawn(data) -> None:
    height, width = data.draw(st.integers(24, 60)), data.draw(st.integers(24, 60))
    x1, y1 = data.draw(st.integers(0, width - 2)), data.draw(st.integers(0, height - 2))
    x2, y2 = data.draw(st.integers(x1 + 1, width)), data.draw(st.integers(y1 + 1, height))
    clip, boxes = clip_with_box(height, width, x1, y1, x2, y2), boxes_of([x1, y1, x2, y2])
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    for step in data.draw(st.lists(st.sampled_from(["flip", "crop"]), min_size=1, max_size=3)):
        h, w = clip.shape[-2:]
        if step == "flip":
            clip, boxes = T.flip(clip), T.flip_boxes(boxes, w)
        else:
            size = min(h, w) - int(rng.integers(0, 3))
            window = T.draw_window(rng, h, w, size)
            clip, boxes = T.crop(clip, window), T.clip_boxes(T.crop_boxes(boxes, window), size, size)
    if (boxes[0, 2:] > boxes[0, :2]).all():
        assert extent(clip) == boxes[0].tolist()
    else:
        assert not (clip > 127).any()


@pytest.mark.parametrize(("height", "width"), [(30, 80), (90, 120), (61, 43)])
def test_resized_boxes_are_right_to_a_pixel(height, width) -> None:
    clip, boxes = clip_with_box(60, 80, 20, 15, 61, 44), boxes_of([20, 15, 61, 44])
    expected = T.scale_boxes(boxes, height / 60, width / 80)[0]
    resized = T.resize(clip, height, width)
    assert resized.shape == (3, 3, height, width) and resized.dtype == torch.uint8
    assert np.abs(np.array(extent(resized)) - expected).max() <= 1


def test_inputs_are_left_alone() -> None:
    clip, boxes = clip_with_box(20, 20, 2, 3, 9, 8), boxes_of([2, 3, 9, 8])
    before = clip.clone(), boxes.copy()
    (
        T.flip(clip),
        T.flip_boxes(boxes, 20),
        T.crop_boxes(boxes, T.Window(1, 1, 5, 5)),
        T.clip_boxes(boxes, 5, 5),
    )
    (
        T.grayscale(clip),
        T.adjust_contrast(clip, 0.3),
        T.adjust_saturation(clip, 0.3),
        T.adjust_brightness(clip, 2.0),
    )
    assert torch.equal(clip, before[0]) and np.array_equal(boxes, before[1])


# ---- colour -----------------------------------------------------------------------------------


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.randint(0, 256, (3, 4, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def frames(clip: torch.Tensor) -> torch.Tensor:
    """(T, 3, H, W), as torchvision wants it."""
    return clip.permute(1, 0, 2, 3)


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4])
def test_brightness_and_saturation_are_torchvisions(noise, factor) -> None:
    # torchvision truncates where we round.
    for ours, theirs in (
        (T.adjust_brightness, tv.adjust_brightness),
        (T.adjust_saturation, tv.adjust_saturation),
    ):
        difference = frames(ours(noise, factor)).int() - theirs(frames(noise), factor).int()
        assert difference.abs().max() <= 1


@pytest.mark.parametrize("turns", [-0.15, 0.0, 0.1, 0.5])
def test_hue_is_torchvisions(noise, turns) -> None:
    # Both go through HSV, ours with 256 hues and saturations.
    shifted = T.adjust_hue(noise, turns)
    assert shifted.shape == noise.shape and shifted.dtype == torch.uint8
    difference = frames(shifted).int() - tv.adjust_hue(frames(noise), turns).int()
    assert difference.abs().max() <= 12 and difference.float().abs().mean() < 1.5


def test_grayscale_is_torchvisions(noise) -> None:
    gray = T.grayscale(noise)
    assert gray.shape == noise.shape
    assert (frames(gray).int() - tv.rgb_to_grayscale(frames(noise), 3).int()).abs().max() <= 1


def test_contrast_blends_with_one_mean_for_the_whole_clip() -> None:
    clip = torch.zeros(3, 2, 1, 1, dtype=torch.uint8)
    clip[:, 1] = 200  # two flat frames; the mean luma is 100
    assert T.adjust_contrast(clip, 0.5)[0].flatten().tolist() == [50, 150]
    assert T.adjust_contrast(clip, 0.0)[0].flatten().tolist() == [100, 100]
    assert T.adjust_contrast(clip, 2.0)[0].flatten().tolist() == [0, 255]


def test_color_jitter_goes_in_the_drawn_order() -> None:
    clip = torch.full((3, 1, 1, 2), 100, dtype=torch.uint8)
    clip[..., 1] = 200
    bright_first = T.color_jitter(clip, T.ColorJitter((2.0, 0.5, 1.0), (0, 1, 2)))
    contrast_first = T.color_jitter(clip, T.ColorJitter((2.0, 0.5, 1.0), (1, 0, 2)))
    # x2 clips at 255, mean 227.5, halfway: 213.75 and 241.25; the other way round: 125 and 175, then x2.
    assert bright_first[0].flatten().tolist() == [214, 241]
    assert contrast_first[0].flatten().tolist() == [250, 255]


def test_factors_and_orders_drawn() -> None:
    rng = np.random.default_rng(0)
    draws = [T.draw_color_jitter(rng, (0.4, 0.2, 1.5)) for _ in range(300)]
    brightness, contrast, saturation = np.array([draw.factors for draw in draws]).T
    assert 0.6 <= brightness.min() < 0.62 and 1.38 < brightness.max() <= 1.4
    assert 0.8 <= contrast.min() < 0.82 and 1.18 < contrast.max() <= 1.2
    assert 0.0 <= saturation.min() < 0.1 and 2.4 < saturation.max() <= 2.5
    assert len({draw.order for draw in draws}) == 6
    draws = [T.draw_color_jitter(rng, (0.0, 0.0, 0.0, 0.1)) for _ in range(300)]
    hue = np.array([draw.factors[3] for draw in draws])
    assert -0.1 <= hue.min() < -0.095 and 0.095 < hue.max() <= 0.1
    assert len({draw.order for draw in draws}) == 24
    # No hue asked for: nothing more is drawn than before.
    first, second = np.random.default_rng(1), np.random.default_rng(1)
    assert T.draw_color_jitter(first, (0.4, 0.4, 0.4, 0.0)) == T.draw_color_jitter(second, (0.4, 0.4, 0.4))


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_against_its_sum(sigma):
    clip = torch.randint(0, 256, (3, 2, 6, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    side = math.exp(-1 / (2 * sigma**2))
    weights = [side / (1 + 2 * side), 1 / (1 + 2 * side), side / (1 + 2 * side)]
    expected = torch.zeros(clip.shape)
    for channel, frame, y, x in np.ndindex(*clip.shape):
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                # Mirrored at the borders, without repeating them: row -1 is row 1.
                near_y, near_x = abs(y + dy), abs(x + dx)
                near_y, near_x = min(near_y, 10 - near_y), min(near_x, 12 - near_x)
                value = float(clip[channel, frame, near_y, near_x])
                expected[channel, frame, y, x] += weights[dy + 1] * weights[dx + 1] * value
    assert (T.gaussian_blur(clip, sigma).float() - expected).abs().max() <= 1.5  # two roundings
