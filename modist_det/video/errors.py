"""The error for unreadable videos, and the conversion of PyAV's errors to it."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from types import TracebackType

import av

from ..utils.errors import UserError

__all__ = ["PYAV_ERRORS", "VideoError", "reading", "reason_of"]

# Everything that PyAV raises for a file, damaged ones included: its own errors, and what its code meets in numbers
# and texts that no sound file holds.
PYAV_ERRORS = (
    av.FFmpegError,
    OSError,
    EOFError,
    LookupError,
    ValueError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    TypeError,
    AttributeError,
)


class VideoError(UserError):
    """A video that cannot be read, or not at the requested frames.

    The message is one line: the path and the reason.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        self.path = os.fspath(path)
        self.reason = reason
        super().__init__(f"cannot read video {self.path}: {reason}")

    def __reduce__(self) -> tuple[type[VideoError], tuple[str, str]]:
        return type(self), (self.path, self.reason)  # crosses from a worker process


class reading(AbstractContextManager[None]):
    """Converts errors of PyAV inside the block to a :class:`VideoError` of ``path``. Use it around PyAV calls only."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, PYAV_ERRORS):
            raise VideoError(self.path, f"damaged (FFmpeg: {reason_of(error)})") from error


def reason_of(error: BaseException) -> str:
    """The message of a system or FFmpeg error, without path and error number."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
