"""What the pretraining task decides from data and settings."""

from __future__ import annotations

import pytest

from modist_det.config import get_cfg
from modist_det.data.augmentation import ResizedCrop, blur, flip, grayscale
from modist_det.tasks import build_task
from modist_det.utils.errors import UserError


@pytest.fixture
def complete(tiny_actions, monkeypatch):
    """``complete(KEY, VALUE, ...)`` -> the task and its completed config."""
    monkeypatch.setenv("MODIST_DATASETS", str(tiny_actions))

    def make(*overrides):
        cfg = get_cfg()
        cfg.merge_from_list(["TASK", "pretraining", "MODEL.META_ARCHITECTURE", "MoDist", *overrides])
        task = build_task(cfg)
        task.complete_config(cfg)
        return task, cfg

    return make


@pytest.mark.parametrize(
    ("kind", "mean"),
    [("edges", [0.0] * 3), ("magnitude", [0.0] * 3), ("difference", [0.0] * 3), ("flow", [128 / 255] * 2)],
)
def test_what_does_not_move_is_zero_to_the_motion_pathway(complete, kind, mean):
    _, cfg = complete("MOTION.KIND", kind)
    assert mean == cfg.MODEL.MODIST.MOTION_MEAN


@pytest.mark.parametrize(("method", "section"), [("BYOL", "BYOL"), ("SimCLR", "SIMCLR")])
def test_other_methods_say_whether_they_use_motion(complete, method, section):
    choose = ("MODEL.META_ARCHITECTURE", method)
    assert not complete(*choose)[1].MOTION.ENABLED
    cross = (*choose, f"MODEL.{section}.CROSS_WEIGHT", 1.0, "MOTION.KIND", "flow")
    cfg = complete(*cross)[1]
    assert cfg.MOTION.ENABLED and cfg.MODEL[section].MOTION_MEAN == [128 / 255] * 2
    with pytest.raises(
        UserError, match=f"MODEL.{section} has terms with motion.*MODEL.{section}.CROSS_WEIGHT"
    ):
        complete(*cross, "MOTION.ENABLED", False)


def test_motion_is_read_only_where_a_term_uses_it(complete):
    assert complete()[1].MOTION.ENABLED
    assert not complete("MODEL.MODIST.CROSS_WEIGHT", 0)[1].MOTION.ENABLED
    assert complete("MODEL.MODIST.CROSS_WEIGHT", 0, "MODEL.MODIST.MOTION_WEIGHT", 1)[1].MOTION.ENABLED


def test_videos_are_numbered_through_all_data_sets(complete):
    names = ["puppets_actions_train", "puppets_actions_test"]
    task, cfg = complete("DATASETS.TRAIN", names)
    records, _ = task.train_data(cfg)
    assert [record.number for record in records] == list(range(36))


