"""Numeric precision of a model: ``SOLVER.AMP`` if the device is faster with it, otherwise float32."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Collection
from pathlib import Path

import torch

from ..core import CfgNode, add_section
from ..utils.errors import UserError

__all__ = [
    "autocast_dtype",
    "autocast_factory",
    "build_grad_scaler",
    "cpu_is_faster_in",
    "cuda_is_faster_in",
    "precision_name",
]

logger = logging.getLogger(__name__)

add_section(
    "SOLVER.AMP",
    ENABLED=False,  # autocast if the device is faster with it, otherwise fp32
    PRECISION="bf16",  # or "fp16", with a gradient scaler
)

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}

# Instruction sets with which oneDNN's convolutions compute natively in the format. Without them every number is
# converted, and a bf16 convolution reaches 2 GFLOP/s instead of float32's 50. ARM's flag `bf16` is not among them: its
# 3D convolutions in bf16 have no fast kernel on most such processors.
_CPU_FLAGS = {"bf16": {"avx512_bf16", "amx_bf16"}, "fp16": {"avx512_fp16", "amx_fp16"}}
# Values of ONEDNN_MAX_CPU_ISA that disable them; oneDNN ignores other values.
_TOO_OLD = {"sse41", "avx", "avx2", "avx2_vnni", "avx2_vnni_2", "avx512_core", "avx512_core_vnni"}
_CPU_LIMITS = {"bf16": _TOO_OLD, "fp16": _TOO_OLD | {"avx512_core_bf16"}}
# Lowest compute capability whose tensor cores support the format.
_CUDA_CAPABILITY = {"bf16": 8, "fp16": 7}


def autocast_factory(cfg: CfgNode, device: torch.device) -> Callable[[], contextlib.AbstractContextManager]:
    """A function that creates the context in which the model runs (autocast or none); see :func:`autocast_dtype`."""
    dtype = autocast_dtype(cfg, device)
    return contextlib.nullcontext if dtype is None else functools.partial(torch.autocast, device.type, dtype)


def build_grad_scaler(cfg: CfgNode, device: torch.device) -> torch.amp.GradScaler:
    """A gradient scaler that is enabled only if the model runs in float16."""
    return torch.amp.GradScaler(device.type, enabled=autocast_dtype(cfg, device) == torch.float16)


def precision_name(cfg: CfgNode, device: torch.device) -> str:
    """The precision in which the model of ``cfg`` runs on ``device``: ``bf16``, ``fp16`` or ``fp32``."""
    dtype = autocast_dtype(cfg, device)
    return "fp32" if dtype is None else _NAMES[dtype]


def autocast_dtype(cfg: CfgNode, device: torch.device) -> torch.dtype | None:
    """The dtype of ``SOLVER.AMP`` if ``device`` is faster with it; None for float32.

    If it is not faster, this is logged once per process.

    Raises:
        UserError: ``SOLVER.AMP.PRECISION`` is unknown.
    """
    if not cfg.SOLVER.AMP.ENABLED:
        return None
    precision = cfg.SOLVER.AMP.PRECISION
    if precision not in _DTYPES:
        raise UserError(f"SOLVER.AMP.PRECISION is {precision!r}; known: 'bf16', 'fp16'")
    if device.type == "cuda":
        # AMD's GPUs, which ROCm shows as CUDA devices, support both formats.
        name, faster = torch.cuda.get_device_name(device), torch.version.hip is not None
        faster = faster or cuda_is_faster_in(precision, torch.cuda.get_device_capability(device))
    else:
        name = "this CPU" if device.type == "cpu" else str(device)
        limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", ""))
        faster = (
            device.type == "cpu"
            and torch.backends.mkldnn.is_available()
            and cpu_is_faster_in(precision, _cpu_flags(), limit)
        )
        name += f" with ONEDNN_MAX_CPU_ISA={limit}" if limit and device.type == "cpu" else ""
    if faster:
        return _DTYPES[precision]
    _say_once(f"the model runs in fp32: {name} is not faster in {precision} (SOLVER.AMP)")
    return None


def cpu_is_faster_in(precision: str, flags: Collection[str], limit: str = "") -> bool:
    """Whether convolutions on a processor are faster in ``precision`` than in float32.

    Args:
        precision: ``bf16`` or ``fp16``.
        flags: names of its instruction sets, as in Linux's ``/proc/cpuinfo``.
        limit: value of ``ONEDNN_MAX_CPU_ISA``, which limits the instruction sets; any case, empty for no limit.
    """
    return not _CPU_FLAGS[precision].isdisjoint(flags) and limit.lower() not in _CPU_LIMITS[precision]


def cuda_is_faster_in(precision: str, capability: tuple[int, int]) -> bool:
    """Whether a GPU of this compute capability (major, minor) has tensor cores for ``bf16`` or ``fp16``."""
    return capability[0] >= _CUDA_CAPABILITY[precision]


@functools.cache
def _cpu_flags() -> frozenset[str]:
    """The processor's instruction sets from torch (recent versions) or Linux; empty if unknown."""
    query = getattr(torch.cpu, "get_capabilities", None)
    if query is not None:
        return frozenset(name for name, value in query().items() if value is True)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(":")[1] for line in lines if line.startswith("flags")), "").split())


@functools.cache
def _say_once(line: str) -> None:
    logger.warning("%s", line)
