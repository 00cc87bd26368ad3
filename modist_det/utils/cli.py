"""Shared by all command lines: parsing, error messages, exit status, ``--debug`` and ``--import``.

Imports no large packages, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import ast
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import is_file
from .plugins import import_modules
from .signals import stop_on_signals

__all__ = [
    "add_shards",
    "add_videos",
    "at_least",
    "check_shard",
    "make_parser",
    "number_from",
    "parse_option",
    "parse_options",
    "run_cli",
]


_IGNORED_WARNINGS = (  # users cannot do anything about them
    r".*torch\.jit\.script.* is deprecated",  # used by libraries that we import
    r".*broadcast_buffers. is deprecated",  # since torch 2.14; older versions lack its successor
    r"Grad strides do not match bucket view strides",  # 1x1x1 kernels are the same in both memory formats
)


def at_least(lowest: int) -> Callable[[str], int]:
    """An argument ``type``: an integer of at least ``lowest``."""

    def whole_number(text: str) -> int:
        number = int(text)
        if number < lowest:
            raise argparse.ArgumentTypeError(f"{number} is less than {lowest}")
        return number

    return whole_number


def number_from(lowest: float, highest: float = math.inf, above: bool = False) -> Callable[[str], float]:
    """An argument ``type``: a number from ``lowest`` to ``highest``; with ``above``, ``lowest`` is excluded."""

    def number(text: str) -> float:
        value = float(text)
        if not lowest <= value <= highest or (above and value == lowest):
            end = "" if highest == math.inf else f" to {highest:g}"
            raise argparse.ArgumentTypeError(f"{text} is not {'above' if above else 'from'} {lowest:g}{end}")
        return value

    return number


def add_videos(parser: argparse.ArgumentParser) -> None:
    """Add the argument ``inputs`` for ``data.motion_sources.find_sources``."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="VIDEOS",
        help="folders of videos, video files, text files with a path on each line, or datasets (name or *.yaml)",
    )


def add_shards(parser: argparse.ArgumentParser) -> None:
    """Arguments that divide the videos between processes and machines; :func:`check_shard` checks them."""
    add = parser.add_argument
    add("--shard", type=int, default=0, help="which share of the videos, from 0 (default: %(default)s)")
    add("--num-shards", type=at_least(1), default=1, help="how many shares there are (default: %(default)s)")


def check_shard(args: argparse.Namespace) -> None:
    """Raise ``UserError`` where the arguments of :func:`add_shards` name no share."""
    if not 0 <= args.shard < args.num_shards:
        raise UserError(f"--shard {args.shard} of {args.num_shards} does not exist; shards count from 0")


def parse_options(argument: str, texts: Iterable[str]) -> dict[str, Any]:
    """All of :func:`parse_option`, by name."""
    return dict(parse_option(argument, text) for text in texts)


def parse_option(argument: str, text: str) -> tuple[str, Any]:
    """``"levels=3"`` -> ``("levels", 3)``. Values that are not Python literals are strings.

    Args:
        argument: name of the command-line argument, for messages (``"--option"``).

    Raises:
        UserError: ``text`` is not of the form NAME=VALUE.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"{argument} {text} is not of the form NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def make_parser(doc: str, example: str) -> argparse.ArgumentParser:
    """An argument parser with ``--debug`` and ``--import``, whose ``--help`` ends with ``example``."""
    parser = argparse.ArgumentParser(
        description=doc,
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument(
        "--import",
        action="append",
        default=[],
        dest="imports",
        metavar="MODULE",
        help="import a Python module first, which registers models, datasets, tasks, ... (may be repeated)",
    )
    return parser


def _parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse with options allowed between other arguments: ``KEY VALUE --resume KEY VALUE``."""
    try:
        return parser.parse_intermixed_args(argv)
    except TypeError:  # argparse does not support this with sub-commands
        return parser.parse_args(argv)


def _keep_inputs(args: argparse.Namespace) -> None:
    """Refuse an output (``--out``, ``--json``) that is one of the inputs."""
    files = [
        (name, Path(value))
        for name, values in vars(args).items()
        for value in (values if isinstance(values, (list, tuple)) else [values])
        if isinstance(value, (str, os.PathLike)) and is_file(value)
    ]
    for output, path in files:
        if output in ("out", "json") and any(path.samefile(other) for name, other in files if name != output):
            raise UserError(f"{path} is the input, too; name another file to write")


def run_cli(
    parser: argparse.ArgumentParser,
    main: Callable[[argparse.Namespace], int | None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse arguments, run ``main``, and print a :class:`UserError` or system error as one line on stderr.

    Ctrl-C, SIGTERM and SIGHUP end it at any point, and unfinished files are removed.

    Returns the exit status: the result of ``main`` (``None`` is 0), 1 after an error, 128 + N after signal N (130 after
    Ctrl-C).
    """
    args = _parse(parser, argv)
    # torch reads this when it is loaded. Threads that spin while waiting take cores from the loader's workers: on two
    # busy cores, a training step was four times slower (docs/BENCHMARKS.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for message in _IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    try:
        # Without ``argv``, this is the main command of the process, which ends afterwards.
        with stop_on_signals(until_exit=argv is None):
            _keep_inputs(args)
            import_modules(args.imports, "--import")
            return main(args) or 0
    except UserError as error:
        if args.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        if args.debug:
            raise
        print(str(stopped) or "stopped", file=sys.stderr)
        return 128 + getattr(stopped, "number", signal.SIGINT)
    except BrokenPipeError:
        # The reader (head, less) has gone; keep the interpreter from flushing stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        # A full disk or a missing permission: a traceback would not help.
        if args.debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
