"""Arguments of ``tools/benchmark.py``."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

from ...utils.cli import at_least, make_parser

__all__ = ["benchmark_parser"]


class _Command(NamedTuple):
    summary: str
    description: str
    example: str
    arguments: dict[str, dict[str, Any]]


def _number(help: str, default: int | None = None, least: int = 1, metavar: str = "N") -> dict[str, Any]:
    if default is not None:
        help += " (default: %(default)s)"
    return {"type": at_least(least), "default": default, "metavar": metavar, "help": help}


_CFG = {"required": True, "metavar": "FILE", "help": "config file (YAML)"}
_VIDEOS = {"required": True, "metavar": "PATH", "help": "a video file, or a folder of them"}
_BATCH_SIZE = _number("clips per batch", 8)
_THREADS = _number("threads of the model on the CPU (default: torch's choice)")
_REPEAT = _number("repetitions", 5)
_JSON = {"metavar": "OUT", "help": "write every sample and the summary to this file"}
_OVERRIDES = {
    "nargs": "*",
    "metavar": "KEY VALUE",
    "help": "config keys to set, e.g. MODEL.RESNET3D.WIDTH 32",
}
_COMMANDS = {
    "data": _Command(
        "clips per second of one process and of a loader's workers",
        "Training clips: decoding and transforms of each in this process, then a loader with workers. With --videos\n"
        "they are those of detection, or of classification where the config's TASK says so. The baseline decodes\n"
        "every frame of the clip's video and converts it to RGB, on one thread too.",
        """\
  python tools/benchmark.py data --videos path/to/videos --frames 8 --stride 8 --short-side 256
  python tools/benchmark.py data --cfg configs/Kinetics/Slow_R50_8x8.yaml --videos path/to/videos
  python tools/benchmark.py data --cfg configs/Puppets/Slow_R18.yaml --workers 2 --json data.json""",
        {
            "--cfg": {
                "metavar": "FILE",
                "help": "config file: clip settings, and training data unless there is --videos",
            },
            "--videos": {
                "metavar": "PATH",
                "help": "a video file, or a folder of them, instead of a dataset",
            },
            "--frames": _number("frames of a clip (INPUT.NUM_FRAMES)"),
            "--stride": _number("frames from one to the next (INPUT.SAMPLING_RATE)"),
            "--short-side": _number("short side of the scaled clip (INPUT.MIN_SIZE_TRAIN)", metavar="PX"),
            "--crop": _number("side of the crop (INPUT.CROP_SIZE)", metavar="PX"),
            "--clips": _number("clips measured one by one", 30),
            "--no-baseline": {
                "action": "store_true",
                "help": "skip the baseline (for long videos and frame folders)",
            },
            "--workers": _number("workers of the loader", 2, least=0),
            "--batch-size": _BATCH_SIZE,
            "--repeat": _REPEAT,
            "--json": _JSON,
            "overrides": _OVERRIDES,
        },
    ),
    "model": _Command(
        "forward and training step of a config's model",
        "The forward pass in evaluation mode, and a training step in its parts, on random clips of\n"
        "INPUT.NUM_FRAMES frames of INPUT.CROP_SIZE pixels that are on the device already. Peak memory: on CUDA what\n"
        "torch allocated, on the CPU by how much the process grew since before the model was built.",
        """\
  python tools/benchmark.py model --cfg configs/AVA/Slow_R50_8x8.yaml --batch-size 2
  python tools/benchmark.py model --cfg configs/AVA/SlowFast_R50_8x8.yaml --amp bf16 --channels-last \\
      INPUT.CROP_SIZE 256""",
        {
            "--cfg": _CFG,
            "--batch-size": _BATCH_SIZE,
            "--boxes": _number("persons per clip", 3),
            "--amp": {"choices": ["bf16", "fp16"], "help": "autocast (SOLVER.AMP)"},
            "--channels-last": {"action": "store_true", "help": "MODEL.CHANNELS_LAST True"},
            "--compile": {"action": "store_true", "help": "MODEL.COMPILE True"},
            "--device": {"metavar": "NAME", "help": "MODEL.DEVICE"},
            "--threads": _THREADS,
            "--warmup": _number("warm-up steps, which are not counted", 3, least=0),
            "--repeat": _REPEAT,
            "--json": _JSON,
            "overrides": _OVERRIDES,
        },
    ),
    "motion": _Command(
        "pretraining samples with and without motion",
        "Samples of two clips on one thread: RGB alone (the baseline), with motion maps from files, and computed.",
        "  python tools/benchmark.py motion --cfg configs/MoDist/Kinetics_R50.yaml --videos path/to/videos",
        {
            "--cfg": _CFG,
            "--videos": _VIDEOS,
            "--samples": _number("samples", 30),
            "--json": _JSON,
            "overrides": _OVERRIDES,
        },
    ),
    "extraction": _Command(
        "frames per second of flow estimators",
        "Flow edges of every frame, as tools/extract_motion.py makes them, decoding included, on one thread.",
        "  python tools/benchmark.py extraction --videos path/to/videos --estimators DIS Farneback",
        {
            "--videos": _VIDEOS,
            "--estimators": {
                "nargs": "+",
                "default": ["DIS", "Farneback"],
                "metavar": "NAME",
                "help": "with options after commas, as in RAFT,size=small,weights=FILE (default: %(default)s)",
            },
            "--short-side": _number("working resolution; 0: that of the videos", 128, least=0, metavar="PX"),
            "--repeat": _REPEAT,
            "--json": _JSON,
        },
    ),
    "views": _Command(
        "testing on all views of a video",
        "TEST.NUM_ENSEMBLE_VIEWS x TEST.NUM_SPATIAL_CROPS clips of each video: decoding, forward passes, and the\n"
        "whole test with a loader's workers.",
        "  python tools/benchmark.py views --cfg configs/Kinetics/Slow_R50_8x8.yaml --videos path/to/videos",
        {
            "--cfg": _CFG,
            "--videos": _VIDEOS,
            "--count": _number("videos per pass", 6),
            "--workers": _number("workers of the loader", 1, least=0),
            "--threads": _THREADS,
            "--repeat": _REPEAT,
            "--json": _JSON,
            "overrides": _OVERRIDES,
        },
    ),
    "pyslowfast": _Command(
        "Slow and SlowFast R50 8x8 against PySlowFast's own modules",
        "One clip through the same networks with the same weights, in pairs: the forward pass in evaluation mode, and\n"
        "a training step with SGD. Modules that PySlowFast imports but that are not installed are replaced by empty\n"
        "ones.",
        """\
  git clone https://github.com/facebookresearch/SlowFast path/to/SlowFast
  python tools/benchmark.py pyslowfast --source path/to/SlowFast --threads 2""",
        {
            "--source": {
                "required": True,
                "metavar": "PATH",
                "help": "checkout of github.com/facebookresearch/SlowFast",
            },
            "--crop": _number("side of the clip", 224, least=32, metavar="PX"),
            "--threads": _THREADS,
            "--repeat": _REPEAT,
            "--json": _JSON,
        },
    ),
    "large_list": _Command(
        "a list of many videos: start and memory",
        "A generated list of as many videos as Kinetics-700 has, each a small file of its own: reading and checking\n"
        "it, starting a loader's workers, and the memory of a worker, beside that with a short list.",
        """\
  python tools/benchmark.py large_list
  python tools/benchmark.py large_list --packed --workers 4""",
        {
            "--rows": _number("videos", 650_000),
            "--workers": _number("workers of the loader", 2),
            "--packed": {"action": "store_true", "help": "in a folder of tools/pack_videos.py"},
            "--json": _JSON,
        },
    ),
    "evaluator": _Command(
        "AVA's mAP of generated detections",
        "Reading both csv files and computing the official mAP. The baseline is one pass of Python's csv reader over\n"
        "the same two files.",
        """\
  python tools/benchmark.py evaluator
  python tools/benchmark.py evaluator --detections 100000 --boxes 4000 --keyframes 2000 --json evaluator.json""",
        {
            "--detections": _number("rows", 2_300_000),
            "--boxes": _number("ground-truth rows", 93_400),
            "--keyframes": _number("keyframes", 50_029),
            "--repeat": _REPEAT,
            "--json": _JSON,
        },
    ),
}


def benchmark_parser() -> argparse.ArgumentParser:
    """The parser, with a subcommand per benchmark in ``command``."""
    parser = make_parser(
        "Benchmark data loading, a model's step, motion, the evaluator, or networks of PySlowFast: medians, their\n"
        "range, and ratios to a baseline measured in the same run.",
        "\n".join(command.example for command in _COMMANDS.values()),
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in _COMMANDS.items():
        subparser = commands.add_parser(
            name,
            help=command.summary,
            description=command.description,
            epilog=f"example:\n{command.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for argument, options in command.arguments.items():
            subparser.add_argument(argument, **options)
    return parser
