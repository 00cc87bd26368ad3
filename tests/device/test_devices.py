"""Models on a GPU: the numbers of the CPU, every precision, no waiting in a step. ``tools/gpu_check.sh`` runs these.

Tests marked ``cuda`` need a GPU; the others run where there is none, too, on the CPU.
"""

from __future__ import annotations

import copy
import os
import socket
from functools import partial

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torchvision.models.optical_flow import raft_small
from torchvision.ops import roi_align

from modist_det.analysis.benchmark.model import random_batch
from modist_det.config import get_cfg
from modist_det.engine.trainer import Trainer
from modist_det.modeling import build_model
from modist_det.modeling.contrastive.distributed import shuffle_batch, unshuffle_batch
from modist_det.motion.estimators import RAFT
from modist_det.solver import build_optimizer

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CONFIGS = ("Slow_R18", "ViT", "Classification_R18", "MoDist_R18", "MotionRegression_R18")


def config(root, name, *overrides):
    cfg = get_cfg(root / "configs" / "Puppets" / f"{name}.yaml", ["INPUT.CROP_SIZE", 64, *overrides])
    cfg.MODEL.NUM_CLASSES = cfg.MODEL.NUM_CLASSES or 5
    return cfg


def made(cfg, device):
    torch.manual_seed(0)
    return build_model(cfg).to(device)


def on(batch, device):
    def moved(value):
        if isinstance(value, list):
            return [moved(part) for part in value]
        return value.to(device) if isinstance(value, torch.Tensor) else value

    return {name: moved(value) for name, value in batch.items()}


def losses_and_gradients(model, batch, autocast=None):
    torch.manual_seed(0)
    with autocast or torch.autocast(DEVICE, enabled=False):
        losses = {name: value for name, value in model(batch).items() if name.startswith("loss")}
    sum(losses.values()).backward()
    gradients = [p.grad.detach().float().cpu() for p in model.parameters() if p.grad is not None]
    return {name: float(value.detach()) for name, value in losses.items()}, gradients


