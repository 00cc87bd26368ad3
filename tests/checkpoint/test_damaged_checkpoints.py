"""Damage that a checkpoint's container does not show by itself, and small files that ask for far too much."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from modist_det.checkpoint.checkpointer import Checkpointer
from modist_det.checkpoint.hashes import content_hashes
from modist_det.checkpoint.reading import read_checkpoint, read_state_dict
from modist_det.checkpoint.safetensors_file import write_safetensors
from modist_det.checkpoint.writing import write_weights
from modist_det.utils.errors import UserError

WEIGHTS = {"stem.weight": torch.arange(4096.0), "stem.bias": torch.arange(3, dtype=torch.int64)}


def _flip(path: Path, what: bytes, at: int = 5) -> None:
    """Change one bit in the only place that has the bytes ``what``."""
    data = bytearray(path.read_bytes())
    assert data.count(what) == 1
    data[data.index(what) + at] ^= 4
    path.write_bytes(data)


def _rewrite(path: Path, changes: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """The archive with other content in some entries, and CRCs that fit it."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, changes.get(name.partition("/")[2], content))


def test_a_flipped_bit_in_the_last_checkpoint(tmp_path, caplog):
    checkpointer = Checkpointer(tmp_path)
    for step in (1, 2):
        checkpointer.save(step, {"model": {n: t + step for n, t in WEIGHTS.items()}, "iteration": step})
    path = checkpointer.path(2)
    _flip(path, (WEIGHTS["stem.weight"] + 2).numpy().tobytes()[:4000], at=1001)
    assert torch.load(path, weights_only=True)["iteration"] == 2  # PyTorch does not notice
    with caplog.at_level(logging.WARNING):
        found, content = checkpointer.load_last()
    assert found == checkpointer.path(1) and content["iteration"] == 1
    assert "model_0000002.pth is damaged" in caplog.text and "trying the previous checkpoint" in caplog.text
    # Evaluation asks for the last one and for no other.
    with pytest.raises(UserError, match=r"model_0000002.pth is damaged or not a checkpoint \(Bad CRC-32"):
        read_state_dict(path)


def test_a_foreign_archive_is_read_against_its_checksums(tmp_path):
    path = tmp_path / "theirs.pth"
    torch.save({"state_dict": WEIGHTS}, path)
    assert torch.equal(read_state_dict(path)["stem.weight"], WEIGHTS["stem.weight"])
    _flip(path, WEIGHTS["stem.weight"].numpy().tobytes()[:4000])
    with pytest.raises(UserError, match="Bad CRC-32"):
        read_state_dict(path)


def test_bytes_before_an_archive(tmp_path):
    """zipfile finds the archive behind them, and torch reads what comes first."""
    path = tmp_path / "weights.pyth"
    torch.save({"model_state": {"head.projection.weight": torch.arange(8.0)}}, path)
    whole = path.read_bytes()
    number = np.float32(5).tobytes()
    assert whole.count(number) == 1
    path.write_bytes(whole.replace(number, np.float32(6).tobytes()) + whole)
    with pytest.raises(UserError, match="other bytes come before the archive"):
        read_state_dict(path)


