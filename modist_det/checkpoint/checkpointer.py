"""Save and find the checkpoints of a run.

A checkpoint is one file that ``torch.load(weights_only=True)`` reads: a dict with ``model`` (state dict), ``ema``
(averaged weights, if enabled), ``optimizer``, ``scaler``, ``iteration`` (steps done), ``config`` (resolved, as YAML),
``run`` (facts to compare on resume), ``best`` (in the best checkpoint: its metric and value) and ``hashes``
(:mod:`.hashes`), which are verified at every read.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Any

from ..utils.errors import UserError
from ..utils.files import atomic_path, remove_leftovers
from .archive import save_archive
from .hashes import HASHES, content_hashes
from .reading import read_checkpoint
from .run_folder import BEST, POINTER, newest_first, saved_in

__all__ = ["Checkpointer"]

logger = logging.getLogger(__name__)


class Checkpointer:
    """The ``checkpoints`` folder of one run.

    Each file is written under a temporary name, flushed to disk and renamed, so that a crash at any moment leaves the
    earlier ones intact. Only the main process should write.

    Args:
        folder: created if missing.
        keep: number of newest checkpoints to keep; 0 keeps all.
    """

    def __init__(self, folder: str | os.PathLike, keep: int = 3) -> None:
        self.folder = Path(folder)
        self.keep = keep

    def path(self, iteration: int) -> Path:
        return self.folder / f"model_{iteration:07d}.pth"

    def save(self, iteration: int, state: dict[str, Any]) -> Path:
        """Write ``state`` as the checkpoint after ``iteration`` steps and delete the oldest ones beyond ``keep``."""
        path = self.path(iteration)
        save_archive({**state, HASHES: content_hashes(state)}, path)
        with atomic_path(self.folder / POINTER) as temporary:
            temporary.write_text(path.name + "\n")
        if self.keep > 0:
            for old in self.saved()[: -self.keep]:
                # Higher numbers may be left from an earlier, longer run: never delete what was just written.
                if old != path:
                    with contextlib.suppress(FileNotFoundError):
                        old.unlink()
        return path

    def save_best(self, state: dict[str, Any]) -> Path:
        """Write ``state`` as the best checkpoint, which is neither counted in ``keep`` nor resumed from."""
        save_archive({**state, HASHES: content_hashes(state)}, self.folder / BEST)
        return self.folder / BEST

    def load_best(self) -> dict[str, Any] | None:
        """The content of the best checkpoint; ``None`` if there is none."""
        path = self.folder / BEST
        return read_checkpoint(path) if path.is_file() else None

    def saved(self) -> list[Path]:
        """The existing checkpoint files, in order of their steps."""
        return saved_in(self.folder)

    def last(self) -> Path | None:
        """The checkpoint that was written last (it is not read); ``None`` if there is none."""
        return next(iter(newest_first(self.folder)), None)

    def load_last(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest readable checkpoint, or ``None`` if the folder has none.

        Raises:
            UserError: there are checkpoints, but none can be read.
        """
        candidates = newest_first(self.folder)
        for path in candidates:
            try:
                return path, read_checkpoint(path)
            except UserError as error:
                logger.warning("%s; trying the previous checkpoint", error)
        if candidates:
            raise UserError(
                f"none of the {len(candidates)} checkpoints in {self.folder} can be read; "
                "delete the folder to start over, or run without --resume"
            )
        return None

    def remove_leftovers(self) -> None:
        """Delete temporary files left by a killed run."""
        remove_leftovers(self.folder)
