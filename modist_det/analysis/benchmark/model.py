"""Benchmark of a model's forward pass and training step: time and memory."""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...config import CfgNode, get_cfg
from ...engine.evaluate import place_model
from ...engine.metrics import is_loss
from ...engine.precision import autocast_factory, build_grad_scaler, precision_name
from ...engine.setup import resolve_device, seed_everything
from ...modeling import META_ARCH_REGISTRY, build_model
from ...modeling.registry import MakesBatches, lookup
from ...solver import build_optimizer
from ...utils.errors import UserError
from .machine import describe_machine
from .report import Report, Series

__all__ = ["PeakMemory", "benchmark_model", "random_batch", "run_model"]

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def run_model(args: argparse.Namespace) -> Report:
    """``tools/benchmark.py model``."""
    cfg = get_cfg(args.cfg, args.overrides)
    if args.amp:
        cfg.SOLVER.AMP.ENABLED, cfg.SOLVER.AMP.PRECISION = True, args.amp
    cfg.MODEL.CHANNELS_LAST |= args.channels_last
    cfg.MODEL.COMPILE |= args.compile
    cfg.MODEL.DEVICE = args.device or cfg.MODEL.DEVICE
    if args.threads:
        torch.set_num_threads(args.threads)
    return benchmark_model(
        cfg, batch_size=args.batch_size, num_boxes=args.boxes, warmup=args.warmup, repeat=args.repeat
    )


def benchmark_model(cfg: CfgNode, *, batch_size: int, num_boxes: int, warmup: int, repeat: int) -> Report:
    """Time the model of ``cfg`` on :func:`random_batch`, as ``MODEL`` and ``SOLVER.AMP`` say.

    Args:
        num_boxes: persons a clip.
        warmup: passes before ``repeat`` that are counted, of each kind.

    Raises:
        UserError: the config names something unknown, or the device does not exist.
    """
    device = resolve_device(cfg.MODEL.DEVICE)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    machine = describe_machine(torch.get_num_threads(), name)
    cfg.MODEL.NUM_CLASSES = cfg.MODEL.NUM_CLASSES or 80
    seed_everything(cfg.SEED)
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    batch = random_batch(cfg, batch_size, num_boxes, device)

    memory = PeakMemory(device)
    model = place_model(cfg, build_model(cfg), device)
    optimizer = build_optimizer(cfg, model)
    if cfg.MODEL.COMPILE:
        model.compile()
    runner = _Runner(model, batch, batch_size, device, autocast_factory(cfg, device), warmup, repeat)
    inference = runner.inference()
    inference.facts["peak MiB"] = memory.peak()
    memory.reset()
    parts = runner.training(optimizer, build_grad_scaler(cfg, device))
    precision = precision_name(cfg, device)
    step = Series.total("training step", parts)
    step.facts["peak MiB"] = memory.peak()
    return Report(
        f"{cfg.MODEL.META_ARCHITECTURE} with {cfg.MODEL.BACKBONE.NAME}",
        "clip",
        machine,
        {
            "clips": "x".join(map(str, batch["video"].shape)),
            "parameters": sum(p.numel() for p in model.parameters()),
            "amp": "off" if precision == "fp32" else precision,
            "channels last": cfg.MODEL.CHANNELS_LAST,
            "compile": cfg.MODEL.COMPILE,
            # Decides what OpenMP's threads do while they wait; see docs/BENCHMARKS.md.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "default"),
        },
        [inference, *parts, step],
    )


@dataclass
class _Runner:
    """Does the same with one model and one batch ``warmup`` and then ``repeat`` times, which are timed."""

    model: nn.Module
    batch: dict[str, Any]
    batch_size: int
    device: torch.device
    autocast: Callable[[], contextlib.AbstractContextManager]
    warmup: int
    repeat: int

    def inference(self) -> Series:
        self.model.eval()
        forward = self._series("forward, evaluation")
        for _ in range(self.warmup + self.repeat):
            with self._sample(forward), torch.no_grad(), self.autocast():
                self.model(self.batch)
        return self._without_warmup(forward)

    def training(self, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> list[Series]:
        """The parts of a step."""
        self.model.train()
        forward, backward, update = map(
            self._series, ("training: forward", "training: backward", "training: optimizer")
        )
        for _ in range(self.warmup + self.repeat):
            with self._sample(forward), self.autocast():
                losses = [value for name, value in self.model(self.batch).items() if is_loss(name)]
                loss = torch.stack(losses).sum()
            with self._sample(backward):
                scaler.scale(loss).backward()
            with self._sample(update):
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad(set_to_none=True)
        return [self._without_warmup(series) for series in (forward, backward, update)]

    def _series(self, name: str) -> Series:
        return Series(name, self.batch_size)

    @contextlib.contextmanager
    def _sample(self, series: Series) -> Iterator[None]:
        with series.sample():
            yield
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)

    def _without_warmup(self, series: Series) -> Series:
        # While a GPU works its host only waits.
        cpu = series.cpu[self.warmup :] if self.device.type == "cpu" else []
        return replace(series, wall=series.wall[self.warmup :], cpu=cpu)


def random_batch(cfg: CfgNode, batch_size: int, num_boxes: int, device: torch.device) -> dict[str, Any]:
    """A training batch of noise for ``cfg``'s meta architecture, on ``device``, the same for the same ``SEED``.

    Raises:
        UserError: the meta architecture does not make any.
    """
    name = cfg.MODEL.META_ARCHITECTURE
    model = lookup(META_ARCH_REGISTRY, name, "MODEL.META_ARCHITECTURE")
    if not isinstance(model, MakesBatches):
        raise UserError(
            f"MODEL.META_ARCHITECTURE {name} cannot be timed, as it does not make batches of noise; give the class a "
            "class method random_batch(cfg, batch_size, num_boxes)"
        )
    with device, torch.random.fork_rng():
        torch.manual_seed(cfg.SEED)
        return model.random_batch(cfg, batch_size, num_boxes)


class PeakMemory:
    """The most memory in use since it was made, or since :meth:`reset`, beyond what was in use when it was made.

    On CUDA: what torch allocated. On the CPU: resident memory of this process, as Linux counts it; elsewhere the
    peak of the whole process's life.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.reset()
        self.before = self._bytes()

    def reset(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        with contextlib.suppress(OSError):
            _CLEAR_REFS.write_text("5", encoding="ascii")  # man 5 proc: sets the peak to what is in use

    def peak(self) -> float:
        """MiB."""
        return (self._bytes() - self.before) / 2**20

    def _bytes(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        if _STATUS.exists():
            for line in _STATUS.read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return 1024 * int(line.split()[1])
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
