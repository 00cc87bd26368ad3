"""What a command line takes, read from its parser while its file runs as a script."""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path
from typing import Any
from unittest import mock

COMMANDS = [
    "datasets/prepare_ava.py",
    "datasets/prepare_classification.py",
    "datasets/prepare_puppets.py",
    "tools/benchmark.py",
    "tools/convert_checkpoint.py",
    "tools/demo.py",
    "tools/detect_persons.py",
    "tools/draw_detections.py",
    "tools/evaluate_ava.py",
    "tools/evaluate_person_boxes.py",
    "tools/evaluate_tubes.py",
    "tools/extract_motion.py",
    "tools/gradcam.py",
    "tools/linear_probe.py",
    "tools/mean_results.py",
    "tools/model_zoo.py",
    "tools/neighbours.py",
    "tools/pack_videos.py",
    "tools/prepare_videos.py",
    "tools/report.py",
    "tools/run_net.py",
]


class _Caught(BaseException):
    pass


def describe_command(path: Path) -> dict[str, Any]:
    """Name or option strings of each argument of the script ``path`` -> [nargs, default, choices]; its sub-commands."""

    def catch(parser: argparse.ArgumentParser, *_: Any) -> None:
        raise _Caught(parser)

    # Before the arguments are parsed: parse_intermixed_args changes them for a time.
    methods = {"parse_args": catch, "parse_intermixed_args": catch}
    with mock.patch.multiple(argparse.ArgumentParser, **methods), mock.patch("sys.argv", [str(path)]):
        try:
            runpy.run_path(str(path), run_name="__main__")
        except _Caught as caught:
            return _describe(caught.args[0])
    raise AssertionError(f"{path} parses no command line")


def _describe(parser: argparse.ArgumentParser) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            described |= {f"command {name}": _describe(below) for name, below in action.choices.items()}
        elif not isinstance(action, argparse._HelpAction):
            default = None if action.default is argparse.SUPPRESS else action.default
            plain = default if isinstance(default, (bool, int, float, list, type(None))) else str(default)
            choices = list(action.choices) if action.choices else None
            described[" ".join(action.option_strings) or action.dest] = [action.nargs, plain, choices]
    return described
