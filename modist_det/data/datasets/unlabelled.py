"""Videos without labels, as pretraining takes them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ...utils.errors import UserError
from .description import register_format
from .records import VideoRecord
from .videos import VIDEO_EXTENSIONS

__all__ = ["VideoFolder", "VideoRecord"]


class VideoFolder:
    """All video files below some folders, in order of their names.

    Args:
        name: for messages.
        videos: folder, or folders, searched with all their subfolders.
    """

    def __init__(self, name: str, videos: str | os.PathLike | Sequence[str | os.PathLike]) -> None:
        self.name = name
        folders = [videos] if isinstance(videos, (str, os.PathLike)) else list(videos)
        self.videos = [Path(folder) for folder in folders]

    def video_records(self) -> list[VideoRecord]:
        """One record for each file.

        Raises:
            UserError: a folder does not exist, or there is no video in any.
        """
        found: list[tuple[str, str]] = []
        for folder in self.videos:
            if not folder.is_dir():
                raise UserError(f"data set {self.name!r}: the folder of videos {folder} does not exist")
            files = (path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_EXTENSIONS)
            found += [(path.relative_to(folder).with_suffix("").as_posix(), str(path)) for path in files]
        if not found:
            raise UserError(
                f"data set {self.name!r}: there is no video in {', '.join(map(str, self.videos))} "
                f"(kinds: {' '.join(sorted(VIDEO_EXTENSIONS))})"
            )
        return [VideoRecord(number, *entry) for number, entry in enumerate(sorted(found))]


register_format("videos", VideoFolder, path_arguments=["videos"])
