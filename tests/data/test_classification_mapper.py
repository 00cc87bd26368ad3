"""From a labelled video to clips: which frames, which crops, in which order."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch

from modist_det.config import get_cfg
from modist_det.data.classification import ClassificationMapper
from modist_det.data.datasets import VideoRecord
from modist_det.utils.errors import UserError
from modist_det.video.info import Timing, VideoInfo
from modist_det.video.reader import VideoError, probe


@pytest.fixture
def video(encode, tmp_path):
    """``video(num_frames, rate=30, ...)`` -> record of a 96x64 file whose frames carry their numbers."""

    def make(num_frames, rate=30, **part):
        path = encode(tmp_path / f"{num_frames}_{rate}.mp4", num_frames=num_frames, rate=rate)
        return VideoRecord(7, "clip", str(path), labels=(2,), **part)

    return make


def mapper(is_train=False, *, train=None, **changes):
    """Of 4 frames, 2 apart, of short side 64; ``train``: keys of ``INPUT`` for the augmentation."""
    settings = {"num_frames": 4, "sampling_rate": 2, "min_size_test": 64, "num_views": 1, "num_crops": 1}
    if is_train:
        cfg = get_cfg()
        keys = {"MIN_SIZE_TRAIN": [64, 64], "CROP_SIZE": 64, "RANDOM_FLIP": 0.0, **(train or {})}
        cfg.merge_from_list([item for key, value in keys.items() for item in (f"INPUT.{key}", value)])
        settings["augmentation"] = ClassificationMapper.from_config(cfg, is_train=True).augmentation
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
        train={
            "CROP_SIZE": 32,
            "MIN_SIZE_TRAIN": [40, 50],
            "RESIZED_CROP": resized_crop,
            "COLOR_JITTER.PROB": 0.5,
            "GRAYSCALE_PROB": 0.3,
            "RANDOM_FLIP": 0.5,
        },
    )
    record = video(28)
    samples = [a_mapper(record, np.random.default_rng(seed))["video"] for seed in (0, 0, 1)]
    assert samples[0].shape == (3, 4, 32, 32) and samples[0].dtype == torch.uint8
    assert torch.equal(samples[0], samples[1]) and not torch.equal(samples[0], samples[2])


def test_flip_mirrors_every_frame(video):
    record = video(28)
    plain, flipped = (
        mapper(is_train=True, train={"RANDOM_FLIP": p})(record, np.random.default_rng(3))["video"]
        for p in (0.0, 1.0)
    )
    assert torch.equal(plain.flip(-1), flipped)


def test_impossible_settings():
    with pytest.raises(UserError, match="INPUT.CROP_SIZE 64 does not fit into clips of short side 48"):
        mapper(is_train=True, train={"MIN_SIZE_TRAIN": [48, 64]})
    with pytest.raises(UserError, match=r"INPUT.MIN_SIZE_TRAIN is \[64, 48\]"):
        mapper(is_train=True, train={"MIN_SIZE_TRAIN": [64, 48]})
    with pytest.raises(UserError, match="TEST.NUM_SPATIAL_CROPS is 2"):
        mapper(num_crops=2)


def test_segments(video, read_number):
    # 40 frames in 4 parts: d = 39 / 4 = 9.75, bounds 0, 10, 20 (19.5 to even), 29, 39; middles 5, 15, 24, 34
    record = video(40)
    assert shown(record, mapper(sampling="segments"), read_number) == [5, 15, 24, 34]
    drawn = np.array(
        [shown(record, mapper(is_train=True, sampling="segments"), read_number, s) for s in range(60)]
    )
    assert drawn.min(axis=0).tolist() >= [0, 10, 20, 29] and (drawn.max(axis=0) <= [10, 20, 29, 39]).all()
    assert len({tuple(row) for row in drawn.tolist()}) > 30
    # fewer frames than parts
    assert shown(video(3), mapper(sampling="segments"), read_number) == [0, 0, 1, 2]
    with pytest.raises(UserError, match="NUM_ENSEMBLE_VIEWS is 10, but with INPUT.SAMPLING segments"):
        mapper(sampling="segments", num_views=10)
    with pytest.raises(UserError, match="INPUT.SAMPLING is 'frames'; known: clip, span, segments"):
        mapper(sampling="frames")


def test_span_is_what_pyslowfast_samples(video, read_number):
    """``linspace(start, start + span - 1, frames)``, truncated, with starts as for clips."""
    # span 8, delta 20, starts 0 and 10; frames 7/3 apart: 0, 2.33, 4.67, 7
    a_mapper = mapper(sampling="span", num_views=2)
    assert shown(video(28), a_mapper, read_number) == [0, 2, 4, 7, 10, 12, 14, 17]
    assert shown(video(5), mapper(sampling="span"), read_number) == [0, 2, 4, 4]
    # 8 x 8 of 300 frames: view 5 of 10 starts at 236 * 5 / 10.
    kinetics = ClassificationMapper(5, sampling="span", num_views=10, num_crops=1)
    info = VideoInfo(96, 64, "h264", 0, lambda: Timing(300, Fraction(30), 10.0))
    numbers = kinetics.frame_numbers(VideoRecord(0, "v", "v.mp4"), info, np.random.default_rng(0))
    assert numbers[40:48].tolist() == [118, 127, 136, 145, 154, 163, 172, 181]


def test_repeats_are_augmented_anew_after_one_decoding(video):
    record = video(28)
    a_mapper = mapper(is_train=True, train={"CROP_SIZE": 32}, repeats=3)
    clips = a_mapper(record, np.random.default_rng(0))["video"]
    assert clips.shape == (3, 3, 4, 32, 32)
    assert not torch.equal(clips[0], clips[1])
    # All are crops of the same frames.
    frames = a_mapper.decode(record, np.random.default_rng(0))
    windows = frames.unfold(2, 32, 1).unfold(3, 32, 1).permute(2, 3, 0, 1, 4, 5).flatten(0, 1)
    for clip in clips:
        assert (windows == clip).flatten(1).all(1).any()


def test_rand_augment_and_erasing_treat_all_frames_alike():
    still = torch.randint(0, 256, (3, 1, 64, 64), dtype=torch.uint8).expand(3, 4, 64, 64)
    drawn = {"RAND_AUGMENT.NUM_OPS": 3, "RAND_AUGMENT.MAGNITUDE": 12, "ERASE_PROB": 1.0}
    a_mapper = mapper(is_train=True, train={"CROP_SIZE": 48, **drawn})
    plain = mapper(is_train=True, train={"CROP_SIZE": 48})
    record = VideoRecord(0, "v", "v.mp4", labels=(0,))
    changed = 0
    for seed in range(10):
        clip = a_mapper.transform(record, still, np.random.default_rng(seed))["video"]
        assert clip.shape == (3, 4, 48, 48) and clip.dtype == torch.uint8
        assert (clip == clip[:, :1]).all()
        again = a_mapper.transform(record, still, np.random.default_rng(seed))["video"]
        assert torch.equal(clip, again)
        unchanged = plain.transform(record, still, np.random.default_rng(seed))["video"]
        changed += not torch.equal(clip, unchanged)
    assert changed == 10


def test_erasing_fills_a_rectangle_of_the_wanted_size():
    black = torch.zeros(3, 4, 64, 64, dtype=torch.uint8)
    a_mapper = mapper(is_train=True, train={"ERASE_PROB": 1.0})
    record = VideoRecord(0, "v", "v.mp4", labels=(0,))
    shares = []
    for seed in range(40):
        clip = a_mapper.transform(record, black, np.random.default_rng(seed))["video"]
        erased = (clip != 0).any(dim=(0, 1))
        assert int(erased.any(0).sum()) * int(erased.any(1).sum()) == pytest.approx(
            int(erased.sum()), rel=0.01
        )
        shares.append(float(erased.float().mean()))
    assert min(shares) > 0.015 and max(shares) < 0.35


def test_random_numbers_of_torch_are_left_alone():
    state = torch.random.get_rng_state()
    record = VideoRecord(0, "v", "v.mp4", labels=(0,))
    clip = torch.zeros(3, 4, 64, 64, dtype=torch.uint8)
    mapper(is_train=True, train={"RAND_AUGMENT.NUM_OPS": 2}).transform(record, clip, np.random.default_rng(0))
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    "clip",
    [
        "kinetics/SOX5yA1l24A.mp4",
        "ucf101/v_SoccerJuggling_g23_c01.avi",
        "hmdb51/hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi",
    ],
)
def test_views_of_real_clips_are_the_frames_of_a_plain_decoder(real_data, decode_all, clip):
    path = real_data / clip
    a_mapper = mapper(num_views=10, num_crops=3, sampling_rate=8)
    clips = a_mapper(VideoRecord(0, "v", str(path), labels=(0,)), np.random.default_rng(0))["video"]
    assert clips.shape == (30, 3, 4, 64, 64)
    every = decode_all(path)
    fps = float(probe(path).rate)
    delta = max(len(every) - 4 * 8 * fps / 30, 0)
    scaled = {}
    for view in (0, 4, 9):
        for frame in range(4):
            number = min(int(delta * view / 10 + frame * 8 * fps / 30), len(every) - 1)
            if number not in scaled:
                picture = every[number]
                height, width = picture.shape[:2]
                size = (
                    (round(width * 64 / height), 64) if width > height else (64, round(height * 64 / width))
                )
                scaled[number] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            left = -(-(scaled[number].shape[1] - 64) // 2)
            expected = scaled[number][:64, left : left + 64].astype(int)
            shown = clips[3 * view + 1, :, frame].permute(1, 2, 0).numpy().astype(int)
            # Another scaler: the mean of the differences says whether it is this frame and this place.
            assert np.abs(shown - expected).mean() < 4, (view, frame)
