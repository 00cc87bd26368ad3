"""Keyframe in, clip with boxes and labels out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from modist_det.config import get_cfg
from modist_det.data.augmentation import Augmentation, Crop, Sometimes, color_jitter, flip, grayscale
from modist_det.data.datasets import AVADataset, DetectionRecord
from modist_det.data.mappers import DetectionMapper
from modist_det.puppets.writers import write_video
from modist_det.utils.errors import UserError
from modist_det.video.reader import VideoError

# Two persons: a bright one who does 1 and 3, a dark one who does 2. Edges on whole pixels of 96x64.
BOXES = np.array([[12, 8, 36, 56], [60, 16, 84, 48]], dtype=np.float32) / [96, 64, 96, 64]
ACTIONS = ((1, 3), (2,))
BACKGROUND = 128


@pytest.fixture(scope="module")
def still(tmp_path_factory) -> Path:
    """Two seconds of two persons who stand still."""
    frames = np.full((20, 64, 96, 3), BACKGROUND, dtype=np.uint8)
    frames[:, 8:56, 12:36] = 235
    frames[:, 16:48, 60:84] = 20
    path = tmp_path_factory.mktemp("videos") / "still.mp4"
    write_video(path, frames, fps=10)
    return path


@pytest.fixture(scope="module")
def clock(tmp_path_factory) -> Path:
    """Frame i is gray of value 10 + 8 i; 25 frames at 10 per second."""
    frames = np.empty((25, 32, 48, 3), dtype=np.uint8)
    frames[:] = 10 + 8 * np.arange(25)[:, None, None, None]
    path = tmp_path_factory.mktemp("videos") / "clock.mp4"
    write_video(path, frames, fps=10)
    return path


def record(
    path: Path, time: float = 1.0, boxes: np.ndarray = BOXES, actions=ACTIONS, **kwargs
) -> DetectionRecord:
    return DetectionRecord(
        video_id="v",
        video=str(path),
        second=900 + time,
        time=time,
        fps=kwargs.get("fps", 30.0),
        boxes=boxes.astype(np.float32),
        actions=actions,
        scores=np.ones(len(boxes), dtype=np.float32),
    )


def indices(sample: dict) -> list[int]:
    """Which frames of ``clock`` a clip consists of."""
    means = sample["video"].float().mean(dim=(0, 2, 3))
    return ((means - 10) / 8).round().int().tolist()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- time -------------------------------------------------------------------------------------


def test_frames_lie_around_the_keyframe(clock) -> None:
    # Offsets of 4 frames at stride 6: -12, -6, 0, 6 thirtieths: 0.4 s and 0.2 s before, 0.2 s after.
    mapper = DetectionMapper(3, num_frames=4, sampling_rate=6, target_fps=30, min_size_test=32)
    assert indices(mapper(record(clock, 1.0), rng())) == [6, 8, 10, 12]


def test_frames_may_be_the_middles_of_their_parts(clock) -> None:
    # 2 thirtieths later: -10, -4, 2, 8 of them.
    mapper = DetectionMapper(3, num_frames=4, sampling_rate=6, target_fps=30, sampling="middles")
    np.testing.assert_allclose(mapper.offsets * 30, [-10, -4, 2, 8])


def test_target_fps_says_what_a_frame_is(clock) -> None:
    mapper = DetectionMapper(3, num_frames=4, sampling_rate=2, target_fps=10, min_size_test=32)
    assert indices(mapper(record(clock, 1.0), rng())) == [6, 8, 10, 12]
    mapper = DetectionMapper(3, num_frames=4, sampling_rate=1, target_fps=10, min_size_test=32)
    assert indices(mapper(record(clock, 1.0), rng())) == [8, 9, 10, 11]


@pytest.mark.parametrize(("time", "expected"), [(0.0, [0, 0, 0, 8]), (2.4, [8, 16, 24, 24]), (9.0, [24] * 4)])
def test_edge_frames_repeat(clock, time, expected) -> None:
    mapper = DetectionMapper(3, num_frames=4, sampling_rate=8, target_fps=10, min_size_test=32)
    assert indices(mapper(record(clock, time), rng())) == expected


def test_a_single_frame_is_the_keyframe(clock) -> None:
    mapper = DetectionMapper(3, num_frames=1, sampling_rate=1, target_fps=10, min_size_test=32)
    assert indices(mapper(record(clock, 1.0), rng()))[0] in (9, 10)


def test_frame_folders_run_at_the_records_rate(tmp_path) -> None:
    import cv2

    for i in range(12):
        cv2.imwrite(str(tmp_path / f"v_{i + 1:06d}.jpg"), np.full((32, 48, 3), 10 + 8 * i, dtype=np.uint8))
    mapper = DetectionMapper(3, num_frames=4, sampling_rate=1, target_fps=4, min_size_test=32)
    assert indices(mapper(record(tmp_path, 1.5, fps=4.0), rng())) == [4, 5, 6, 7]


# ---- evaluation -------------------------------------------------------------------------------


def test_evaluation_sample(still) -> None:
    sample = DetectionMapper(4, num_frames=2, sampling_rate=2, min_size_test=128)(record(still), rng())
    video = sample["video"]
    assert video.shape == (3, 2, 128, 192) and video.dtype == torch.uint8 and video.is_contiguous()
    # Pixels of the clip, which is twice as large.
    assert sample["boxes"].dtype == torch.float32
    torch.testing.assert_close(sample["boxes"], torch.tensor([[24.0, 16, 72, 112], [120, 32, 168, 96]]))
    assert (
        sample["labels"].tolist() == [[1, 0, 1, 0], [0, 1, 0, 0]] and sample["labels"].dtype == torch.float32
    )
    assert (sample["id"], sample["video_id"], sample["second"]) == ("v,0901", "v", 901.0)
    assert np.array_equal(sample["original_boxes"], BOXES.astype(np.float32))
    assert sample["original_size"] == (64, 96)


def test_evaluation_keeps_every_person(still) -> None:
    boxes = np.array([[0.5, 0.5, 0.5001, 0.5001], [0, 0, 1, 1]])
    sample = DetectionMapper(1, num_frames=1, min_size_test=64)(
        record(still, boxes=boxes, actions=((), ())), rng()
    )
    assert len(sample["boxes"]) == 2 and sample["boxes"][1].tolist() == [0, 0, 96, 64]
    assert sample["labels"].tolist() == [[0], [0]]


def test_scores_of_persons_only_if_they_are_wanted(still) -> None:
    scored = replace(record(still), scores=np.float32([0.9, 0.5]))
    settings = {"num_frames": 1, "min_size_test": 64}
    assert "person_scores" not in DetectionMapper(4, **settings)(scored, rng())
    sample = DetectionMapper(4, person_scores=True, **settings)(scored, rng())
    assert sample["person_scores"].tolist() == pytest.approx([0.9, 0.5])


def test_evaluation_without_persons(still) -> None:
    sample = DetectionMapper(2, num_frames=1, min_size_test=64)(
        record(still, boxes=BOXES[:0], actions=()), rng()
    )
    assert sample["boxes"].shape == (0, 4) and sample["labels"].shape == (0, 2)


def test_portrait_video_has_its_width_scaled(tmp_path) -> None:
    write_video(tmp_path / "tall.mp4", np.zeros((5, 96, 64, 3), dtype=np.uint8), fps=10)
    sample = DetectionMapper(3, num_frames=1, min_size_test=32)(record(tmp_path / "tall.mp4"), rng())
    assert sample["video"].shape == (3, 1, 48, 32) and sample["original_size"] == (96, 64)


# ---- training ---------------------------------------------------------------------------------


def train_mapper(
    min_size_train=(64, 80), flip_prob=0.5, jitter_prob=0.0, grayscale_prob=0.0, num_frames=2
) -> DetectionMapper:
    ranges = (0.4, 0.4, 0.4, 0.0)
    steps = (
        Sometimes(flip_prob, flip),
        Sometimes(jitter_prob, partial(color_jitter, ranges=ranges)),
        Sometimes(grayscale_prob, grayscale),
    )
    augmentation = Augmentation(Crop(56, *min_size_train), steps)
    return DetectionMapper(3, num_frames=num_frames, sampling_rate=2, augmentation=augmentation)


def test_training_boxes_and_labels_stay_on_their_persons(still) -> None:
    mapper = train_mapper()
    persons = 0
    left_out = 0
    for seed in range(60):
        sample = mapper(record(still), rng(seed))
        assert sample["video"].shape == (3, 2, 56, 56) and sample["video"].is_contiguous()
        assert len(sample["boxes"]) == len(sample["labels"]) == len(sample["original_boxes"]) > 0
        left_out += 2 - len(sample["boxes"])
        for box, labels, original in zip(
            sample["boxes"], sample["labels"], sample["original_boxes"], strict=True
        ):
            is_bright = labels.tolist() == [1, 0, 1]
            assert is_bright or labels.tolist() == [0, 1, 0]
            np.testing.assert_array_equal(original, BOXES[0 if is_bright else 1].astype(np.float32))
            gray = sample["video"].float().mean(dim=(0, 1))
            person = gray > 180 if is_bright else gray < 75
            columns, rows = person.any(dim=0).nonzero().flatten(), person.any(dim=1).nonzero().flatten()
            drawn = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            np.testing.assert_allclose(box, drawn, atol=1.6)
            persons += 1
    assert persons > 60 and left_out > 5


def test_flip_probability(still) -> None:
    def bright_is_left(sample) -> bool:
        gray = sample["video"].float().mean(dim=(0, 1, 2))
        return bool(gray[:28].mean() > gray[28:].mean())

    def share(flip_prob: float) -> float:
        mapper = train_mapper(flip_prob=flip_prob, min_size_train=(56, 56), num_frames=1)
        return np.mean([bright_is_left(mapper(record(still), rng(seed))) for seed in range(40)])

    assert share(0.0) == 1.0 and share(1.0) == 0.0 and 0.25 < share(0.5) < 0.75


def test_a_crop_always_has_somebody(still) -> None:
    # A person in the corner that few random crops see: nearly every draw ends in the crop around the person.
    corner = np.array([[0.0, 0.0, 0.05, 0.05]])
    mapper = train_mapper(min_size_train=(200, 200), num_frames=1)
    for seed in range(5):
        sample = mapper(record(still, boxes=corner, actions=((1,),)), rng(seed))
        width, height = (sample["boxes"][0, 2:] - sample["boxes"][0, :2]).tolist()
        assert (width, height) == (pytest.approx(15), pytest.approx(10))
        assert sample["labels"].tolist() == [[1, 0, 0]]


def test_a_person_larger_than_the_crop_is_kept(still) -> None:
    sample = train_mapper(flip_prob=0)(
        record(still, boxes=np.array([[0.0, 0, 1, 1]]), actions=((2,),)), rng()
    )
    assert sample["boxes"].tolist() == [[0, 0, 56, 56]]


def test_a_sample_depends_on_the_generator_only(still) -> None:
    mapper = train_mapper(jitter_prob=0.5, grayscale_prob=0.5)
    first, again, other = (mapper(record(still), rng(seed)) for seed in (3, 3, 4))
    assert torch.equal(first["video"], again["video"]) and torch.equal(first["boxes"], again["boxes"])
    assert not torch.equal(first["video"], other["video"])


def test_colour_changes_are_equal_over_time(tmp_path) -> None:
    frames = np.empty((10, 64, 64, 3), dtype=np.uint8)
    frames[:] = (200, 90, 40)
    write_video(tmp_path / "flat.mp4", frames, fps=10)
    one = record(tmp_path / "flat.mp4", 0.5, np.array([[0.0, 0, 1, 1]]), ((1,),))
    jittered = train_mapper(jitter_prob=1.0, num_frames=4)(one, rng())["video"]
    plain = train_mapper(num_frames=4)(one, rng())["video"]
    assert (jittered.float().mean(dim=(2, 3)) - plain.float().mean(dim=(2, 3))).abs().max() > 5
    assert (jittered[:, 1:].int() - jittered[:, :1].int()).abs().max() <= 3
    gray = train_mapper(grayscale_prob=1.0)(one, rng())["video"]
    assert torch.equal(gray[0], gray[1]) and torch.equal(gray[0], gray[2])


# ---- settings ---------------------------------------------------------------------------------


def test_from_config() -> None:
    cfg = get_cfg()
    cfg.MODEL.NUM_CLASSES = 7
    cfg.INPUT.NUM_FRAMES, cfg.INPUT.SAMPLING_RATE, cfg.INPUT.TARGET_FPS = 4, 3, 15.0
    mapper = DetectionMapper.from_config(cfg, is_train=True)
    assert mapper.num_classes == 7
    assert mapper.augmentation.crop == Crop(224, 256, 320)
    assert [(step.prob, getattr(step.step, "func", step.step)) for step in mapper.augmentation.steps] == [
        (0.5, flip),
        (0.0, color_jitter),
        (0.0, grayscale),
    ]
    np.testing.assert_allclose(mapper.offsets, [-0.4, -0.2, 0.0, 0.2])
    assert DetectionMapper.from_config(cfg, is_train=False).augmentation is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("CROP_SIZE", 300, "CROP_SIZE 300 does not fit into clips of short side 256"),
        ("MIN_SIZE_TRAIN", [320, 256], r"MIN_SIZE_TRAIN is \[320, 256\]"),
        ("MIN_SIZE_TRAIN", [256], r"MIN_SIZE_TRAIN is \[256\]"),
        ("NUM_FRAMES", 0, "NUM_FRAMES 0"),
        ("TARGET_FPS", 0.0, "TARGET_FPS 0.0"),
        ("SAMPLING", "segments", "SAMPLING is 'segments'; known for detection: clip, middles"),
    ],
)
def test_impossible_settings(key, value, message) -> None:
    cfg = get_cfg()
    cfg.INPUT[key] = value
    with pytest.raises(UserError, match=message):
        DetectionMapper.from_config(cfg, is_train=True)


def test_unreadable_video_is_a_video_error(tmp_path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(VideoError, match="text.mp4"):
        DetectionMapper(3)(record(tmp_path / "text.mp4"), rng())


def test_all_keyframes_of_real_clips(real_data) -> None:
    folder = real_data / "ucf101_24"
    dataset = AVADataset(
        "ucf",
        [folder / "videos", real_data / "ucf101"],
        label_map=folder / "label_map.pbtxt",
        annotations=folder / "gt_ava_format.csv",
    )
    records = dataset.records()
    mapper = DetectionMapper(dataset.metadata.num_classes, num_frames=2, min_size_test=64)
    samples = [mapper(one, rng()) for one in records]
    rows = sum(len(sample["boxes"]) for sample in samples)
    assert len(samples) == 74 and rows == 96
    for sample in samples:
        height, width = sample["video"].shape[-2:]
        assert min(height, width) == 64
        assert (sample["labels"].sum(dim=1) == 1).all()
        assert (sample["boxes"] >= 0).all() and (sample["boxes"] <= torch.tensor([width, height] * 2)).all()