@pytest.fixture(autouse=True)
def exact_convolutions():
    """No TF32, so that numbers of GPU and CPU can be compared."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.cuda
@CUDA
@pytest.mark.parametrize("name", CONFIGS)
def test_a_gpu_gives_the_numbers_of_the_cpu(root, name):
    cfg = config(root, name, "MODEL.VIDEO_VIT.DROP_PATH", 0.0)
    model = made(cfg, "cpu").train()
    batch = random_batch(cfg, 2, 2, torch.device("cpu"))
    other = copy.deepcopy(model).cuda()
    here, there = losses_and_gradients(model, batch), losses_and_gradients(other, on(batch, "cuda"))
    assert here[0] == pytest.approx(there[0], rel=1e-4, abs=1e-5)
    for a, b in zip(here[1], there[1], strict=True):
        torch.testing.assert_close(b, a, rtol=1e-2, atol=1e-3 * float(a.abs().max()) + 1e-6)


@pytest.mark.cuda
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_lower_precision_stays_near_fp32(root, name, dtype):
    """Losses and gradients under autocast, with a scaler that fp16 needs and does not overflow."""
    if DEVICE == "cpu" and dtype is torch.float16:
        pytest.skip("fp16 convolutions of a CPU are slow")
    cfg = config(root, name, "MODEL.VIDEO_VIT.DROP_PATH", 0.0)
    model = made(cfg, DEVICE).train()
    batch = random_batch(cfg, 2, 2, torch.device(DEVICE))
    other = copy.deepcopy(model)
    exact, _ = losses_and_gradients(model, batch)
    close, gradients = losses_and_gradients(other, batch, torch.autocast(DEVICE, dtype))
    assert close == pytest.approx(exact, rel=0.1)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def _trained(cfg, device, steps, batch=None, **options):
    model = made(cfg, device)
    optimizer = build_optimizer(cfg, model)
    batch = batch or random_batch(cfg, 2, 2, torch.device(device))
    batch = {"id": ["a", "b"], **batch}
    trainer = Trainer(model, optimizer, iter(lambda: batch, None), steps, **options)
    trainer.train()
    return model, trainer


@pytest.mark.cuda
@CUDA
@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_never_waits_for_the_gpu(root, name):
    """Forward, backward and update, from a batch in pinned memory: torch raises at anything that synchronizes."""
    cfg = config(root, name)
    batch = random_batch(cfg, 2, 2, torch.device("cpu"))
    pinned = {
        name: value.pin_memory() if isinstance(value, torch.Tensor) else [part.pin_memory() for part in value]
        for name, value in batch.items()
    }
    _, trainer = _trained(cfg, "cuda", 2, pinned)  # cuDNN and the optimizer prepare themselves
    trainer.max_iter = 4
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            trainer._step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
@CUDA
def test_fp16_with_a_scaler_learns(root):
    cfg = config(root, "Slow_R18")
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**24)  # overflows at first
    model, _ = _trained(
        cfg, "cuda", 20, scaler=scaler, autocast=partial(torch.autocast, "cuda", torch.float16)
    )
    assert scaler.get_scale() < 2.0**24
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


@pytest.mark.cuda
def test_a_compiled_model_gives_the_same(root):
    """``MODEL.COMPILE``; on a CPU this needs a C++ compiler."""
    cfg = config(root, "Slow_R18")
    model = made(cfg, DEVICE).eval()
    batch = random_batch(cfg, 2, 2, torch.device(DEVICE))
    with torch.no_grad():
        expected = [prediction["scores"] for prediction in model(batch)]
        model.compile()
        try:
            found = [prediction["scores"] for prediction in model(batch)]
        except Exception as error:
            if "compiler" in str(error).lower():
                pytest.skip(f"no compiler: {error}"[:200])
            raise
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-5)


@pytest.mark.cuda
@CUDA
def test_roi_features_and_flow_on_the_gpu(tmp_path):
    maps, boxes = torch.rand(2, 8, 14, 14), [torch.tensor([[10.0, 20.0, 150.0, 200.0]]) for _ in range(2)]
    here = roi_align(maps, boxes, 7, 1 / 16, aligned=True)
    there = roi_align(maps.cuda(), [b.cuda() for b in boxes], 7, 1 / 16, aligned=True)
    torch.testing.assert_close(there.cpu(), here, rtol=1e-4, atol=1e-5)
    torch.manual_seed(0)
    torch.save(raft_small(weights=None).state_dict(), tmp_path / "raft.pth")
    frames = np.random.default_rng(0).integers(0, 256, (2, 128, 160, 3), dtype=np.uint8)
    flow = [
        RAFT("small", str(tmp_path / "raft.pth"), 2, device=device)(frames, frames[::-1].copy())
        for device in ("cpu", "cuda")
    ]
    torch.testing.assert_close(flow[1].cpu(), flow[0].cpu(), rtol=1e-2, atol=1e-2)


def _port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def _processes(rank, world, port):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("nccl" if DEVICE == "cuda" else "gloo", rank=rank, world_size=world)
    device = torch.device(DEVICE, rank) if DEVICE == "cuda" else torch.device("cpu")
    if DEVICE == "cuda":
        torch.cuda.set_device(device)
        torch.manual_seed(0)
        whole = torch.rand(2 * world, 4, 2, 8, 8)
        norm = nn.SyncBatchNorm(4).to(device).train()
        found = norm(whole[2 * rank : 2 * rank + 2].to(device)).cpu()
        expected = nn.BatchNorm3d(4).train()(whole)[2 * rank : 2 * rank + 2]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    mine = torch.full((2, 1), float(rank), device=device)
    mixed, order = shuffle_batch(mine)
    torch.testing.assert_close(unshuffle_batch(mixed, order), mine)
    dist.destroy_process_group()


@pytest.mark.cuda
def test_synchronized_and_shuffled_statistics():
    """With every GPU (nccl), or two processes of the CPU (gloo)."""
    world = torch.cuda.device_count() if DEVICE == "cuda" else 2
    mp.spawn(_processes, (world, _port()), nprocs=world)
