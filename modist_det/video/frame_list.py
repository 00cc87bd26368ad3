"""What a list says about a folder of frames: which images it has, or how many."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence

__all__ = ["ListedFolder"]


class ListedFolder(str):
    """Path of a folder of frames of which a list says more than the path does.

    Works wherever a path does; :class:`.frame_folder.FrameFolder` then opens the listed images, or makes sure that
    there are as many as listed. Names are kept compressed: a list of AVA has 27,000 a video.

    Args:
        names: of the images in ``path``, in order.
        num_images: how many there are, where the list does not name them.
    """

    num_images: int | None
    _packed: bytes

    def __new__(
        cls, path: str | os.PathLike, names: Sequence[str] = (), num_images: int | None = None
    ) -> ListedFolder:
        self = super().__new__(cls, os.fspath(path))
        self._packed = zlib.compress("\n".join(names).encode("utf-8", "surrogateescape"), 1)
        self.num_images = len(names) if names else num_images
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Empty where the list only counts."""
        text = zlib.decompress(self._packed).decode("utf-8", "surrogateescape")
        return tuple(text.split("\n")) if text else ()

    def fingerprint(self) -> str:
        """Differs where lists do."""
        return f"{self.num_images} {zlib.crc32(self._packed)}"
