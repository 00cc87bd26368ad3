"""UCF101: ``classInd.txt`` and, for each of three splits, ``trainlist0N.txt`` and ``testlist0N.txt``.

Source: https://www.crcv.ucf.edu/data/UCF101.php, "Train/Test Splits for Action Recognition".
"""

from __future__ import annotations

from pathlib import Path

from ...utils.errors import UserError
from .classification import (
    Entries,
    EntryBuilder,
    SplitDataset,
    class_index,
    file_choices,
    iter_lines,
    read_lines,
)
from .description import register_format
from .videos import without_extension

__all__ = ["UCF101Dataset"]


class UCF101Dataset(SplitDataset):
    """UCF101, or custom data in its format.

    ``classInd.txt`` has rows ``1 ApplyEyeMakeup``, the lists rows ``ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1``;
    if the number is missing (test lists), the folder gives the class. Videos may have another extension than
    listed, and may be in class folders or all in one folder. Arguments are those of
    :class:`.classification.SplitDataset`.
    """

    @property
    def class_file(self) -> Path:
        return self.annotations / "classInd.txt"

    @property
    def list_file(self) -> Path:
        return self.annotations / f"{self.subset}list{self.split:02d}.txt"

    def read_class_names(self) -> list[str]:
        names: list[str] = []
        for where, line in read_lines(self.class_file):
            number, _, name = line.partition(" ")
            if number != str(len(names) + 1) or not name.strip():
                raise UserError(
                    f"{where}: {line!r} is not '{len(names) + 1} ClassName'; numbers count up from 1"
                )
            names.append(name.strip())
        if len(set(names)) < len(names):
            raise UserError(f"{self.class_file}: two classes have one name")
        return names

    def read_entries(self) -> Entries:
        names = self.metadata.class_names
        indices = {name: i for i, name in enumerate(names)}
        builder = EntryBuilder(
            lambda file, labels: file_choices(names[labels[0]], file), first=[f"{name}/" for name in names]
        )
        for row, line in iter_lines(self.list_file):
            file, label = self._entry(f"{self.list_file}:{row}", line, indices)
            builder.add(file, (label,), f"{self.list_file}:", row, video_id=without_extension(file))
        return builder.entries()

    def _entry(self, where: str, line: str, indices: dict[str, int]) -> tuple[str, int]:
        path, _, number = line.rpartition(" ")
        if not (path and number.isascii() and number.isdigit()):
            path, number = line, ""
        folder, _, file = path.replace("\\", "/").strip().rpartition("/")
        if not (folder and file):
            raise UserError(
                f"{where}: {line!r} is not 'ClassName/video.avi', with or without the class's number"
            )
        label = class_index(indices, folder, where, str(self.class_file))
        if number and int(number) != label + 1:
            raise UserError(
                f"{where}: class {folder} is number {label + 1} in {self.class_file}, but here {number}"
            )
        return file, label


register_format("ucf101", UCF101Dataset, path_arguments=("videos", "annotations"))
