"""Find the checkpoints of a run by the names of its files."""

from __future__ import annotations

import re
from pathlib import Path

from ..utils.errors import UserError

__all__ = ["BEST", "POINTER", "checkpoint_in", "newest_first", "saved_in"]

_NAME = re.compile(r"^model_(\d{7})\.pth$")
POINTER = "last_checkpoint"  # the file that names the checkpoint written last
BEST = "model_best.pth"  # the checkpoint with the best metric, where the run keeps it


def saved_in(folder: Path) -> list[Path]:
    """The checkpoint files in ``folder``, in order of their steps."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.match(path.name))


def newest_first(folder: Path) -> list[Path]:
    """The checkpoint files in ``folder``, the one that was written last first."""
    files = saved_in(folder)[::-1]
    pointer = folder / POINTER
    if pointer.is_file():
        named = folder / pointer.read_text(errors="replace").strip()
        if named in files:
            files.remove(named)
            files.insert(0, named)
    return files


def checkpoint_in(path: Path) -> Path:
    """``path`` itself if it is no folder, otherwise a checkpoint of the run in this folder: the best if the run keeps
    it (SOLVER.BEST_METRIC), else the last.

    Raises:
        UserError: the folder has no checkpoint.
    """
    if not path.is_dir():
        return path
    for folder in (path / "checkpoints", path):
        if (folder / BEST).is_file():
            return folder / BEST
        if files := newest_first(folder):
            return files[0]
    raise UserError(
        f"{path} is a folder without a checkpoint (checkpoints/model_*.pth); has the run finished?"
    )
