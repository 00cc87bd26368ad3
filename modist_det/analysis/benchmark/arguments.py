"""Arguments of ``tools/benchmark.py``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ...utils.cli import make_parser

__all__ = ["benchmark_parser"]

_DATA_EXAMPLE = """\
  python tools/benchmark.py data --videos path/to/videos --frames 8 --stride 8 --short-side 256
  python tools/benchmark.py data --cfg configs/Kinetics/Slow_R50_8x8.yaml --videos path/to/videos
  python tools/benchmark.py data --cfg configs/Puppets/Slow_R18.yaml --workers 2 --json data.json"""
_MODEL_EXAMPLE = """\
  python tools/benchmark.py model --cfg configs/AVA/Slow_R50_8x8.yaml --batch-size 2
  python tools/benchmark.py model --cfg configs/AVA/SlowFast_R50_8x8.yaml --amp bf16 --channels-last \\
      INPUT.CROP_SIZE 256"""
_MOTION_EXAMPLE = """\
  python tools/benchmark.py motion --cfg configs/MoDist/Kinetics_R50.yaml --videos path/to/videos"""
_EXTRACTION_EXAMPLE = """\
  python tools/benchmark.py extraction --videos path/to/videos --estimators DIS Farneback"""
_VIEWS_EXAMPLE = """\
  python tools/benchmark.py views --cfg configs/Kinetics/Slow_R50_8x8.yaml --videos path/to/videos"""
_EVALUATOR_EXAMPLE = """\
  python tools/benchmark.py evaluator
  python tools/benchmark.py evaluator --detections 100000 --boxes 4000 --keyframes 2000 --json evaluator.json"""


def benchmark_parser() -> argparse.ArgumentParser:
    """Subcommands for each thing that can be measured; ``command`` holds which."""
    parser = make_parser(
        "Measure data loading, a model's step, motion or the evaluator: medians, their range, and ratios to a\n"
        "baseline that was measured in the same run.",
        "\n".join(
            [
                _DATA_EXAMPLE,
                _MODEL_EXAMPLE,
                _MOTION_EXAMPLE,
                _EXTRACTION_EXAMPLE,
                _VIEWS_EXAMPLE,
                _EVALUATOR_EXAMPLE,
            ]
        ),
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_data(commands)
    _add_model(commands)
    _add_motion(commands)
    _add_extraction(commands)
    _add_views(commands)
    _add_evaluator(commands)
    return parser


def _add_data(commands: argparse._SubParsersAction) -> None:
    add = _add_command(
        commands,
        "data",
        "clips per second of one process and of a loader's workers",
        "Training clips: decode and transform of each in this process, then a loader with workers. With --videos\n"
        "they are those of detection, or of classification where the config's TASK says so. The baseline decodes\n"
        "every frame of the clip's video and converts it to RGB, on one thread too.",
        _DATA_EXAMPLE,
    )
    add(
        "--cfg", metavar="FILE", help="config file: clip settings, and training data unless there is --videos"
    )
    add("--videos", metavar="PATH", help="a video file, or a folder of them, instead of a data set")
    add("--frames", type=_positive, metavar="N", help="frames of a clip (INPUT.NUM_FRAMES)")
    add("--stride", type=_positive, metavar="N", help="frames from one to the next (INPUT.SAMPLING_RATE)")
    add(
        "--short-side",
        type=_positive,
        metavar="PX",
        help="short side of the scaled clip (INPUT.MIN_SIZE_TRAIN)",
    )
    add("--crop", type=_positive, metavar="PX", help="side of the crop (INPUT.CROP_SIZE)")
    add(
        "--clips",
        type=_positive,
        default=30,
        metavar="N",
        help="clips measured one by one (default: %(default)s)",
    )
    add(
        "--no-baseline",
        action="store_true",
        help="leave the baseline out (films of minutes, folders of frames)",
    )
    add("--workers", type=_count, default=2, metavar="N", help="workers of the loader (default: %(default)s)")
    add("--batch-size", type=_positive, default=8, metavar="N", help="clips a batch (default: %(default)s)")
    _add_common(add)
    _add_overrides(add)


def _add_model(commands: argparse._SubParsersAction) -> None:
    add = _add_command(
        commands,
        "model",
        "forward and training step of a config's model",
        "The forward pass in evaluation mode, and a training step in its parts, on random clips of\n"
        "INPUT.NUM_FRAMES frames of INPUT.CROP_SIZE pixels that are on the device already. Peak memory: on CUDA what\n"
        "torch allocated, on the CPU by how much the process grew since before the model was built.",
        _MODEL_EXAMPLE,
    )
    add("--cfg", required=True, metavar="FILE", help="config file")
    add("--batch-size", type=_positive, default=8, metavar="N", help="clips a batch (default: %(default)s)")
    add("--boxes", type=_positive, default=3, metavar="N", help="persons a clip (default: %(default)s)")
    add("--amp", choices=["bf16", "fp16"], help="autocast (SOLVER.AMP)")
    add("--channels-last", action="store_true", help="MODEL.CHANNELS_LAST True")
    add("--compile", action="store_true", help="MODEL.COMPILE True")
    add("--device", metavar="NAME", help="MODEL.DEVICE")
    add("--threads", type=_positive, metavar="N", help="threads on the CPU (default: torch's choice)")
    add(
        "--warmup",
        type=_count,
        default=3,
        metavar="N",
        help="steps that are not counted (default: %(default)s)",
    )
    _add_common(add)
    _add_overrides(add)


def _add_motion(commands: argparse._SubParsersAction) -> None:
    add = _add_command(
        commands,
        "motion",
        "pretraining samples with and without motion",
        "Samples of two clips on one thread: RGB alone (the baseline), with motion maps from files, and computed.",
        _MOTION_EXAMPLE,
    )
    add("--cfg", required=True, metavar="FILE", help="config file of pretraining")
    add("--videos", required=True, metavar="PATH", help="a video file, or a folder of them")
    add("--samples", type=_positive, default=30, metavar="N", help="default: %(default)s")
    add("--json", metavar="OUT", help="write every sample and the summary to this file")
    _add_overrides(add)


def _add_extraction(commands: argparse._SubParsersAction) -> None:
    add = _add_command(
        commands,
        "extraction",
        "frames per second of flow estimators",
        "Flow edges of every frame, as tools/extract_motion.py makes them, decoding included, on one thread.",
        _EXTRACTION_EXAMPLE,
    )
    add("--videos", required=True, metavar="PATH", help="a video file, or a folder of them")
    add(
        "--estimators",
        nargs="+",
        default=["DIS", "Farneback"],
        metavar="NAME",
        help="with options after commas, as in RAFT,size=small,weights=FILE (default: %(default)s)",
    )
    add(
        "--short-side",
        type=_count,
        default=128,
        metavar="PX",
        help="working resolution; 0: that of the videos (default: %(default)s)",
    )
    _add_common(add)


def _add_views(commands: argparse._SubParsersAction) -> None:
    add = _add_command(
        commands,
        "views",
        "testing on all views of a video",
        "TEST.NUM_ENSEMBLE_VIEWS x TEST.NUM_SPATIAL_CROPS clips of each video: decoding, forward passes, and the\n"
        "whole test with a loader's workers.",
        _VIEWS_EXAMPLE,
    )
    add("--cfg", required=True, metavar="FILE", help="config file of classification")
    add("--videos", required=True, metavar="PATH", help="a video file, or a folder of them")
    add("--count", type=_positive, default=6, metavar="N", help="videos a pass (default: %(default)s)")
    add("--workers", type=_count, default=1, metavar="N", help="workers of the loader (default: %(default)s)")
    add("--threads", type=_positive, metavar="N", help="of the model on the CPU (default: torch's choice)")
    _add_common(add)
    _add_overrides(add)


def _add_evaluator(commands: argparse._SubParsersAction) -> None:
    add = _add_command(
        commands,
        "evaluator",
        "AVA's mAP of generated detections",
        "Reading both csv files and computing the official mAP. The baseline is one pass of Python's csv reader over\n"
        "the same two files.",
        _EVALUATOR_EXAMPLE,
    )
    add("--detections", type=_positive, default=2_300_000, metavar="N", help="rows (default: %(default)s)")
    add(
        "--boxes",
        type=_positive,
        default=93_400,
        metavar="N",
        help="ground-truth rows (default: %(default)s)",
    )
    add("--keyframes", type=_positive, default=50_029, metavar="N", help="default: %(default)s")
    _add_common(add)


def _add_command(
    commands: argparse._SubParsersAction, name: str, summary: str, description: str, example: str
) -> Callable[..., Any]:
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser.add_argument


def _add_common(add: Callable[..., Any]) -> None:
    add("--repeat", type=_positive, default=5, metavar="N", help="repetitions (default: %(default)s)")
    add("--json", metavar="OUT", help="write every sample and the summary to this file")


def _add_overrides(add: Callable[..., Any]) -> None:
    add("overrides", nargs="*", metavar="KEY VALUE", help="config keys to set, e.g. MODEL.RESNET3D.WIDTH 32")


def _at_least(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {minimum} on")
        return value

    return parse


_count, _positive = _at_least(0), _at_least(1)
