"""Checkpoints survive kills, damage and full disks."""

from __future__ import annotations

import pytest
import torch

from modist_det.checkpoint.checkpointer import Checkpointer
from modist_det.utils.errors import UserError


def state(number: int) -> dict:
    return {"model": {"w": torch.full((3,), float(number))}, "iteration": number}


def test_the_last_checkpoint_comes_back(tmp_path):
    checkpointer = Checkpointer(tmp_path / "checkpoints")
    assert checkpointer.load_last() is None and checkpointer.last() is None
    for number in (10, 20):
        checkpointer.save(number, state(number))
    path, content = checkpointer.load_last()
    assert path == checkpointer.last() == tmp_path / "checkpoints/model_0000020.pth"
    assert content["iteration"] == 20 and content["model"]["w"].tolist() == [20.0] * 3


def test_only_the_newest_are_kept(tmp_path):
    checkpointer = Checkpointer(tmp_path, keep=2)
    for number in (1, 2, 3, 4):
        checkpointer.save(number, state(number))
    assert [p.name for p in checkpointer.saved()] == ["model_0000003.pth", "model_0000004.pth"]


def test_one_written_after_going_back_is_kept_and_found(tmp_path):
    checkpointer = Checkpointer(tmp_path, keep=2)
    for number in (3, 4, 1):
        checkpointer.save(number, state(number))
    assert checkpointer.path(1).exists()
    assert checkpointer.load_last()[1]["iteration"] == 1


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", "half"])
def test_a_damaged_file_gives_way_to_the_one_before(tmp_path, damage):
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(1, state(1))
    path = checkpointer.save(2, state(2))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage == "half" else damage)
    assert checkpointer.load_last()[1]["iteration"] == 1


def test_nothing_readable_is_an_error(tmp_path):
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(1, state(1)).write_bytes(b"broken")
    with pytest.raises(UserError, match="none of the 1 checkpoints"):
        checkpointer.load_last()


def test_a_pointer_that_is_not_text_is_passed_over(tmp_path):
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(1, state(1))
    (tmp_path / "last_checkpoint").write_bytes(b"\xff\xfe\0")
    assert checkpointer.load_last()[1]["iteration"] == 1


def test_a_full_disk_is_one_clear_line(tmp_path, monkeypatch):
    def save(state, path):  # what torch says when the device takes no more
        path.write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 64 vs 0\nframe #0")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(UserError, match=r"cannot be written: .* the disk may be full") as caught:
        Checkpointer(tmp_path).save(1, state(1))
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_earlier_ones(tmp_path):
    class Unsaveable:
        def __reduce__(self):
            raise OSError("disk full")

    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(1, state(1))
    with pytest.raises(UserError, match=r"model_0000002.pth cannot be written: disk full"):
        checkpointer.save(2, {"model": Unsaveable()})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last_checkpoint", "model_0000001.pth"]
    assert checkpointer.load_last()[1]["iteration"] == 1


def test_leftovers_of_a_killed_writer_are_removed(tmp_path):
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(1, state(1))
    leftover = tmp_path / ".model_0000002.pth.tmp-0123456789abcdef"
    leftover.write_bytes(b"half")
    assert checkpointer.load_last()[1]["iteration"] == 1
    checkpointer.remove_leftovers()
    assert not leftover.exists() and checkpointer.path(1).exists()
