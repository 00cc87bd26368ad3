"""No pickle, however built, makes reading run anything."""

from __future__ import annotations

import os
import pickle
import pickletools
import struct

import numpy as np
import pytest

from modist_det.checkpoint.reading import read_state_dict
from modist_det.checkpoint.unpickler import ForbiddenPickle, read_array_pickle
from modist_det.utils.errors import UserError
from tests.checkpoint.foreign import python2_pickle


class _Reduce:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<i", len(value.encode())) + value.encode()


def _array(state: bytes) -> bytes:
    """An array whose ``__setstate__`` gets ``state``."""
    return b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R" + state + b"b"


_F4 = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"


def _attacks(mark: str) -> dict[str, bytes]:
    touch = f"open({mark!r}, 'w').close()"
    call = f"(S'touch {mark}'\ntR"
    return {
        "reduce": pickle.dumps({"blobs": {"conv1_w": _Reduce(os.system, f"touch {mark}")}}),
        "reduce, protocol 2": pickle.dumps({"blobs": _Reduce(exec, touch)}, protocol=2),
        "a global that is only named": b"\x80\x02cos\nsystem\n.",
        "stack global": b"\x80\x04"
        + _text("os")
        + _text("system")
        + b"\x93"
        + _text(f"touch {mark}")
        + b"\x85R.",
        "instance": b"\x80\x02(S'touch " + mark.encode() + b"'\nios\nsystem\n.",
        "object": b"\x80\x02(cos\nsystem\nS'touch " + mark.encode() + b"'\no.",
        "new object": b"\x80\x02cbuiltins\nexec\n" + _text(touch) + b"\x85\x81.",
        "through numpy": b"\x80\x02cnumpy.testing._private.utils\nrunstring\n" + _text(touch) + b"}\x86R.",
        "dotted name": b"\x80\x04"
        + _text("numpy")
        + _text("os.system")
        + b"\x93"
        + _text(f"touch {mark}")
        + b"\x85R.",
        "attribute of an allowed module": b"\x80\x02c_codecs\nlookup\n" + _text("latin1") + b"\x85R.",
        "getattr": b"\x80\x02cbuiltins\ngetattr\ncnumpy\nndarray\n" + _text("__class__") + b"\x86R.",
        "reconstructor": b"\x80\x02ccopyreg\n_reconstructor\n" + call.encode() + b".",
        "python 2 module": b"\x80\x02c__builtin__\neval\n" + _text(touch) + b"\x85R.",
        "persistent id": b"\x80\x02" + _text("os.system") + b"Q.",
        "extension": b"\x80\x02\x82\x01.",
        "state for a name": b"\x80\x02cnumpy\nndarray\n}" + _text("__call__") + _text("x") + b"sb.",
        "attributes for a name": b"\x80\x02c_codecs\nencode\nN}" + _text("__doc__") + _text("x") + b"s\x86b.",
        "inside of an array": b"\x80\x02" + _array(b"(K\x01K\x01\x85cos\nsystem\n\x89U\x04aaaat") + b".",
        "array of objects": b"\x80\x02cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R.",
        "array of records": b"\x80\x02cnumpy\ndtype\nU\x05i4,f4K\x00K\x01\x87R.",
        "array larger than its bytes": b"\x80\x02"
        + _array(b"(K\x01J\xff\xff\xff\x7f\x85" + _F4 + b"\x89U\x04aaaat")
        + b".",
        "array of negative size": b"\x80\x02"
        + _array(b"(K\x01J\xff\xff\xff\xff\x85" + _F4 + b"\x89U\x04aaaat")
        + b".",
        "codec": b"\x80\x02c_codecs\nencode\n" + _text("ab") + _text("rot13") + b"\x86R.",
        "called array": b"\x80\x02"
        + _array(b"(K\x01K\x01\x85" + _F4 + b"\x89U\x04aaaat")
        + _text("x")
        + b"\x85R.",
    }


@pytest.mark.parametrize("attack", sorted(_attacks("")))
def test_attack_is_refused(tmp_path, attack):
    mark = tmp_path / "code-was-run"
    path = tmp_path / "model.pkl"
    path.write_bytes(_attacks(str(mark))[attack])
    with pytest.raises(
        UserError, match=r"is rejected: reading it would run code|is damaged or not a checkpoint"
    ):
        read_state_dict(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "attack", ["reduce", "reduce, protocol 2", "stack global", "python 2 module", "instance"]
)
def test_attack_would_work(tmp_path, attack):
    """The pickles above are no blanks: Python's own unpickler runs them."""
    mark = tmp_path / "code-was-run"
    data = _attacks(str(mark))[attack]
    pickletools.dis(data, out=(tmp_path / "listing").open("w"))
    pickle.loads(data)
    assert mark.exists()


def test_the_refusal_names_what_is_held(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"blobs": _Reduce(os.system, "true")}))
    with pytest.raises(UserError, match=rf"{path} is rejected.*it contains {os.system.__module__}.system"):
        read_state_dict(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_and_plain_values_pass(tmp_path, protocol):
    content = {
        "blobs": {
            "a": np.arange(12, dtype=np.float32).reshape(3, 4),
            "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            "big endian": np.arange(3, dtype=">i4"),
            "empty": np.zeros((0, 3), np.float16),
            "flags": np.array([True, False]),
        },
        "lr": np.float64(0.5),
        "cfg": "text",
        "nested": [1, 2.5, None, (True, b"bytes")],
    }
    path = tmp_path / "arrays.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    read = read_array_pickle(path)
    for name, array in content["blobs"].items():
        np.testing.assert_array_equal(read["blobs"][name], array)
        assert read["blobs"][name].dtype == array.dtype.newbyteorder("=")
    assert float(read["lr"]) == 0.5
    assert (read["cfg"], read["nested"]) == ("text", [1, 2.5, None, [True, b"bytes"]])


def test_python_2_writes_what_numpy_reads(tmp_path):
    """The tests' own writer against Python's unpickler, and against ours."""
    arrays = {"w": np.arange(400, dtype=np.float32).reshape(4, 100), "n": np.array([7], np.int64)}
    data = python2_pickle(arrays)
    (tmp_path / "blobs.pkl").write_bytes(data)
    for read in (pickle.loads(data, encoding="latin1"), read_array_pickle(tmp_path / "blobs.pkl")):
        assert sorted(read["blobs"]) == ["n", "w"]
        for name, array in arrays.items():
            np.testing.assert_array_equal(read["blobs"][name], array)


def test_forbidden_is_said_before_anything_is_built(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x02cos\nsystem\n.")
    with pytest.raises(ForbiddenPickle, match=r"^os\.system$"):
        read_array_pickle(path)
