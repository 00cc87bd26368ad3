"""Names that come out of files."""

from __future__ import annotations

import pytest

from modist_det.utils.errors import UserError
from modist_det.utils.files import inside


def test_inside(tmp_path) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (tmp_path / "rooted").mkdir()
    (root / "out").symlink_to(tmp_path / "rooted")
    (root / "loop").symlink_to(root / "loop")
    for name in ("b", "a/b", "a/../b", "./b", "..b", "x/y/z"):
        assert inside(root, name, "list") == root / name
    for name in (
        "",
        ".",
        "..",
        "../b",
        "a/../../b",
        "/etc/passwd",
        "../rooted/b",
        "out/b",
        "a/..",
        "a\0b",
        "loop/b",
    ):
        with pytest.raises(UserError, match="list names .* which is not a file inside"):
            inside(root, name, "list")