def test_an_archive_without_checksums_is_read(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(WEIGHTS, tmp_path / "x.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(read_state_dict(tmp_path / "x.pth")["stem.weight"], WEIGHTS["stem.weight"])


def test_hashes_find_what_checksums_do_not(tmp_path):
    path = tmp_path / "ours.pth"
    write_weights(path, {"backbone." + name: tensor for name, tensor in WEIGHTS.items()}, "modist_det")
    assert "hashes" not in read_checkpoint(path)
    changed = WEIGHTS["stem.weight"].clone()
    changed[17] += 1
    _rewrite(path, {"data/0": changed.numpy().tobytes()})
    assert torch.load(path, weights_only=True)["model"]["backbone.stem.weight"][17] == 18
    with pytest.raises(UserError, match="model.backbone.stem.weight has changed since it was written"):
        read_state_dict(path)


def test_hashes_by_hand_and_of_everything():
    content = {"model": {"w": torch.tensor([1.0, 2.0])}, "iteration": 3}
    hashes = content_hashes(content)
    expected = hashlib.blake2b(b"torch.float32 [2]" + struct.pack("<ff", 1, 2), digest_size=16).hexdigest()
    assert hashes["model/w"] == expected and hashes.keys() == {"", "model/w"}
    for other in (
        {"model": {"w": torch.tensor([1.0, 2.5])}, "iteration": 3},
        {"model": {"w": torch.tensor([[1.0, 2.0]])}, "iteration": 3},
        {"model": {"v": torch.tensor([1.0, 2.0])}, "iteration": 3},
        {"model": {"w": torch.tensor([1.0, 2.0])}, "iteration": 4},
        {"model": {"w": torch.tensor([1.0, 2.0])}, "iteration": 3.0},
    ):
        assert content_hashes(other) != hashes
    # Scalars, empty tensors and views are tensors, too.
    odd = {
        "a": torch.tensor(1.0),
        "b": torch.empty(0, 3),
        "c": torch.arange(6).reshape(2, 3).T,
        "d": [1, (2,)],
    }
    assert content_hashes(odd) == content_hashes({**odd, "c": odd["c"].contiguous()})


def test_a_safetensors_file_of_ours_carries_a_hash(tmp_path):
    path = tmp_path / "x.safetensors"
    write_safetensors(path, WEIGHTS, {"config": "A: 1"})
    assert read_checkpoint(path)["metadata"] == {"config": "A: 1"}
    _flip(path, WEIGHTS["stem.weight"].numpy().tobytes()[:4000])
    with pytest.raises(UserError, match="its content has changed since it was written"):
        read_state_dict(path)


@pytest.mark.parametrize("place", [10, 30, -22, -15, -6])
def test_a_damaged_archive_is_one_line(tmp_path, place):
    """Each byte of headers and directory: readers of zip archives have many words for damage."""
    path = tmp_path / "x.pth"
    torch.save(WEIGHTS, path)
    whole = path.read_bytes()
    directory = whole.index(b"PK\1\2")
    for shift in range(12) if place < 0 else (0, directory, directory + 4):
        for value in (0x00, 0xFF):
            data = bytearray(whole)
            data[place + shift if place < 0 else (place + shift) % len(whole)] = value
            path.write_bytes(data)
            try:
                read_state_dict(path)
            except UserError as error:
                assert "\n" not in str(error)


def _shared_lists(depth: int) -> bytes:
    value: list = [0]
    for _ in range(depth):
        value = [value, value]
    return pickle.dumps({"model": value}, protocol=2)


def _shared_tuples_as_key(depth: int) -> bytes:
    key: tuple = (0,)
    # Built by hand: to make the dict here would take as long as to read it.
    data = b"\x80\x02}" + pickle.dumps(key, protocol=2)[2:-1]
    return data + b"2\x86" * depth + b"K\1s."


def _overlapping_safetensors() -> bytes:
    facts = {"dtype": "U8", "shape": [1 << 20], "data_offsets": [0, 1 << 20]}
    header = json.dumps({f"t{i}": facts for i in range(4000)}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(1 << 20)


def _archive_of_zeros(size: int) -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x/data.pkl", "w", force_zip64=True) as file,
    ):
        for _ in range(size >> 24):
            file.write(bytes(1 << 24))
    return buffer.getvalue()


def _views_of_four_bytes() -> bytes:
    buffer = io.BytesIO()
    torch.save({f"w{i}": torch.zeros(1).expand(10**9) for i in range(3)}, buffer)
    return buffer.getvalue()


def _legacy(content: bytes) -> bytes:
    head = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(1001, protocol=2)
    return head + pickle.dumps({"little_endian": True}, protocol=2) + content + pickle.dumps([], protocol=2)


def _in_archive(content: bytes) -> bytes:
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(1)}, buffer)
    out = io.BytesIO()
    with zipfile.ZipFile(buffer) as theirs, zipfile.ZipFile(out, "w") as archive:
        for name in theirs.namelist():
            archive.writestr(name, content if name.endswith("data.pkl") else theirs.read(name))
    return out.getvalue()


