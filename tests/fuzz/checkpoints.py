"""Checkpoint files: the tensors that were saved, or a refusal. Nothing in a file runs."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modist_det.checkpoint.checkpointer import Checkpointer
from modist_det.checkpoint.reading import config_inside, read_checkpoint, read_state_dict
from modist_det.checkpoint.writing import write_weights
from modist_det.config import get_cfg

from .kinds import accepted, expect
from .mutate import NASTY_VALUES, mutate_bytes

__all__ = ["checkpoint", "hostile"]


def _tensors(rng: np.random.Generator) -> dict[str, Tensor]:
    """A small state dict of our names."""
    shapes = {
        "backbone.stem.conv.weight": (4, 3, 1, 3, 3),
        "backbone.stem.norm.weight": (4,),
        "backbone.stem.norm.num_batches_tracked": (),
        "head.projection.weight": (int(rng.integers(1, 9)), 8),
        "head.projection.bias": (0,) if rng.random() < 0.1 else (3,),
    }
    made = {
        name: torch.from_numpy(rng.normal(size=shape).astype(np.float32)) for name, shape in shapes.items()
    }
    made["backbone.stem.norm.num_batches_tracked"] = torch.tensor(int(rng.integers(1000)))
    return made


def _save(path: Path, content: object, legacy: bool = False) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)


def _ours(path: Path, tensors: dict[str, Tensor]) -> None:
    write_weights(path, tensors, "modist_det", config=get_cfg().dump())


def _run(path: Path, tensors: dict[str, Tensor]) -> None:
    folder = path.parent / "run"
    state = {
        "model": tensors,
        "optimizer": {"state": {}},
        "iteration": 7,
        "config": get_cfg().dump(),
        "run": {},
    }
    path.write_bytes(Checkpointer(folder).save(7, state).read_bytes())


def _numpy(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


# Ways in which files are written: (ending, whether damage must be noticed, writer). A zip archive has checksums, and
# checkpoints of ours have hashes; a bare pickle or an old file of torch has neither.
_WRITERS: dict[str, tuple[str, bool, Callable[[Path, dict[str, Tensor]], None]]] = {
    "ours": (".pth", True, _ours),
    "run": (".pth", True, _run),
    "ours, safetensors": (
        ".safetensors",
        True,
        lambda path, t: void(write_weights(path, t, "safetensors", config="A: 1")),
    ),
    "PySlowFast": (".pyth", True, lambda path, t: _save(path, {"epoch": 3, "model_state": t, "cfg": "A: 1"})),
    "state dict": (".pth", True, lambda path, t: _save(path, {f"module.{k}": v for k, v in t.items()})),
    "old torch": (".pth", False, lambda path, t: _save(path, {"state_dict": t}, legacy=True)),
    "Caffe2": (
        ".pkl",
        False,
        lambda path, t: void(path.write_bytes(pickle.dumps({"blobs": _numpy(t)}, protocol=2))),
    ),
    "pickle 4": (
        ".pkl",
        False,
        lambda path, t: void(path.write_bytes(pickle.dumps({"model": _numpy(t)}, protocol=4))),
    ),
}


def void(_: object) -> None:
    """Drop a result."""


def checkpoint(rng: np.random.Generator, folder: Path) -> None:
    """Files of ours and of other code bases, whole and damaged."""
    name = str(rng.choice(list(_WRITERS)))
    ending, checked, write = _WRITERS[name]
    tensors = _tensors(rng)
    path = folder / f"model{ending}"
    write(path, tensors)
    if rng.random() < 0.15:
        with accepted(f"a whole checkpoint ({name})"):
            _check_equal(read_state_dict(path), tensors, name)
        return
    data = path.read_bytes()
    if rng.random() < 0.25 and zipfile.is_zipfile(path):
        data = _rewritten(rng, data)
        checked = False
    else:
        data = mutate_bytes(rng, data)
    path.write_bytes(data)
    if name == "run" and rng.random() < 0.5:
        _check_resume(rng, folder, data, tensors)
        return
    content = read_checkpoint(path)
    config_inside(content)
    found = read_state_dict(path)
    if checked:
        _check_equal(found, tensors, name)
    for key, tensor in found.items():
        expect(isinstance(tensor, Tensor), f"{key} is no tensor")
        _ = tensor.sum() if tensor.dtype != torch.bool and not tensor.is_quantized else None


def _check_equal(found: Mapping[str, Tensor], tensors: Mapping[str, Tensor], name: str) -> None:
    expect(
        found.keys() == tensors.keys(), f"{name}: other tensors: {sorted(found.keys() ^ tensors.keys())[:3]}"
    )
    for key, tensor in tensors.items():
        same = found[key].shape == tensor.shape and found[key].dtype == tensor.dtype
        expect(same and torch.equal(found[key], tensor), f"{name}: {key} has other values")


def _check_resume(rng: np.random.Generator, folder: Path, data: bytes, tensors: dict[str, Tensor]) -> None:
    """A run whose last checkpoint is damaged goes on from the one before, or says that it cannot."""
    checkpointer = Checkpointer(folder / "resumed")
    before = rng.random() < 0.5
    state = {"model": tensors, "optimizer": {}, "iteration": 3, "config": "", "run": {}}
    if before:
        checkpointer.save(3, state)
    checkpointer.save(7, state).write_bytes(data)
    loaded = checkpointer.load_last()
    expect(loaded is not None, "no checkpoint is found")
    assert loaded is not None
    _check_equal(loaded[1]["model"], tensors, "resumed")
    expect(loaded[1]["iteration"] == (7 if "0000007" in loaded[0].name else 3), "another iteration")


def _rewritten(rng: np.random.Generator, data: bytes) -> bytes:
    """A valid archive with other content: entries damaged before they are packed, deflated, doubled, renamed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        for info in source.infolist():
            content, name = source.read(info), info.filename
            if rng.random() < 0.15:
                content = mutate_bytes(rng, content)
            if rng.random() < 0.05:
                name = str(rng.choice(["../x", "/etc/x", "a" * 5000, name + "\\", name.replace("/", "//")]))
            if rng.random() < 0.03:
                content = bytes(200_000_000)
            method = (
                zipfile.ZIP_DEFLATED if rng.random() < 0.3 or len(content) > 1 << 20 else zipfile.ZIP_STORED
            )
            target.writestr(name, content, method)
    return out.getvalue()


