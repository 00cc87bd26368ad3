"""Two clips of one video, and lists of videos."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from modist_det.data.augmentation import (
    Augmentation,
    ResizedCrop,
    Sometimes,
    blur,
    color_jitter,
    flip,
    grayscale,
)
from modist_det.data.catalog import DatasetCatalog
from modist_det.data.datasets.unlabelled import VideoFolder, VideoRecord
from modist_det.data.pretraining import PretrainingMapper
from modist_det.motion.build import build_motion_source
from modist_det.utils.errors import UserError
from modist_det.video.reader import VideoError, open_video
from modist_det.video.sampling import draw_clips


def test_clips_are_apart_as_asked_and_inside_the_video():
    rng = np.random.default_rng(0)
    starts = np.array([draw_clips(20.0, 2.0, (0.5, 10.0), 2, rng) for _ in range(2000)])
    apart = np.abs(starts[:, 1] - starts[:, 0])
    assert apart.min() >= 0.5 and apart.max() <= 10.0
    assert starts.min() >= 0 and starts.max() <= 18.0
    assert apart.mean() == pytest.approx(5.25, abs=0.2)
    place = starts.min(axis=1) / (18.0 - apart)  # of both clips together, uniform over the video
    assert place.mean() == pytest.approx(0.5, abs=0.03) and place.std() == pytest.approx(12**-0.5, abs=0.02)
    assert (starts[:, 0] < starts[:, 1]).mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("duration", "apart"),
    [(2.3, 0.3), (2.0, 0.0), (1.0, 0.0)],
    ids=["less than the shift", "one clip", "shorter"],
)
def test_short_videos_are_used_as_far_as_they_reach(duration, apart):
    starts = draw_clips(duration, 2.0, (0.5, 10.0), 2, np.random.default_rng(0))
    assert sorted(starts) == pytest.approx([0.0, apart])


@pytest.mark.parametrize("number", [1, 3])
def test_other_numbers_of_clips_keep_the_distance_between_neighbours(number):
    rng = np.random.default_rng(0)
    starts = np.array([draw_clips(20.0, 2.0, (0.5, 10.0), number, rng) for _ in range(500)])
    assert starts.shape == (500, number) and starts.min() >= 0 and starts.max() <= 18.0
    apart = np.abs(np.diff(starts, axis=1))
    assert number == 1 or (apart.min() >= 0.5 and 8.0 < apart.max() <= 9.0)  # at most half of the 18 s


def mapper(
    motion=None,
    area=(0.3, 1.0),
    aspect=(0.5, 2.0),
    flip_prob=0.0,
    jitter_prob=0.0,
    grayscale_prob=0.0,
    blur_prob=0.0,
    sigma=(0.1, 2.0),
    **settings,
):
    steps = (
        Sometimes(flip_prob, flip),
        Sometimes(jitter_prob, partial(color_jitter, ranges=(0.4, 0.4, 0.4, 0.0))),
        Sometimes(grayscale_prob, grayscale),
        Sometimes(blur_prob, partial(blur, sigma=sigma)),
    )
    augmentation = Augmentation(ResizedCrop(32, 48, area, aspect), steps)
    timing = {"num_frames": 4, "sampling_rate": 6, "target_fps": 30}
    return PretrainingMapper(motion=motion, augmentation=augmentation, **timing, **settings)


@pytest.fixture
def record(tiny_puppets):
    return DatasetCatalog.get(str(tiny_puppets / "train.yaml")).video_records()[3]


def test_shapes_and_numbers(record):
    sample = mapper(build_motion_source("edges", short_side=48), motion_frames=8)(
        record, np.random.default_rng(0)
    )
    assert sample["video"].shape == (2, 3, 4, 32, 32) and sample["video"].dtype == torch.uint8
    assert sample["motion"].shape == (2, 1, 8, 32, 32) and sample["motion"].dtype == torch.uint8
    assert sample["video_number"].item() == record.number == 3
    assert "motion" not in mapper()(record, np.random.default_rng(0))


def test_motion_shares_time_crop_and_flip_with_rgb(record):
    """With the difference of frames as motion, its maps can be worked out from the frames alone."""
    source = build_motion_source("difference", max_frame_side=48, gap_seconds=0.2)
    whole = {"area": (1.0, 1.0), "aspect": (4 / 3, 4 / 3)}
    made = mapper(source, motion_frames=4, flip_prob=1.0, **whole)(record, np.random.default_rng(5))
    starts = draw_clips(3.0, 0.8, (0.5, 10.0), 2, np.random.default_rng(5))
    with open_video(record.video) as video:
        for view, start in enumerate(starts):
            numbers = np.round((start + np.arange(4) * 0.2 + 1e-9) * 10).astype(int)
            frames = video.frames_at_indices(numbers).astype(np.float64)
            earlier = video.frames_at_indices(np.maximum(numbers - 2, 0)).astype(np.float64)
            expected = np.abs((frames - earlier) @ [0.299, 0.587, 0.114])[:, :, ::-1].copy()
            scaled = torch.nn.functional.interpolate(
                torch.from_numpy(expected).unsqueeze(1), (32, 32), mode="bilinear", antialias=True
            )
            difference = (made["motion"][view].permute(1, 0, 2, 3).double() - scaled).abs()
            assert difference.max() < 2


class RedIsMotion:
    """A motion source whose maps are the red channel of the frames at their times."""

    kind, channels = "edges", 1

    def frames_and_maps(self, video, frame_seconds, motion_seconds):
        red = video.frames_at_times(motion_seconds)[..., 0]
        return video.frames_at_times(frame_seconds), torch.from_numpy(red.copy()).unsqueeze(1)


def test_each_crop_and_flip_is_that_of_the_rgb_clip(record):
    make = mapper(RedIsMotion(), motion_frames=8, flip_prob=0.5)
    windows = set()
    for seed in range(6):
        sample = make(record, np.random.default_rng(seed))
        # Every other motion frame is at the time of an RGB frame.
        assert torch.equal(sample["motion"][:, 0, ::2], sample["video"][:, 0])
        windows |= {clip.float().mean().item() for clip in sample["video"]}
    assert len(windows) == 12


def test_colours_are_changed_as_asked_and_alike_in_all_frames(record):
    """Clips of one frame, shown four times: whatever is drawn for a clip keeps its frames equal."""

    def clips(**changes):
        make = mapper(area=(1.0, 1.0), aspect=(4 / 3, 4 / 3), **changes)
        make.frame_times = make.frame_times * 0
        video = make(record, np.random.default_rng(1))["video"].double()
        assert torch.equal(video, video[:, :, :1].expand_as(video))
        return video[:, :, 0]

    def gray(pictures):
        return torch.equal(pictures[:, 0], pictures[:, 1]) and torch.equal(pictures[:, 0], pictures[:, 2])

    def roughness(pictures):
        return (pictures[..., 1:] - pictures[..., :-1]).abs().mean()

    plain, jittered = clips(), clips(jitter_prob=1.0)
    assert not gray(plain)
    assert gray(clips(grayscale_prob=1.0)) and not gray(jittered)
    assert (jittered - plain).abs().mean() > 3
    blurred = clips(blur_prob=1.0, sigma=(1.5, 2.0))
    assert not gray(blurred) and roughness(blurred) < 0.9 * roughness(plain)
    assert (blurred.mean() - plain.mean()).abs() < 0.5


def test_the_same_generator_makes_the_same_sample(record):
    augmented = {"flip_prob": 0.5, "jitter_prob": 0.8, "grayscale_prob": 0.2, "blur_prob": 0.5}
    first, again, other = (mapper(**augmented)(record, np.random.default_rng(s))["video"] for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_folder_lists_its_videos_with_subfolders(tmp_path):
    for name in ("b/two.mp4", "one.AVI", "b/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    records = VideoFolder("mine", tmp_path).video_records()
    assert [(r.number, r.video_id, r.video) for r in records] == [
        (0, "b/two", str(tmp_path / "b/two.mp4")),
        (1, "one", str(tmp_path / "one.AVI")),
    ]
    (tmp_path / "set.yaml").write_text("format: videos\nvideos: b\n")
    assert [r.id for r in DatasetCatalog.get(tmp_path / "set.yaml").video_records()] == ["two"]


def test_a_folder_without_videos_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no video"):
        VideoFolder("mine", tmp_path).video_records()
    with pytest.raises(UserError, match="does not exist"):
        VideoFolder("mine", tmp_path / "nowhere").video_records()


def test_impossible_settings_are_named():
    with pytest.raises(UserError, match="INPUT.CLIP_SHIFT"):
        mapper(shift=(2.0, 1.0))
    with pytest.raises(UserError, match="MOTION.NUM_FRAMES"):
        mapper(motion_frames=0)


def test_clips_lie_inside_the_part_that_a_record_names(tmp_path, encode, read_number):
    """50 frames a second; frame n spells n."""
    path = str(encode(tmp_path / "numbers.mp4", num_frames=200, rate=50))
    record = VideoRecord(7, "numbers@1", path, start=1.0, end=3.0)
    make = mapper(NumbersAreMotion(read_number), motion_frames=4, shift=(0.5, 10.0))
    make.span = make.motion_span = 0.4
    make.frame_times = make.motion_times = np.arange(4) * 0.1
    seen = np.concatenate(
        [make(record, np.random.default_rng(seed))["motion"][:, 0, :, 0, 0] for seed in range(40)]
    )
    assert seen.min() >= 50 and seen.max() <= 150
    assert seen.min() < 60 and seen.max() > 140
    assert make(record, np.random.default_rng(0))["video_number"] == 7
    with pytest.raises(VideoError, match="ends before second 5, where the part late begins"):
        make(VideoRecord(0, "late", path, start=5.0, end=6.0), np.random.default_rng(0))


@pytest.fixture
def numbers(tmp_path, encode):
    """200 frames, 50 a second, each of which spells its number."""
    return VideoRecord(0, "numbers", str(encode(tmp_path / "numbers.mp4", num_frames=200, rate=50)))


def windows(make, record, read_number, seeds=range(30)):
    """First and last frame of clip and maps, in seconds: (N, 2) each."""
    source = NumbersAreMotion(read_number)
    make.motion = source
    clips, maps = [], []
    for seed in seeds:
        maps += make(record, np.random.default_rng(seed))["motion"][:, 0, ::3, 0, 0].tolist()
        clips += source.asked
        source.asked = []
    return np.array(clips), np.array(maps) / 50


@pytest.mark.parametrize(("rate", "span"), [(0.0, 0.8), (3.0, 0.4), (12.0, 1.6)])
def test_maps_may_have_a_spacing_of_their_own(numbers, read_number, rate, span):
    """Four frames 0.2 s apart, and four maps over ``span``."""
    make = mapper(RedIsMotion(), motion_frames=4, motion_rate=rate)
    clips, maps = windows(make, numbers, read_number)
    np.testing.assert_allclose(maps[:, 0], clips[:, 0], atol=0.02)
    np.testing.assert_allclose(maps[:, 1] - maps[:, 0], span * 3 / 4, atol=0.03)
    assert maps.max() + span / 4 <= 4 and clips.max() + 0.2 <= 4  # neither reaches beyond the end


def test_maps_may_be_at_another_time_than_their_clip(numbers, read_number):
    make = mapper(RedIsMotion(), motion_frames=4, motion_shift=(0.5, 1.5))
    clips, maps = windows(make, numbers, read_number, range(60))
    apart, room = maps[:, 0] - clips[:, 0], 3.2 - clips[:, 0]
    free = room > 1.52
    assert apart[free].min() >= 0.48 and apart[free].max() <= 1.52
    assert apart[free].min() < 0.6 and apart[free].max() > 1.4 and free.sum() > 40
    assert maps.max() + 0.2 <= 4.001  # as far as the video reaches
    np.testing.assert_array_less(-0.03, np.minimum(1.5, room) - apart)
    make = mapper(RedIsMotion(), motion_frames=4, motion_shift=(-1.0, -1.0))
    clips, maps = windows(make, numbers, read_number)
    np.testing.assert_allclose(maps[:, 0], np.maximum(clips[:, 0] - 1.0, 0), atol=0.02)
    # Not before its part.
    clips, maps = windows(make, replace(numbers, start=1.0, end=3.0), read_number)
    np.testing.assert_allclose(maps[:, 0], np.maximum(clips[:, 0] - 1.0, 1.0), atol=0.02)


class NumbersAreMotion:
    """A motion source whose maps hold the number that each frame spells."""

    kind, channels = "edges", 1

    def __init__(self, read_number):
        self.read_number = read_number
        self.asked = []  # first and last second of each clip

    def frames_and_maps(self, video, frame_seconds, motion_seconds):
        self.asked.append((frame_seconds[0], frame_seconds[-1]))
        frames = video.frames_at_times(motion_seconds)
        maps = [torch.full((1, *frame.shape[:2]), self.read_number(frame)) for frame in frames]
        return video.frames_at_times(frame_seconds), torch.stack(maps).to(torch.uint8)


def test_a_video_that_is_too_short_for_two_clips_is_named_once(record, caplog):
    make = mapper(shift=(2.5, 10.0))  # clips of 0.8 s in videos of 3 s
    for seed in range(3):
        make(record, np.random.default_rng(seed))
    (line,) = caplog.messages
    assert f"{record.id} has 3.00 s" in line and "INPUT.CLIP_SHIFT" in line and "closer together" in line
    caplog.clear()
    mapper(shift=(0.5, 10.0))(record, np.random.default_rng(0))
    assert not caplog.messages
