"""SOLVER.AMP on devices that are faster in bf16 or fp16, and on those that are not."""

from __future__ import annotations

import contextlib
import logging
import sys

import pytest
import torch

from modist_det.config import get_cfg
from modist_det.engine import precision
from modist_det.utils.errors import UserError

CPU = torch.device("cpu")
ZEN_3 = ["fma3", "avx2", "sha"]
CASCADE_LAKE = [*ZEN_3, "avx512_f", "avx512_vnni"]
ZEN_4 = [*CASCADE_LAKE, "avx512_bf16"]
SAPPHIRE_RAPIDS = [*ZEN_4, "avx512_fp16", "amx_tile", "amx_bf16"]
GRANITE_RAPIDS = [*SAPPHIRE_RAPIDS, "amx_fp16"]
APPLE_M2 = ["neon", "fp16_arith", "bf16", "i8mm"]


@pytest.mark.parametrize(
    ("flags", "limit", "faster_in"),
    [
        ([], "", []),
        (ZEN_3, "", []),
        (CASCADE_LAKE, "", []),
        (APPLE_M2, "", []),
        (ZEN_4, "", ["bf16"]),
        (SAPPHIRE_RAPIDS, "", ["bf16", "fp16"]),
        (GRANITE_RAPIDS, "DEFAULT", ["bf16", "fp16"]),
        (SAPPHIRE_RAPIDS, "AVX512_CORE_AMX", ["bf16", "fp16"]),
        (SAPPHIRE_RAPIDS, "AVX512_CORE_BF16", ["bf16"]),
        (SAPPHIRE_RAPIDS, "AVX512_CORE_VNNI", []),
        (ZEN_4, "AVX2", []),
        (ZEN_4, "avx2", []),
        (ZEN_4, "SSE41", []),
        (ZEN_4, "ALL", ["bf16"]),
        (CASCADE_LAKE, "AVX512_CORE_AMX", []),
    ],
)
def test_a_processor_is_faster_where_it_computes_in_the_format(flags, limit, faster_in):
    assert [p for p in ("bf16", "fp16") if precision.cpu_is_faster_in(p, flags, limit)] == faster_in


@pytest.mark.parametrize(
    ("capability", "faster_in"),
    [((6, 1), []), ((7, 0), ["fp16"]), ((7, 5), ["fp16"]), ((8, 0), ["bf16", "fp16"])],
)
def test_a_card_is_faster_where_its_tensor_cores_take_the_format(capability, faster_in):
    assert [p for p in ("bf16", "fp16") if precision.cuda_is_faster_in(p, capability)] == faster_in


def wanted(name, enabled=True):
    cfg = get_cfg()
    cfg.SOLVER.AMP.ENABLED, cfg.SOLVER.AMP.PRECISION = enabled, name
    return cfg


@pytest.fixture
def log(caplog, monkeypatch):
    """The package's log of this test, as of a new process."""
    precision._say_once.cache_clear()
    monkeypatch.setattr(logging.getLogger("modist_det"), "propagate", True)
    return caplog


def test_slow_formats_give_float32_without_a_scaler_and_one_line(log, monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    for _ in range(3):
        for name in ("bf16", "fp16"):
            cfg = wanted(name)
            assert precision.precision_name(cfg, CPU) == "fp32"
            assert precision.autocast_factory(cfg, CPU) is contextlib.nullcontext
            assert not precision.build_grad_scaler(cfg, CPU).is_enabled()
    assert log.messages == [
        f"the model runs in fp32: this CPU with ONEDNN_MAX_CPU_ISA=AVX2 is not faster in {name} (SOLVER.AMP)"
        for name in ("bf16", "fp16")
    ]


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_fast_formats_are_used_without_a_word(log, monkeypatch, name, dtype):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(precision, "_cpu_flags", lambda: frozenset(GRANITE_RAPIDS))
    cfg = wanted(name)
    assert precision.precision_name(cfg, CPU) == name
    assert precision.build_grad_scaler(cfg, CPU).is_enabled() == (name == "fp16")
    with precision.autocast_factory(cfg, CPU)():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    assert precision.autocast_dtype(wanted(name, enabled=False), CPU) is None
    assert log.messages == []


def test_an_unknown_format_is_a_mistake():
    with pytest.raises(UserError, match="SOLVER.AMP.PRECISION is 'int8'; known: 'bf16', 'fp16'"):
        precision.autocast_factory(wanted("int8"), CPU)


def test_flags_of_this_machine_by_torch_and_by_linux(monkeypatch):
    """What torch says of this CPU agrees with /proc/cpuinfo, which serves older versions of torch."""
    if not (hasattr(torch.cpu, "get_capabilities") and sys.platform == "linux"):
        pytest.skip("one of the two sources is absent")
    by_torch = precision._cpu_flags.__wrapped__()
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    by_linux = precision._cpu_flags.__wrapped__()
    telling = {"avx2", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16"}
    assert by_torch & telling == by_linux & telling
