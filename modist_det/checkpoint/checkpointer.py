"""Saving and finding the checkpoints of a run.

A checkpoint is one file that ``torch.load(weights_only=True)`` reads: a dict with ``model`` (state dict),
``ema`` (state dict of the averaged weights, if the run keeps them), ``optimizer``, ``scaler``, ``iteration``
(steps made), ``config`` (the resolved config as YAML), ``run`` (facts to compare on resume) and ``hashes``
(:mod:`.hashes`), against which the file is checked whenever it is read.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from pathlib import Path
from typing import Any

import torch

from ..utils.errors import UserError
from ..utils.files import atomic_path, remove_leftovers
from .hashes import HASHES, content_hashes
from .reading import read_checkpoint

__all__ = ["Checkpointer"]

logger = logging.getLogger(__name__)

_NAME = re.compile(r"^model_(\d{7})\.pth$")
_POINTER = "last_checkpoint"


class Checkpointer:
    """The ``checkpoints`` folder of one run.

    Each file is written under a temporary name, flushed to disk and renamed, so a kill at any moment leaves
    the earlier ones whole. Only the main process should write.

    Args:
        folder: made if absent.
        keep: how many checkpoints stay, the newest ones; 0 keeps all.
    """

    def __init__(self, folder: str | os.PathLike, keep: int = 3) -> None:
        self.folder = Path(folder)
        self.keep = keep

    def path(self, iteration: int) -> Path:
        return self.folder / f"model_{iteration:07d}.pth"

    def save(self, iteration: int, state: dict[str, Any]) -> Path:
        """Write ``state`` as the checkpoint after ``iteration`` steps and drop the oldest beyond ``keep``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(iteration)
        with atomic_path(path) as temporary:
            _save({**state, HASHES: content_hashes(state)}, temporary)
        with atomic_path(self.folder / _POINTER) as temporary:
            temporary.write_text(path.name + "\n")
        if self.keep > 0:
            for old in self.saved()[: -self.keep]:
                # The newest by number may be from before a restart with fewer steps: never drop what was just written.
                if old != path:
                    with contextlib.suppress(FileNotFoundError):
                        old.unlink()
        return path

    def saved(self) -> list[Path]:
        """The checkpoint files present, oldest step first."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if _NAME.match(path.name))

    def last(self) -> Path | None:
        """The checkpoint that was written last, by name only; ``None`` where there is none."""
        candidates = self._candidates()
        return candidates[0] if candidates else None

    def load_last(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest checkpoint that can be read, or ``None`` where the folder holds none.

        Raises:
            UserError: there are checkpoints, but none can be read.
        """
        candidates = self._candidates()
        for path in candidates:
            try:
                return path, read_checkpoint(path)
            except UserError as error:
                logger.warning("%s; trying the checkpoint before it", error)
        if candidates:
            raise UserError(
                f"none of the {len(candidates)} checkpoints in {self.folder} can be read; "
                "delete the folder to start anew, or leave out --resume"
            )
        return None

    def remove_leftovers(self) -> None:
        """Delete temporary files that a killed run left behind."""
        remove_leftovers(self.folder)

    def _candidates(self) -> list[Path]:
        newest_first = self.saved()[::-1]
        pointer = self.folder / _POINTER
        if pointer.is_file():
            named = self.folder / pointer.read_text(errors="replace").strip()
            if named in newest_first:
                newest_first.remove(named)
                newest_first.insert(0, named)
        return newest_first


def _save(state: dict[str, Any], path: Path) -> None:
    """``torch.save``, which reports a full disk as a ``RuntimeError``; here it is an ``OSError``."""
    try:
        torch.save(state, path)
    except RuntimeError as error:
        raise OSError(f"{str(error).splitlines()[0]}; the disk may be full") from error
