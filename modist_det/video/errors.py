"""The error of a video that cannot be read, and how errors of PyAV become one."""

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
    """A video that cannot be read, or not where it was asked for.

    The message is one line: the path and the reason.
    """

    def __init__(self, path: str | os.PathLike, reason: str) -> None:
        self.path = os.fspath(path)
        self.reason = reason
        super().__init__(f"cannot read video {self.path}: {reason}")

    def __reduce__(self) -> tuple[type[VideoError], tuple[str, str]]:
        return type(self), (self.path, self.reason)  # crosses from a worker process


class reading(AbstractContextManager[None]):
    """What PyAV raises inside becomes a :class:`VideoError` of ``path``. For calls of PyAV, not for other code."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, PYAV_ERRORS):
            raise VideoError(self.path, f"damaged (FFmpeg: {reason_of(error)})") from error


def reason_of(error: BaseException) -> str:
    """What an exception of the system or of FFmpeg says, without path and number."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
