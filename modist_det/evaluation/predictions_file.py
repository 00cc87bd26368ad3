"""The csv file of a classifier's predictions: per video its labels, the rank of the best of them, and its best classes.

::

    video,label,rank,class1,score1,class2,score2
    v_0001,jump,2,run,0.713402,jump,0.201330

Labels of a video with several are joined by ``;``. Texts are written so that spreadsheets do not run them as formulas
(:func:`~modist_det.utils.spreadsheet.as_text`).
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..utils.errors import UserError
from ..utils.files import atomic_path
from ..utils.spreadsheet import as_text
from ..utils.text_files import read_text

__all__ = ["Prediction", "prediction_rows", "read_predictions", "write_csv"]

_LISTED = 5  # best classes per video
_FIRST = ["video", "label", "rank"]


@dataclass(frozen=True)
class Prediction:
    """A row of the file.

    Attributes:
        where: file and line, for messages.
        rank: place of the best-scored label, from 1.
        best: classes by index, and their scores, best first.
    """

    where: str
    video_id: str
    rank: int
    best: tuple[tuple[int, float], ...]


def prediction_rows(
    ids: Sequence[str],
    class_names: Sequence[str],
    labels: NDArray[np.bool_],
    scores: NDArray[np.float32],
    ranks: NDArray[np.int64],
) -> Iterable[list[str | int]]:
    """The rows of the file, with its header.

    Args:
        labels, scores: (N, K).
        ranks: (N,), from 0.
    """
    count = min(_LISTED, scores.shape[1])
    yield [*_FIRST, *(f"{what}{i + 1}" for i in range(count) for what in ("class", "score"))]
    best = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    for name, own, row, rank, columns in zip(ids, labels, scores, ranks, best, strict=True):
        label = ";".join(class_names[i] for i in np.flatnonzero(own).tolist())
        classes = ((class_names[i], f"{row[i]:.6f}") for i in columns.tolist())
        yield [name, label, int(rank) + 1, *(value for pair in classes for value in pair)]


def write_csv(path: str | os.PathLike[str], rows: Iterable[Sequence[str | int]]) -> None:
    """Write rows, whole or not at all, with texts that spreadsheets do not evaluate."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [as_text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows
    )
    with atomic_path(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def read_predictions(
    path: str | os.PathLike[str], ids: Iterable[str], class_names: Sequence[str]
) -> list[Prediction]:
    """Read a file of predictions on videos ``ids``.

    Raises:
        UserError: the file is missing, of another kind or of another dataset; the message names the row.
    """
    known_ids = {as_text(name): name for name in ids}
    known_classes = {as_text(name): i for i, name in enumerate(class_names)}
    rows = csv.reader(io.StringIO(read_text(path), newline=""))
    if next(rows, [])[:3] != _FIRST:
        raise UserError(
            f"{path} is not a file of predictions: its first row must begin with video,label,rank"
        )
    predictions: dict[str, Prediction] = {}
    for row in rows:
        where = f"{path}:{rows.line_num}"
        if len(row) < 5 or len(row) % 2 == 0:
            raise UserError(f"{where}: {len(row)} columns; a row is video,label,rank,class1,score1,...")
        if row[0] not in known_ids:
            raise UserError(f"{where}: the dataset has no video {row[0]!r}")
        if row[0] in predictions:
            raise UserError(f"{where}: the video {row[0]!r} is there twice")
        for name in row[3::2]:
            if name not in known_classes:
                raise UserError(f"{where}: the dataset has no class {name!r}")
        try:
            rank, scores = int(row[2]), [float(score) for score in row[4::2]]
        except ValueError:
            rank, scores = 0, []
        if rank < 1 or not np.isfinite(scores).all():
            raise UserError(f"{where}: rank and scores must be finite numbers, the rank from 1")
        best = zip((known_classes[name] for name in row[3::2]), scores, strict=True)
        predictions[row[0]] = Prediction(where, known_ids[row[0]], rank, tuple(best))
    if not predictions:
        raise UserError(f"{path} has no predictions")
    return list(predictions.values())
