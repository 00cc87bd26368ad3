"""Something-Something v2: ``labels.json`` and a JSON file per subset.

``labels.json`` maps a template without brackets to its class index; a row of the others has ``id`` and
``template`` ("Holding [something]"). Source:
https://www.qualcomm.com/developer/software/something-something-v-2-dataset.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ...utils.errors import UserError
from ...utils.json_reading import read_json
from .classification import (
    ClassificationDataset,
    Entries,
    EntryBuilder,
    class_index,
    read_class_file,
)
from .description import register_format

__all__ = ["SSv2Dataset"]


class SSv2Dataset(ClassificationDataset):
    """Something-Something v2: files ``ID.webm`` (or another format), or frame folders ``ID/``.

    Args:
        annotations: the subset's JSON, such as ``something-something-v2-train.json``.
        labels: ``something-something-v2-labels.json``.
        fps: frame rate of frame folders; the videos have 12.
        name, videos, max_missing: as in :class:`.classification.ClassificationDataset`.
    """

    directional = True  # "from left to right"

    def __init__(
        self,
        name: str,
        videos: str | os.PathLike | Sequence[str | os.PathLike],
        annotations: str | os.PathLike,
        labels: str | os.PathLike,
        fps: float | None = 12.0,
        max_missing: float = 0.1,
    ) -> None:
        super().__init__(name, videos, fps, max_missing)
        self.annotations = Path(annotations)
        self.labels = Path(labels)

    def read_class_names(self) -> list[str]:
        return read_class_file(self.labels)

    def read_entries(self) -> Entries:
        indices = {name: i for i, name in enumerate(self.metadata.class_names)}
        rows = read_json(self.annotations)
        if not isinstance(rows, list):
            raise UserError(f"{self.annotations} is not a list of videos")
        builder = EntryBuilder(lambda video_id, _: (video_id,), first=[""])
        place = f"{self.annotations}, entry "
        for number, row in enumerate(rows, 1):
            video_id, label = self._entry(f"{place}{number}", row, indices)
            builder.add(video_id, (label,), place, number)
        return builder.entries()

    def _entry(self, where: str, row: object, indices: dict[str, int]) -> tuple[str, int]:
        if not isinstance(row, dict) or not {"id", "template"} <= row.keys():
            raise UserError(f"{where} has no 'id' and 'template' (those of the test set have no labels)")
        video_id, template = str(row["id"]), str(row["template"]).replace("[", "").replace("]", "")
        return video_id, class_index(indices, template, where, str(self.labels))


register_format("ssv2", SSv2Dataset, path_arguments=("videos", "annotations", "labels"))
