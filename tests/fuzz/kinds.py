"""Kinds of cases: each makes files from a seed, gives them to the product and judges what comes back.

A kind is a function ``case(rng, folder)``. It writes into ``folder``, which is empty, and takes every choice from
``rng``, so a seed gives the same case again. It ends in one of these ways:

- it returns: the product's result was right;
- :class:`~modist_det.utils.errors.UserError`: the product refused the input;
- :class:`Wrong`: the product gave something else than an independent reading of the file gives;
- any other exception: a finding, as are a crash, a hang and too much memory (:mod:`.workers` sees to these).
"""

from __future__ import annotations

import contextlib
import importlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from modist_det.utils.errors import UserError

__all__ = ["KINDS", "Wrong", "accepted", "expect", "find_case", "rng_of"]

Case = Callable[[np.random.Generator, Path], None]

# Kind -> "module:function". Imported where it is run, so that a worker loads only what it needs.
KINDS = {
    "video": "tests.fuzz.video:intact",
    "video_damaged": "tests.fuzz.video:damaged",
    "csv": "tests.fuzz.tables:valid_table",
    "csv_damaged": "tests.fuzz.tables:damaged_table",
    "lists": "tests.fuzz.tables:video_lists",
    "label_map": "tests.fuzz.texts:label_map",
    "json": "tests.fuzz.texts:json_files",
    "tubes": "tests.fuzz.annotations:tube_files",
    "yaml": "tests.fuzz.texts:yaml_files",
    "checkpoint": "tests.fuzz.checkpoints:checkpoint",
    "pickle": "tests.fuzz.checkpoints:hostile",
    "onnx": "tests.fuzz.networks:detector",
    "frames": "tests.fuzz.folders:frame_folder",
    "command": "tests.fuzz.commands:command",
}


class Wrong(Exception):
    """The product accepted the input and gave a wrong result."""


def expect(condition: object, message: str) -> None:
    """Raise :class:`Wrong` unless ``condition`` holds."""
    if not condition:
        raise Wrong(message)


@contextlib.contextmanager
def accepted(what: str) -> Iterator[None]:
    """The input is valid, so refusing it is wrong."""
    try:
        yield
    except UserError as error:
        raise Wrong(f"{what} was refused: {error}") from error


def find_case(kind: str) -> Case:
    """The function of a kind; also takes ``module:function`` itself, for the fuzzer's own tests."""
    module, _, function = KINDS.get(kind, kind).partition(":")
    return getattr(importlib.import_module(module), function)


def rng_of(kind: str, seed: int) -> np.random.Generator:
    """The random numbers of one case."""
    return np.random.default_rng([zlib.crc32(kind.encode()), seed])
