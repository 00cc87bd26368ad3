#!/usr/bin/env python3
"""Time and memory of VideoViT beside Hugging Face's VideoMAE, and of MViT beside PySlowFast's, with equal weights.

``transformers`` must be installed for the first; ``--slowfast`` is a checkout of PySlowFast for the second; packages
that its MViT imports and does not use may be missing. Outputs are compared, then the two take turns: a forward pass
without gradients, and a training step (forward, backward, AdamW) on the mean of squared features. Memory is measured in
a process of its own for each.

    python docs/study/transformer_speed.py videomae --size B --threads 1
    python docs/study/transformer_speed.py mvit --slowfast SlowFast --threads 1
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modist_det.analysis.benchmark.machine import describe_machine
from modist_det.analysis.benchmark.model import PeakMemory
from modist_det.analysis.benchmark.report import Report, Series
from modist_det.checkpoint import load_weights
from modist_det.modeling.backbone import MViT, VideoViT

Forward = Callable[[Tensor], Tensor]  # clip (B, 3, T, H, W) -> features


def our_videomae(args: argparse.Namespace) -> tuple[nn.Module, Forward]:
    model = VideoViT.preset(args.size, eps=1e-12, num_frames=args.frames, image_size=args.side)
    return model, lambda clip: model(clip)[0].flatten(2).transpose(1, 2)


def their_videomae(args: argparse.Namespace) -> tuple[nn.Module, Forward]:
    from transformers import VideoMAEConfig, VideoMAEModel

    ours = VideoViT.preset(args.size)
    config = VideoMAEConfig(
        hidden_size=ours.dim,
        num_hidden_layers=len(ours.blocks),
        num_attention_heads=ours.heads,
        intermediate_size=4 * ours.dim,
        num_frames=args.frames,
        image_size=args.side,
        use_mean_pooling=False,
        attn_implementation="eager",
    )
    model = VideoMAEModel(config)
    return model, lambda clip: model(clip.transpose(1, 2)).last_hidden_state


def our_mvit(args: argparse.Namespace) -> tuple[nn.Module, Forward]:
    model = MViT.preset(
        "v2-S", input_size=(args.frames, args.side, args.side), drop_path=0.2, features="pooled"
    )
    return model, lambda clip: model(clip)[0].flatten(1)


def their_mvit(args: argparse.Namespace) -> tuple[nn.Module, Forward]:
    sys.path.insert(0, args.slowfast)
    builder = _imported("slowfast.models.video_model_builder")
    cfg = _imported("slowfast.config.defaults").get_cfg()
    cfg.merge_from_file(str(Path(args.slowfast) / "configs/Kinetics/MVITv2_S_16x4.yaml"))
    cfg.DATA.NUM_FRAMES, cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.TEST_CROP_SIZE = args.frames, args.side, args.side
    cfg.MODEL.ACT_CHECKPOINT = False
    model = builder.MViT(cfg)
    model.head = nn.Identity()
    return model, lambda clip: model([clip])


def _imported(name: str) -> Any:
    """The module ``name``, with empty modules in place of missing ones."""
    while True:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = types.ModuleType(str(error.name))
            missing.__path__ = []
            missing.__getattr__ = lambda attribute: type(attribute, (), {})  # type: ignore[method-assign]
            sys.modules[str(error.name)] = missing


MODELS = {"videomae": (our_videomae, their_videomae), "mvit": (our_mvit, their_mvit)}
NAMES = ("ours", "theirs")


def make(args: argparse.Namespace, which: int) -> tuple[nn.Module, Forward, torch.optim.Optimizer, Tensor]:
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model, forward = MODELS[args.model][which](args)
    size = (args.batch_size, 3, args.frames, args.side, args.side)
    clip = torch.randn(size, generator=torch.Generator().manual_seed(0))
    return model, forward, torch.optim.AdamW(model.parameters(), lr=1e-4), clip


def inference(model: nn.Module, forward: Forward, clip: Tensor) -> Tensor:
    model.eval()
    with torch.no_grad():
        return forward(clip)


def step(model: nn.Module, forward: Forward, optimizer: torch.optim.Optimizer, clip: Tensor) -> None:
    model.train()
    forward(clip).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def peaks(args: argparse.Namespace, which: int) -> tuple[float, float]:
    """MiB of a forward pass and of a training step, the model included."""
    memory = PeakMemory(torch.device("cpu"))
    model, forward, optimizer, clip = make(args, which)
    inference(model, forward, clip)
    of_forward = memory.peak()
    for _ in range(2):  # the optimizer's state begins with the first
        step(model, forward, optimizer, clip)
    return of_forward, memory.peak()


def main(args: argparse.Namespace) -> None:
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        memory = [pool.apply(peaks, (args, which)) for which in (0, 1)]
    made = [make(args, which) for which in (0, 1)]
    file = Path(args.scratch) / "theirs.pth"
    torch.save(
        {"model_state": made[1][0].state_dict()} if args.model == "mvit" else made[1][0].state_dict(), file
    )
    print(load_weights(made[0][0], str(file)))
    outputs = [inference(model, forward, clip) for model, forward, _, clip in made]
    print(f"outputs differ by at most {(outputs[0] - outputs[1]).abs().max():.1e}")

    series = {
        (kind, which): Series(f"{kind}, {NAMES[which]}", args.batch_size)
        for kind in ("forward", "training step")
        for which in (1, 0)
    }
    for number in range(args.repeat + 1):  # the first is a warm-up
        for which, (model, forward, optimizer, clip) in enumerate(made):
            with series["forward", which].sample():
                inference(model, forward, clip)
            with series["training step", which].sample():
                step(model, forward, optimizer, clip)
        if number == 0:
            for row in series.values():
                row.wall.clear()
                row.cpu.clear()
    for (kind, which), row in series.items():
        row.facts["peak MiB"] = memory[which][kind == "training step"]
        if which == 0:
            row.compare(series[kind, 1], "x theirs")
    settings = {name: getattr(args, name) for name in ("model", "size", "batch_size", "frames", "side")}
    print(
        Report("transformers", "clip", describe_machine(args.threads), settings, list(series.values())).text()
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--size", default="B", help="of VideoMAE: S, B, L or H (default: %(default)s)")
    parser.add_argument("--slowfast", default="SlowFast", help="folder of PySlowFast (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--scratch", default=".", help="folder for a file of weights")
    main(parser.parse_args())
