"""Export classifiers and detectors as ``torch.export`` programs and ONNX files.

The exported network takes ``video``, uint8 RGB (B, 3, T, H, W), normalizes it, and returns ``scores``. Detectors also
take ``rois``, float32 (N, 5): index of the clip, then x1, y1, x2, y2 in its pixels. B and N are free; T, H and W are
fixed at export.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..utils.errors import UserError
from ..utils.files import atomic_path
from .networks import as_function, fold_norms

__all__ = ["TOLERANCE", "check_onnx", "check_program", "export_onnx", "export_program"]

# Largest allowed difference between the scores of an exported file and of the model.
TOLERANCE = 1e-4
_SEED = 0


def export_program(
    model: nn.Module,
    path: str | os.PathLike,
    clip: tuple[int, int, int],
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write a program for ``torch.export.load(path).module()``, which runs without this package.

    For detectors, ``import torchvision`` first: it provides RoIAlign.

    Args:
        clip: number of frames, height and width.
        texts: small files to store in the program, such as ``{"config.yaml": ...}``.

    Raises:
        UserError: the model is neither a classifier nor a detector, or the file cannot be written.
    """
    program = _trace(as_function(model), clip)
    # torch requires a certain suffix for paths, which the temporary file does not have.
    with atomic_path(path) as temporary, _quiet(), temporary.open("wb") as file:
        torch.export.save(program, file, extra_files=dict(texts or {}))


def export_onnx(
    model: nn.Module,
    path: str | os.PathLike,
    clip: tuple[int, int, int],
    texts: Mapping[str, str] | None = None,
) -> None:
    """Write an ONNX file (opset 18 or newer, including RoIAlign). Requires ``modist_det[export]``.

    Args:
        clip: number of frames, height and width.
        texts: metadata of the file, such as ``{"config": ...}``.

    Raises:
        UserError: a package is missing, or as for :func:`export_program`.
    """
    _require("onnx", "onnxscript", "onnxruntime")
    function = as_function(model)
    program = _trace(function, clip)
    with _quiet():
        exported = torch.onnx.export(
            program, dynamo=True, input_names=list(function.inputs), output_names=["scores"], verbose=False
        )
    assert exported is not None
    exported.model.metadata_props.update(texts or {})
    with atomic_path(path) as temporary, _quiet():
        exported.save(temporary, external_data=False)


def check_program(model: nn.Module, path: str | os.PathLike, clip: tuple[int, int, int]) -> float:
    """Largest difference between the scores of the model and of the program in ``path``."""
    with Path(path).open("rb") as file:
        module = torch.export.load(file).module()
    return _largest_difference(model, clip, lambda inputs: module(*inputs.values()))


def check_onnx(model: nn.Module, path: str | os.PathLike, clip: tuple[int, int, int]) -> float:
    """Largest difference between the scores of the model and of onnxruntime with ``path``.

    Raises:
        UserError: onnxruntime is missing.
    """
    _require("onnxruntime")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(inputs: dict[str, Tensor]) -> Tensor:
        return torch.from_numpy(session.run(["scores"], {k: v.numpy() for k, v in inputs.items()})[0])

    return _largest_difference(model, clip, run)


def _trace(function: nn.Module, clip: tuple[int, int, int]) -> torch.export.ExportedProgram:
    inputs = _example(function, clip, batch=2, boxes=3)
    free = {"video": {0: torch.export.Dim("batch")}, "rois": {0: torch.export.Dim("boxes")}}
    with torch.no_grad(), _quiet():
        program = torch.export.export(
            fold_norms(function),
            tuple(inputs.values()),
            dynamic_shapes={name: free[name] for name in inputs},
            strict=False,
        )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names source files of this machine
    return program


def _example(function: nn.Module, clip: tuple[int, int, int], batch: int, boxes: int) -> dict[str, Tensor]:
    """Random inputs, with boxes of all sizes, some of them partly outside the clip."""
    generator = torch.Generator().manual_seed(_SEED + batch + boxes)
    frames, height, width = clip
    video = torch.randint(0, 256, (batch, 3, frames, height, width), generator=generator, dtype=torch.uint8)
    size = torch.tensor([width, height, width, height])
    corners = torch.rand(boxes, 2, 2, generator=generator).sort(dim=1).values * 1.2 - 0.1
    number = torch.randint(0, batch, (boxes, 1), generator=generator)
    rois = torch.cat([number, corners.flatten(1) * size], dim=1)
    inputs = {"video": video, "rois": rois}
    return {name: inputs[name] for name in function.inputs}  # type: ignore[union-attr]


@torch.no_grad()
def _largest_difference(model: nn.Module, clip: tuple[int, int, int], run: Any) -> float:
    """Largest difference over batch sizes and numbers of boxes other than those of the export."""
    function = as_function(model)
    largest = 0.0
    for batch, boxes in ((1, 1), (3, 5), (1, 0)):
        inputs = _example(function, clip, batch, boxes)
        expected, scores = function(*inputs.values()), run(inputs)
        if expected.shape != scores.shape:
            raise UserError(
                f"the exported file gives scores {tuple(scores.shape)} instead of {tuple(expected.shape)}"
            )
        if expected.numel():
            largest = max(largest, (expected - scores).abs().max().item())
    return largest


def _require(*packages: str) -> None:
    import importlib.util

    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(f"ONNX export needs {', '.join(missing)}: pip install {' '.join(missing)}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress torch's messages about its internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
