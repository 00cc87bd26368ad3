"""Numbers and lists that no run can use are refused where they are set."""

from __future__ import annotations

import pytest

from modist_det.config import get_cfg
from modist_det.utils.errors import UserError


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("DATALOADER.NUM_WORKERS", -1, "must be at least 0 and at most 1000"),
        ("DATALOADER.NUM_WORKERS", 1_000_000, "must be at least 0 and at most 1000"),
        ("INPUT.NUM_FRAMES", 999_999_999_999, "must be at least 1 and at most 10000"),
        ("SOLVER.IMS_PER_BATCH", 0, "must be at least 1"),
        ("SOLVER.MAX_EPOCH", 0, "must be above 0"),
        ("SOLVER.MAX_EPOCH", "nan", "must be above 0"),
        ("SOLVER.MAX_EPOCH", "inf", "must be above 0"),
        ("MODEL.PIXEL_MEAN", [0.4, float("nan"), 0.4], "must be finite"),
        ("SOLVER.MOMENTUM", 1.5, "must be at least 0 and at most 1"),
        ("SOLVER.BETAS", [0.9, 1.0], "must be at least 0 and below 1"),
        ("SOLVER.BETAS", [0.9], "takes a list of 2 numbers"),
        ("SOLVER.STEPS", [0, "one"], "takes a list of numbers"),
        ("INPUT.MIN_SIZE_TRAIN", [36.5, 40], "takes a list of 2 whole numbers, the smaller one first"),
        ("INPUT.MIN_SIZE_TRAIN", [[36], [40]], "takes a list of 2 whole numbers, the smaller one first"),
        ("INPUT.MIN_SIZE_TRAIN", [320, 256], "takes a list of 2 whole numbers, the smaller one first"),
        ("INPUT.MIN_SIZE_TRAIN", [0, 40], "must be at least 1"),
        ("INPUT.CLIP_SHIFT", [3.0, 1.0], "takes a list of 2 numbers, the smaller one first"),
        ("INPUT.CLIP_SHIFT", [-1.0, 1.0], "must be at least 0"),
        ("INPUT.CROP_AREA", [1.0, 0.3], "takes a list of 2 numbers, the smaller one first"),
        ("INPUT.CROP_AREA", [0.0, 1.0], "must be above 0 and at most 1"),
        ("INPUT.CROP_AREA", [1.0, 2.0], "must be above 0 and at most 1"),
        ("INPUT.CROP_ASPECT", [0.0, 1.0], "must be above 0"),
        ("INPUT.BLUR_PROB", 5.0, "must be at least 0 and at most 1"),
        ("TEST.NUM_ENSEMBLE_VIEWS", 100_000, "must be at least 1 and at most 1000"),
        ("MOTION.NUM_FRAMES", 0, "must be at least 1 and at most 10000"),
        ("MOTION.SHORT_SIDE", 0, "must be at least 1"),
        ("MOTION.GAP_SECONDS", 0.0, "must be above 0"),
        ("DATASETS.TRAIN", [5], "takes a list of names"),
        ("MODEL.RESNET3D.TEMPORAL_KERNELS", [1, [3, 0], 1, 1], "must be at least 1"),
        (
            "MODEL.RESNET3D.TEMPORAL_KERNELS",
            [1, [], 1, 1],
            "takes a list of 4 whole numbers or lists of them",
        ),
        ("MODEL.RESNET3D.STEM_KERNEL", [1, True, 7], "takes a list of 3 whole numbers"),
        ("MODEL.RESNET3D.NONLOCAL_BLOCKS", [1, 3], "takes a list of 4 lists of whole numbers"),
        ("MODEL.RESNET3D.NONLOCAL_BLOCKS", [0, [1], [], []], "takes a list of 4 lists of whole numbers"),
        ("MODEL.RESNET3D.NONLOCAL_BLOCKS", [[], [-1], [], []], "must be at least 0"),
    ],
)
def test_the_message_says_where_what_and_the_limit(key, value, message):
    with pytest.raises(UserError) as caught:
        get_cfg().merge_from_list([key, value])
    assert str(caught.value) == f"the command line: {key} is {value!r}, but {message}"


def test_what_is_right_is_taken():
    pairs = ["SOLVER.STEPS", [0, 2.5], "MODEL.RESNET3D.TEMPORAL_KERNELS", [1, [3, 1], 1, 3], "LOG_PERIOD", 1]
    pairs += ["MODEL.RESNET3D.NONLOCAL_BLOCKS", [[], [1], [0, 2], []]]
    cfg = get_cfg()
    cfg.merge_from_list([*pairs, "SOLVER.STEPS", [0, 0.5, 1]])  # whatever the value before
    assert cfg.SOLVER.STEPS == [0, 0.5, 1] and cfg.MODEL.RESNET3D.TEMPORAL_KERNELS == [1, [3, 1], 1, 3]
