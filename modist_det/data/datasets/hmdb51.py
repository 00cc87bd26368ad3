"""HMDB51: for each class and each of three splits a file ``<class>_test_split<N>.txt``.

Source: https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/, ``test_train_splits.rar``.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from ...utils.errors import UserError
from .classification import Entries, EntryBuilder, SplitDataset, check_unique, file_choices, iter_lines
from .description import register_format
from .videos import without_extension

__all__ = ["HMDB51Dataset"]

_CODES = {"train": "1", "test": "2"}  # 0: in neither
_FILE = re.compile(r"([^.].*)_test_split\d+\.txt")


class HMDB51Dataset(SplitDataset):
    """HMDB51, or custom data in its format.

    Rows are ``video.avi 1`` with 1 for training, 2 for testing and 0 for neither. Classes are those that have
    files, in alphabetical order. Videos may be in class folders or all in one folder. Arguments are those of
    :class:`.classification.SplitDataset`.
    """

    @cached_property
    def _files(self) -> dict[str, Path]:
        """The split's file of each class; every class that has a file for any split must have one."""
        ending = f"_test_split{self.split}.txt"
        matches = map(_FILE.fullmatch, sorted(path.name for path in self.annotations.glob("*.txt")))
        files = {match[1]: self.annotations / f"{match[1]}{ending}" for match in matches if match}
        if not any(path.is_file() for path in files.values()):
            raise UserError(f"{self.annotations}: there is no file <class>{ending}")
        return dict(sorted(files.items()))

    def read_class_names(self) -> list[str]:
        return list(self._files)

    def read_entries(self) -> Entries:
        names = list(self._files)
        every, chosen = (
            EntryBuilder(
                lambda file, labels: file_choices(names[labels[0]], file),
                first=[f"{name}/" for name in names],
            )
            for _ in range(2)
        )
        for label, (class_name, path) in enumerate(self._files.items()):
            for row, line in iter_lines(path):
                file, _, code = line.rpartition(" ")
                if not file.strip() or code not in ("0", *_CODES.values()):
                    raise UserError(
                        f"{path}:{row}: {line!r} is not 'video.avi CODE' with 1 (training), 2 (testing) or 0"
                    )
                file = file.strip()
                video_id = f"{class_name}/{without_extension(file)}"
                for builder in (every, chosen) if code == _CODES[self.subset] else (every,):
                    builder.add(file, (label,), f"{path}:", row, video_id=video_id)
        check_unique(every.entries())  # in training and test it would be in both
        return chosen.entries()


register_format("hmdb51", HMDB51Dataset, path_arguments=("videos", "annotations"))
