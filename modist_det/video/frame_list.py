"""A frame folder with an explicit list or number of images."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence

__all__ = ["ListedFolder"]


class ListedFolder(str):
    """Path of a frame folder with listed or counted images.

    Can be used like a path; :class:`.frame_folder.FrameFolder` then opens the listed images, or checks their number.
    Names are stored compressed: AVA has 27,000 per video.

    Args:
        names: names of the images in ``path``, in order.
        num_images: number of images, if the list does not name them.
    """

    num_images: int | None
    _packed: bytes

    def __new__(
        cls, path: str | os.PathLike[str], names: Sequence[str] = (), num_images: int | None = None
    ) -> ListedFolder:
        self = super().__new__(cls, os.fspath(path))
        self._packed = zlib.compress("\n".join(names).encode("utf-8", "surrogateescape"), 1)
        self.num_images = len(names) if names else num_images
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The image names; empty if only their number is known."""
        text = zlib.decompress(self._packed).decode("utf-8", "surrogateescape")
        return tuple(text.split("\n")) if text else ()

    def fingerprint(self) -> str:
        """Differs for different lists."""
        return f"{self.num_images} {zlib.crc32(self._packed)}"