def test_every_setting_reaches_the_mapper(complete):
    changes = {
        "INPUT.NUM_FRAMES": 4,
        "INPUT.SAMPLING_RATE": 3,
        "INPUT.TARGET_FPS": 12.0,
        "INPUT.CROP_SIZE": 40,
        "INPUT.MIN_SIZE_TRAIN": [50, 60],
        "INPUT.CLIP_SHIFT": [1.0, 2.0],
        "INPUT.CROP_AREA": [0.4, 0.9],
        "INPUT.CROP_ASPECT": [0.6, 1.7],
        "INPUT.RANDOM_FLIP": 0.11,
        "INPUT.COLOR_JITTER.PROB": 0.12,
        "INPUT.COLOR_JITTER.BRIGHTNESS": 0.13,
        "INPUT.COLOR_JITTER.CONTRAST": 0.14,
        "INPUT.COLOR_JITTER.SATURATION": 0.15,
        "INPUT.COLOR_JITTER.HUE": 0.16,
        "INPUT.GRAYSCALE_PROB": 0.16,
        "INPUT.BLUR_PROB": 0.17,
        "MOTION.NUM_FRAMES": 6,
        "MOTION.GAP_SECONDS": 0.3,
        "MOTION.SHORT_SIDE": 44,
        "MOTION.REFERENCE_SIDE": 55,
        "MOTION.LIMIT": 7.0,
        "MOTION.SAMPLING_RATE": 1.5,
        "MOTION.SHIFT": [-0.5, 0.25],
        "MOTION.ESTIMATOR": "Farneback",
        "MOTION.KIND": "magnitude",
        "DATASETS.TRAIN": ["puppets_actions_train"],
    }
    task, cfg = complete(*(word for pair in changes.items() for word in pair))
    _, mapper = task.train_data(cfg)
    assert mapper.frame_times.tolist() == [0.0, 0.25, 0.5, 0.75] and mapper.span == 1.0
    assert mapper.motion_times.tolist() == pytest.approx([i / 8 for i in range(6)])
    assert (mapper.motion_span, mapper.motion_shift) == (0.75, (-0.5, 0.25))
    assert mapper.shift == (1.0, 2.0)
    assert mapper.augmentation.crop == ResizedCrop(40, 60, (0.4, 0.9), (0.6, 1.7))
    steps = mapper.augmentation.steps
    assert [step.prob for step in steps] == [0.11, 0.12, 0.16, 0.17]
    assert steps[1].step.keywords == {"ranges": (0.13, 0.14, 0.15, 0.16)}
    assert [steps[i].step for i in (0, 2, 3)] == [flip, grayscale, blur]
    motion = mapper.motion
    assert (motion.kind, motion.gap_seconds, motion.short_side) == ("magnitude", 0.3, 44)
    assert (
        (motion.reference_side, motion.limit) == (55, 7)
        and motion.max_frame_side == 60
        and repr(motion.estimator).startswith("Farneback")
    )


def list_of_videos(tmp_path, encode, *lengths):
    """A dataset of videos of so many frames, ten a second."""
    for number, frames in enumerate(lengths):
        encode(tmp_path / "videos" / f"{number}.mp4", num_frames=frames, rate=10)
    (tmp_path / "mine.yaml").write_text("format: videos\nvideos: videos\n")
    return ["DATASETS.TRAIN", [str(tmp_path / "mine.yaml")]]


def test_long_videos_are_several_samples_of_one_video(complete, tmp_path, encode):
    (tmp_path / "videos").mkdir()
    train = list_of_videos(tmp_path, encode, 15, 60)
    task, cfg = complete(*train, "INPUT.WINDOW_SECONDS", 2.0)
    samples, _ = task.train_data(cfg)
    assert [(r.number, r.start, r.end) for r in samples] == [
        (0, None, None),
        (1, 0.0, 2.0),
        (1, 2.0, 4.0),
        (1, 4.0, 6.0),
    ]
    assert len(complete(*train)[0].train_data(complete(*train)[1])[0]) == 2  # by default 30 s
    whole, cfg = complete(*train, "INPUT.WINDOW_SECONDS", 0)
    assert [r.start for r in whole.train_data(cfg)[0]] == [None, None]


def test_settings_that_do_not_suit_few_videos_are_named(complete, tmp_path, encode, caplog):
    (tmp_path / "videos").mkdir()
    train = [*list_of_videos(tmp_path, encode, 60), "INPUT.WINDOW_SECONDS", 2.0]
    task, cfg = complete(*train, "MODEL.MODIST.MASK_SAME_VIDEO", True)
    with pytest.raises(UserError, match="a single video.*MASK_SAME_VIDEO.*loss would be 0"):
        task.train_data(cfg)
    task, cfg = complete(*train, "MODEL.MODIST.QUEUE_SIZE", 4)
    task.train_data(cfg)
    assert "QUEUE_SIZE 4 is more than the 3 samples" in caplog.text and "set it to 1 or less" in caplog.text
    caplog.clear()
    task, cfg = complete(*train, "MODEL.MODIST.QUEUE_SIZE", 3)
    task.train_data(cfg)
    assert not caplog.text
