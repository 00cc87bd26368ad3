"""What every command line of the project shares: errors, exit status, ``--debug``.

Imports nothing large, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence

from .errors import UserError

__all__ = ["make_parser", "run_cli"]


def make_parser(doc: str, example: str) -> argparse.ArgumentParser:
    """An argument parser whose ``--help`` ends with ``example`` and that knows ``--debug``."""
    parser = argparse.ArgumentParser(
        description=doc,
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def run_cli(
    parser: argparse.ArgumentParser,
    main: Callable[[argparse.Namespace], int | None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse, run ``main``, and turn a :class:`UserError` into one line on stderr.

    Returns the exit status: what ``main`` returned (``None`` is 0), 1 after a user's mistake,
    130 after Ctrl-C.
    """
    args = parser.parse_args(argv)
    # Libraries that we import still use it; nothing a user could change.
    warnings.filterwarnings("ignore", message=r".*torch\.jit\.script.* is deprecated")
    try:
        return main(args) or 0
    except UserError as error:
        if args.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if args.debug:
            raise
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) went away; silence the interpreter's own flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
