"""From a labelled video to clips: which frames, which crops, in which order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modist_det.data.classification import ClassificationMapper
from modist_det.data.datasets import VideoRecord
from modist_det.data.video import VideoError
from modist_det.utils.errors import UserError


@pytest.fixture
def video(encode, tmp_path):
    """``video(num_frames, rate=30, ...)`` -> record of a 96x64 file whose frames carry their numbers."""

    def make(num_frames, rate=30, **part):
        path = encode(tmp_path / f"{num_frames}_{rate}.mp4", num_frames=num_frames, rate=rate)
        return VideoRecord(7, "clip", str(path), labels=(2,), **part)

    return make


def mapper(is_train=False, **changes):
    settings = {"num_frames": 4, "sampling_rate": 2, "min_size_train": (64, 64), "min_size_test": 64}
    settings |= {"crop_size": 64, "flip_prob": 0.0, "num_views": 1, "num_crops": 1, "is_train": is_train}
    return ClassificationMapper(5, **{**settings, **changes})


def shown(record, a_mapper, read_number, seed=0):
    """Numbers of the frames decoded, of all views one after the other."""
    frames = a_mapper.decode(record, np.random.default_rng(seed))
    return [read_number(frame.permute(1, 2, 0).numpy()) for frame in frames.unbind(1)]


# span = 4 frames x 2 = 8 frames at 30 a second
@pytest.mark.parametrize(
    ("total", "rate", "views", "expected"),
    [
        # delta = 28 - 8 = 20; views start at 0, 20/3 = 6.67, 13.33
        (28, 30, 3, [0, 2, 4, 6, 6, 8, 10, 12, 13, 15, 17, 19]),
        # exactly one clip long: delta 0, every view is the same
        (8, 30, 2, [0, 2, 4, 6, 0, 2, 4, 6]),
        # shorter: the last frame is repeated
        (5, 30, 2, [0, 2, 4, 4, 0, 2, 4, 4]),
        # at 15 a second the clip spans 4 frames with a stride of 1: delta = 6, starts 0 and 3
        (10, 15, 2, [0, 1, 2, 3, 3, 4, 5, 6]),
    ],
    ids=["long", "exact", "short", "half rate"],
)
def test_frames_of_the_views(video, read_number, total, rate, views, expected):
    assert shown(video(total, rate), mapper(num_views=views), read_number) == expected


def test_one_view_is_the_beginning(video, read_number):
    assert shown(video(28), mapper(), read_number) == [0, 2, 4, 6]


def test_views_of_a_part(video, read_number):
    # Seconds 0.5 to 1.0 are frames 15 to 29: 15 frames, delta = 7, starts 0 and 3.5.
    part = video(40, start=0.5, end=1.0)
    assert shown(part, mapper(num_views=2), read_number) == [15, 17, 19, 21, 18, 20, 22, 24]
    # An end past that of the video: 40 - 36 = 4 frames.
    part = video(40, start=1.2, end=9.0)
    assert shown(part, mapper(), read_number) == [36, 38, 39, 39]
    with pytest.raises(VideoError, match="it ends before second 2, where the part clip begins"):
        mapper()(video(40, start=2.0, end=3.0), np.random.default_rng(0))


def test_views_and_crops_are_cut_from_one_decoding(video):
    record = video(28)
    rng = np.random.default_rng(0)
    sample = mapper(num_views=2, num_crops=3)(record, rng)
    clips = sample["video"]
    assert clips.shape == (6, 3, 4, 64, 64) and clips.dtype == torch.uint8 and clips.is_contiguous()
    frames = mapper(num_views=2).decode(record, rng)  # (3, 8, 64, 96)
    for view in range(2):
        for crop, left in enumerate((0, 16, 32)):
            expected = frames[:, 4 * view : 4 * view + 4, :, left : left + 64]
            assert torch.equal(clips[3 * view + crop], expected)
    assert torch.equal(mapper(num_views=2)(record, rng)["video"], clips[[1, 4]])
    assert sample["labels"].tolist() == [0, 0, 1, 0, 0]
    assert (int(sample["video_number"]), sample["id"]) == (7, "clip")


def test_training_clips_begin_anywhere(video, read_number):
    record, a_mapper = video(28), mapper(is_train=True)
    starts = set()
    for seed in range(150):
        first, *others = shown(record, a_mapper, read_number, seed)
        assert others == [first + 2, first + 4, first + 6]
        starts.add(first)
    assert starts == set(range(20))  # floor of [0, 20)


@pytest.mark.parametrize("resized_crop", [False, True])
def test_training_samples(video, resized_crop):
    a_mapper = mapper(
        is_train=True,
        crop_size=32,
        min_size_train=(40, 50),
        resized_crop=resized_crop,
        jitter_prob=0.5,
        grayscale_prob=0.3,
        flip_prob=0.5,
    )
    record = video(28)
    samples = [a_mapper(record, np.random.default_rng(seed))["video"] for seed in (0, 0, 1)]
    assert samples[0].shape == (3, 4, 32, 32) and samples[0].dtype == torch.uint8
    assert torch.equal(samples[0], samples[1]) and not torch.equal(samples[0], samples[2])


def test_flip_mirrors_every_frame(video):
    record = video(28)
    plain, flipped = (
        mapper(is_train=True, min_size_train=(64, 64), flip_prob=p)(record, np.random.default_rng(3))["video"]
        for p in (0.0, 1.0)
    )
    assert torch.equal(plain.flip(-1), flipped)


def test_impossible_settings():
    with pytest.raises(UserError, match="INPUT.CROP_SIZE 64 does not fit into clips of short side 48"):
        mapper(is_train=True, min_size_train=(48, 64))
    with pytest.raises(UserError, match=r"INPUT.MIN_SIZE_TRAIN is \[64, 48\]"):
        mapper(is_train=True, min_size_train=(64, 48))
    with pytest.raises(UserError, match="TEST.NUM_SPATIAL_CROPS is 2"):
        mapper(num_crops=2)