def _many_arrays_of_the_same_bytes() -> bytes:
    array = pickle.dumps(np.zeros(1 << 20, np.uint8), protocol=2)
    # The array's state is taken from the memo again and again.
    state = pickle.dumps((1, (1 << 20,), np.dtype("u1"), False, bytes(1 << 20)), protocol=2)[2:-1]
    assert len(array) < 3 << 20
    one = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tU\1btRj\xff\xff\0\0ba"
    return b"\x80\x02]" + state + b"r\xff\xff\0\x000" + one * 3000 + b"."


_BYTEARRAY = b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\xe4\x0b\x54\x02\x85R."
_TENSOR = b"\x80\x02ctorch\nTensor\nJ\x00\x00\x00\x70\x85R."

SMALL = {
    "memo.pkl": b"\x80\x02Nr\xff\xff\xff\x0b.",  # nine bytes; 3 GB for the slots of a memo
    "lists.pkl": _shared_lists(40),
    "key.pkl": _shared_tuples_as_key(60),
    "long_text.pkl": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 42) + b"x.",
    "same_bytes.pkl": _many_arrays_of_the_same_bytes(),
    "overlapping.safetensors": _overlapping_safetensors(),
    "deep.safetensors": struct.pack("<Q", 200_000) + b'{"a":' + b"[" * 199_995,
    "zeros.pth": _archive_of_zeros(3 << 30),
    "views.pth": _views_of_four_bytes(),
    "bytearray.pth": _in_archive(_BYTEARRAY),
    "tensor.pth": _in_archive(_TENSOR),
    "key.pth": _in_archive(_shared_tuples_as_key(60)),
    "legacy_bytearray.pth": _legacy(_BYTEARRAY),
    "legacy_storage.pth": _legacy(
        b"\x80\x02(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0000X\3\0\0\0cpuJ\0\0\0\x70NtQ."
    ),
}
_READ = """
import resource, sys
from modist_det.checkpoint.reading import read_state_dict
from modist_det.utils.errors import UserError
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for path in sys.argv[1:]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    try:
        read_state_dict(path)
        said = "read"
    except UserError as error:
        said = str(error)
    spent = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{grown}|{spent:.1f}|{said}", flush=True)
"""


def test_small_files_that_ask_for_gigabytes_or_years(tmp_path):
    paths = []
    for name, content in SMALL.items():
        (tmp_path / name).write_bytes(content)
        paths.append(str(tmp_path / name))
    torch.save(WEIGHTS, tmp_path / "honest.pth")
    paths.insert(0, str(tmp_path / "honest.pth"))
    done = subprocess.run([sys.executable, "-c", _READ, *paths], capture_output=True, text=True, timeout=120)
    lines = [line.split("|", 2) for line in done.stdout.splitlines()]
    assert len(lines) == len(paths), done.stderr
    assert lines[0][2] == "read"
    for path, (peak, seconds, said) in zip(paths[1:], lines[1:], strict=True):
        assert said.startswith(f"weights file {path} "), said
        assert float(seconds) < 5, path
        # MB, above those of the interpreter with PyTorch.
        assert int(peak) - int(lines[0][0]) < 300, path


def test_lists_that_are_shared_are_made_once(tmp_path):
    array = np.arange(3.0)
    (tmp_path / "x.pkl").write_bytes(
        pickle.dumps({"blobs": {"w": array, "more": [array, array]}}, protocol=2)
    )
    assert read_state_dict(tmp_path / "x.pkl")["w"].tolist() == [0, 1, 2]


def test_a_compressed_archive_is_still_read(tmp_path):
    torch.save(WEIGHTS, tmp_path / "x.pth")
    _rewrite(tmp_path / "x.pth", {}, zipfile.ZIP_DEFLATED)
    assert torch.equal(read_state_dict(tmp_path / "x.pth")["stem.weight"], WEIGHTS["stem.weight"])


@pytest.mark.parametrize("tensor", [torch.eye(3).to_sparse(), torch.empty(3, device="meta")])
def test_tensors_without_data_of_their_own_are_refused(tmp_path, tensor):
    torch.save({"w": tensor}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="w is a sparse, quantized or meta"):
        read_state_dict(tmp_path / "x.pth")
