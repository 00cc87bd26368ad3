"""How long a model's forward pass and training step take, and how much memory."""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...config import CfgNode, get_cfg
from ...modeling import build_model
from ...solver import build_optimizer
from ...utils.errors import UserError, nearest
from ..evaluate import autocast_factory, place_model
from ..setup import resolve_device, seed_everything
from .machine import describe_machine
from .report import Report, Series

__all__ = ["PeakMemory", "benchmark_model", "random_batch", "run_model"]


def run_model(args: argparse.Namespace) -> Report:
    """``tools/benchmark.py model``."""
    cfg = get_cfg()
    cfg.merge_from_file(args.cfg)
    cfg.merge_from_list(args.overrides)
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
    on_cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_cuda else "cpu"
    machine = describe_machine(torch.get_num_threads(), name)
    cfg.MODEL.NUM_CLASSES = cfg.MODEL.NUM_CLASSES or 80
    seed_everything(cfg.SEED)
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    batch = random_batch(cfg, batch_size, num_boxes, device)

    memory = PeakMemory(device)
    model = place_model(cfg, build_model(cfg), device)
    optimizer = build_optimizer(cfg, model)
    scaler = torch.amp.GradScaler(
        device.type, enabled=cfg.SOLVER.AMP.ENABLED and cfg.SOLVER.AMP.PRECISION == "fp16"
    )
    autocast = autocast_factory(cfg, device)
    if cfg.MODEL.COMPILE:
        model.compile()

    def timed(series: Series, work: Callable[[], Any]) -> Any:
        with series.sample():
            result = work()
            if on_cuda:
                torch.cuda.synchronize(device)
        return result

    def infer() -> None:
        with torch.no_grad(), autocast():
            model(batch)

    def losses() -> Tensor:
        with autocast():
            return torch.stack(list(model(batch).values())).sum()

    def update() -> None:
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)

    inference = Series("forward, evaluation", batch_size)
    model.eval()
    for number in range(-warmup, repeat):
        timed(inference if number >= 0 else Series("warm-up"), infer)
    inference.facts["peak MiB"] = memory.peak()

    memory.reset()
    parts = [Series(f"training: {part}", batch_size) for part in ("forward", "backward", "optimizer")]
    model.train()
    for number in range(-warmup, repeat):
        forward, backward, optimize = parts if number >= 0 else [Series("warm-up") for _ in parts]
        loss = timed(forward, losses)
        timed(backward, scaler.scale(loss).backward)
        timed(optimize, update)
    step = Series.total("training step", parts)
    step.facts["peak MiB"] = memory.peak()

    rows = [inference, *parts, step]
    if on_cuda:
        for row in rows:
            row.cpu.clear()
    return Report(
        f"{cfg.MODEL.META_ARCHITECTURE} with {cfg.MODEL.BACKBONE.NAME}",
        "clip",
        machine,
        {
            "clips": "x".join(map(str, batch["video"].shape)),
            "parameters": sum(p.numel() for p in model.parameters()),
            "amp": cfg.SOLVER.AMP.PRECISION if cfg.SOLVER.AMP.ENABLED else "off",
            "channels last": cfg.MODEL.CHANNELS_LAST,
            "compile": cfg.MODEL.COMPILE,
        },
        rows,
    )


def random_batch(cfg: CfgNode, batch_size: int, num_boxes: int, device: torch.device) -> dict[str, Any]:
    """A training batch of noise for ``cfg``'s meta architecture, on ``device``.

    Clips are uint8 (B, C, NUM_FRAMES, CROP_SIZE, CROP_SIZE); boxes have a size between a quarter of the crop and all of it.

    Raises:
        UserError: a meta architecture that is not known here.
    """
    size = cfg.INPUT.CROP_SIZE
    generator = torch.Generator().manual_seed(cfg.SEED)
    shape = (batch_size, len(cfg.MODEL.PIXEL_MEAN), cfg.INPUT.NUM_FRAMES, size, size)
    video = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 2, (batch_size, num_boxes, cfg.MODEL.NUM_CLASSES), generator=generator)
    corner = 0.375 * torch.rand((batch_size, num_boxes, 2, 2), generator=generator)
    boxes = size * torch.cat([corner[:, :, 0], 1 - corner[:, :, 1]], dim=2)
    labels_of: dict[str, dict[str, Any]] = {
        "ActionDetector": {
            "boxes": list(boxes.to(device)),
            "labels": list(labels.float().to(device)),
        },
        "VideoClassifier": {"labels": labels[:, 0].float().to(device)},
    }
    name = cfg.MODEL.META_ARCHITECTURE
    if name not in labels_of:
        known = ", ".join(labels_of)
        raise UserError(
            f"the benchmark makes no batches for MODEL.META_ARCHITECTURE {name!r}{nearest(name, labels_of)} "
            f"(known: {known})"
        )
    return {"video": video.to(device), **labels_of[name]}


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
        elif _CLEAR_REFS.exists():
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


_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