# ---- hand-made ones ---------------------------------------------------------------------------

_GLOBALS = (
    "os system", "posix system", "builtins eval", "builtins exec", "builtins getattr", "builtins bytearray",
    "builtins range", "numpy dtype", "numpy ndarray", "numpy zeros", "numpy.core.multiarray _reconstruct",
    "numpy.core.multiarray scalar", "numpy._core.numeric _frombuffer", "collections OrderedDict",
    "collections Counter", "_codecs encode", "torch FloatStorage", "torch Size",
    "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "torch.storage UntypedStorage",
    "subprocess Popen", "copyreg _reconstructor", "__builtin__ bytes", "torch serialization.load",
    "torch.hub load",
)  # fmt: skip


def _operation(rng: np.random.Generator, mark: str) -> bytes:
    """One opcode of a pickle with an argument that it may take."""
    op = pickletools.opcodes[rng.integers(len(pickletools.opcodes))]
    code = op.code.encode("latin1")
    kind = op.arg.name if op.arg else ""
    size = int(
        rng.choice(
            [0, 1, 2, 3, 10, 255, 2**15, 2**31 - 1, 2**32 - 1, 2**40, 2**63],
            p=[0.2] * 4 + [0.05] + [0.025] * 6,
        )
    )
    number = int(rng.choice([0, 1, 2, 3]))
    text = str(rng.choice([f"touch {mark}", "f4", "O8", "latin1", "x" * 9, "<", "0"])).encode()
    if op.name in ("GLOBAL", "INST"):
        module, name = str(rng.choice(_GLOBALS)).split(" ")
        return code + f"{module}\n{name}\n".encode()
    if kind == "uint1":
        return code + bytes([number])
    if kind in ("uint2", "uint4", "uint8", "int4"):
        width = int(kind[-1])
        return code + (size % 2 ** (8 * width - 1) if size > 3 else number).to_bytes(width, "little")
    if kind == "float8":
        return code + struct.pack(">d", float(rng.choice([0.0, np.nan, 1e308])))
    if kind in ("decimalnl_short", "decimalnl_long", "floatnl"):
        return (
            code
            + str(rng.choice(["0", "1", "2", "99999999999", "01", "-1", "9" * 5000, "5L"])).encode()
            + b"\n"
        )
    if kind in ("stringnl", "unicodestringnl", "stringnl_noescape"):
        return code + b"'" * (kind == "stringnl") + text + b"'" * (kind == "stringnl") + b"\n"
    width = {"1": 1, "4": 4, "8": 8}.get(kind[-1:], 0)
    if width:  # a length and so many bytes, or fewer than it claims
        length = size % 2 ** (8 * width) if rng.random() < 0.2 else len(text)
        return code + length.to_bytes(width, "little") + text
    return code


