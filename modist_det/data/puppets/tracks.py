"""Reading ``tracks_<split>.json``: what the people of generated videos do, and where they are in each frame."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ...utils.errors import UserError

__all__ = ["convert_tracks"]

_T = TypeVar("_T")


def convert_tracks(
    content: Any, path: str | os.PathLike, convert: Callable[[Mapping[str, Any]], _T]
) -> dict[str, _T]:
    """What ``convert`` makes of each video's entry, by the video's name.

    Args:
        content: of the JSON file ``path``.

    Raises:
        UserError: it is the content of another kind of file.
    """
    try:
        return {video["video"]: convert(video) for video in content["videos"]}
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        raise UserError(
            f"{path} is not a file of tracks as prepare_puppets.py writes it ({error})"
        ) from error
