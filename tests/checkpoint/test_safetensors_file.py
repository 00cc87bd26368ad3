"""Our reader and writer of safetensors files, against the format's own package and by hand."""

from __future__ import annotations

import json
import struct

import pytest
import torch

from modist_det.checkpoint.reading import read_state_dict
from modist_det.checkpoint.safetensors_file import is_safetensors, read_safetensors, write_safetensors
from modist_det.utils.errors import UserError

TENSORS = {
    "weight": torch.arange(6, dtype=torch.float32).view(2, 3),
    "half": torch.tensor([1.5, -2.0], dtype=torch.float16),
    "brain": torch.tensor([[0.5]], dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "empty": torch.zeros(0, 4),
    "flag": torch.tensor([True, False, True]),
    "transposed": torch.arange(6.0).view(2, 3).t(),
}


def _file(path, header: dict | bytes, data: bytes = b"", length: int | None = None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def _same(read) -> None:
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor)


def test_round_trip(tmp_path):
    path = tmp_path / "model.safetensors"
    write_safetensors(path, TENSORS, {"config": "A: 1\n"})
    tensors, metadata = read_safetensors(path)
    _same(tensors)
    assert metadata == {"config": "A: 1\n"}
    assert is_safetensors(path)


def test_bytes_by_hand(tmp_path):
    path = _file(
        tmp_path / "x",
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}},
        struct.pack("<ff", 1.0, 2.0),
    )
    assert read_state_dict(path)["a"].tolist() == [1.0, 2.0]
    write_safetensors(tmp_path / "y", {"a": torch.tensor([1.0, 2.0])})
    data = (tmp_path / "y").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    assert length % 8 == 0 and data[8 + length :] == struct.pack("<ff", 1.0, 2.0)


def test_the_format_s_own_package_agrees(tmp_path):
    package = pytest.importorskip("safetensors.torch", reason="the safetensors package is not installed")
    path = tmp_path / "ours.safetensors"
    write_safetensors(path, TENSORS, {"k": "v"})
    _same(package.load_file(path))
    package.save_file({n: t.contiguous() for n, t in TENSORS.items()}, tmp_path / "theirs", {"k": "v"})
    tensors, metadata = read_safetensors(tmp_path / "theirs")
    _same(tensors)
    assert metadata == {"k": "v"}


FACTS = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "data", "length", "said"),
    [
        ({"a": FACTS}, b"1234", None, "do not fit its shape or the file"),
        ({"a": FACTS | {"data_offsets": [-8, 0]}}, b"12345678", None, "do not fit"),
        ({"a": FACTS | {"shape": [3]}}, b"12345678", None, "do not fit"),
        ({"a": FACTS | {"dtype": "F8"}}, b"12345678", None, "type F8"),
        ({"a": FACTS}, b"", 10**6, "the header is truncated"),
        (b'{"a": ', b"", None, "Expecting"),
        ({"a": {"dtype": "F32"}}, b"", None, "data_offsets"),
    ],
)
def test_damaged_files_are_named(tmp_path, header, data, length, said):
    path = _file(tmp_path / "bad.safetensors", header, data, length)
    with pytest.raises(UserError, match=f"bad.safetensors is damaged or not a checkpoint.*{said}"):
        read_state_dict(path)


def test_types_that_the_format_lacks(tmp_path):
    with pytest.raises(UserError, match="z has the type torch.complex64"):
        write_safetensors(tmp_path / "x", {"z": torch.zeros(1, dtype=torch.complex64)})
    assert not (tmp_path / "x").exists()