def _random_pickle(rng: np.random.Generator, mark: str) -> bytes:
    body = b"".join(_operation(rng, mark) for _ in range(int(rng.integers(1, 60))))
    return b"\x80" + bytes([int(rng.choice([2, 2, 4, 5]))]) + body + b"."


def _doubling(rng: np.random.Generator) -> bytes:
    """A list that holds itself over and over: 2 ** depth entries in a few bytes."""
    depth = int(rng.integers(10, 60))
    one = b"".join(
        b"]q" + bytes([i + 1]) + b"(h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(depth)
    )
    return b"\x80\x02}X\x05\x00\x00\x00blobs]q\x00" + one + b"s."


def _huge_numbers(rng: np.random.Generator) -> bytes:
    return bytes(
        rng.choice(
            [
                b"\x80\x02K\x01r\xff\xff\xff\x7f.",
                b"\x80\x02K\x01r\xff\xff\xff\x0f.",
                b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x00.",
                b"\x80\x04\x8e\xff\xff\xff\xff\x02\x00\x00\x00ab.",
                b"\x80\x05\x96\xff\xff\xff\xff\x01\x00\x00\x00ab.",
                b"\x80\x02B\xff\xff\xff\x7fab.",
                b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
                b"\x80\x02X\xff\xff\xff\xffab.",
            ]
        )
    )


def _safetensors(rng: np.random.Generator) -> bytes:
    """Headers that lie: ranges that overlap, shapes that do not fit, types that are no texts."""
    body = rng.bytes(int(rng.choice([0, 16, 4096])))
    header: dict[str, Any] = {}
    for i in range(int(rng.choice([1, 3, 2000]))):
        first = 0 if rng.random() < 0.5 else int(rng.integers(0, len(body) + 1))
        end = len(body) if rng.random() < 0.5 else int(rng.integers(first, len(body) + 1))
        facts = {"dtype": "F32", "shape": [(end - first) // 4], "data_offsets": [first, end]}
        if rng.random() < 0.2:
            key = str(rng.choice(list(facts)))
            facts[key] = NASTY_VALUES[rng.integers(len(NASTY_VALUES))]  # type: ignore[assignment]
        if rng.random() < 0.1:
            facts["shape"] = list(rng.choice([0, 1, -1, 2**31, 2**62], 3).tolist())
        header[f"t{i}"] = facts
    if rng.random() < 0.2:
        header["__metadata__"] = NASTY_VALUES[rng.integers(len(NASTY_VALUES))]
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        text = b"{" + b'"a":[' * 100_000
    length = len(text) if rng.random() < 0.9 else int(rng.choice([0, 1, 10**8, 2**63]))
    return struct.pack("<Q", length) + text + body


def _bomb(rng: np.random.Generator) -> bytes:
    """A zip archive that unpacks to far more than it weighs."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", b"\x80\x02}." if rng.random() < 0.5 else bytes(50_000_000))
        archive.writestr("model/version", "3\n")
        with archive.open("model/data/0", "w", force_zip64=True) as entry:
            for _ in range(int(rng.integers(1, 40))):
                entry.write(bytes(50_000_000) if rng.random() < 0.5 else b"\x80" * 5_000_000)
    return out.getvalue()


def hostile(rng: np.random.Generator, folder: Path) -> None:
    """Files that are made to run code or to take all memory."""
    mark = folder / "ran"
    way = rng.random()
    if way < 0.5:
        data = _random_pickle(rng, str(mark))
    elif way < 0.6:
        data = _doubling(rng)
    elif way < 0.7:
        data = _huge_numbers(rng)
    elif way < 0.98:
        data = _safetensors(rng)
    else:
        data = _bomb(rng)
    if rng.random() < 0.15 and len(data) < 1 << 20:
        data = mutate_bytes(rng, data)
    in_zip = way < 0.7 and rng.random() < 0.3
    if in_zip:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("model/data.pkl", data)
            archive.writestr("model/version", "3\n")
            archive.writestr("model/byteorder", "little")
            archive.writestr("model/data/0", bytes(64))
        data = out.getvalue()
    path = folder / str(rng.choice(["model.pkl", "model.pth", "model.safetensors"]))
    path.write_bytes(data)
    try:
        read_state_dict(path)
    finally:
        expect(not mark.exists(), "code in the file was run")
