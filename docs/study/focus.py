#!/usr/bin/env python3
"""Where pretrained backbones look: the share of gradient and Grad-CAM energy inside person boxes, and heat maps of
them.

What is explained is the similarity of a clip's pooled feature to that of another clip of its video, which is what
contrastive learning makes large. Clips and boxes are keyframes of the test videos of single actions, at the test
resolution of pretraining. For Grad-CAM the last stage is dilated, or its map would have four cells.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2
import numpy as np
import torch
from torch import Tensor

from modist_det.analysis.gradcam import draw_heat_maps, energy_in_boxes, grad_cam, similarity_to
from modist_det.checkpoint import load_weights
from modist_det.config import CfgNode, get_cfg
from modist_det.data.catalog import DatasetCatalog, data_root
from modist_det.data.mappers import DetectionMapper
from modist_det.modeling.backbone import Backbone, build_backbone
from modist_det.modeling.clip_normalizer import ClipNormalizer
from modist_det.modeling.heads.projection import pool
from modist_det.utils.cli import at_least, make_parser, run_cli
from modist_det.utils.errors import UserError
from modist_det.utils.files import atomic_path

EXAMPLE = """\
  python docs/study/focus.py --out focus.json --picture focus.png \\
      MoDist=output/study/pretrain/MoDist/0 'RGB only=output/study/pretrain/RGB_only/0'"""
CONFIG = Path(__file__).resolve().parents[2] / "configs/Puppets/MoDist_R18.yaml"


def parser() -> argparse.ArgumentParser:
    p = make_parser(__doc__, EXAMPLE)
    p.add_argument(
        "runs", nargs="+", metavar="NAME=FOLDER", help="pretraining runs; several of one name are seeds"
    )
    p.add_argument("--out", type=Path, required=True, help="JSON with the shares")
    p.add_argument(
        "--picture", type=Path, required=True, help="PNG with heat maps of the first run of each name"
    )
    p.add_argument(
        "--keyframes", type=at_least(1), default=600, help="clips that are looked at (default: %(default)s)"
    )
    p.add_argument("--clips", type=at_least(1), default=6, help="rows of the image (default: %(default)s)")
    return p


def main(args: argparse.Namespace) -> None:
    cfg = get_cfg()
    cfg.merge_from_file(CONFIG)
    samples = read_samples(cfg, args.keyframes)
    clips = torch.stack([sample["video"] for sample in samples])
    boxes = [sample["boxes"] for sample in samples]
    partners = partner_of([sample["video_id"] for sample in samples])
    normalizer = ClipNormalizer(cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD)
    results: dict[str, list[dict[str, float]]] = {}
    pictures: dict[str, Tensor] = {}
    for run in args.runs:
        name, _, folder = run.partition("=")
        if not folder:
            raise UserError(f"{run!r} is not NAME=FOLDER")
        backbone, dilated = (load_backbone(cfg, Path(folder), dilate) for dilate in (False, True))
        maps = {"gradient": [], "gradcam": []}
        features = pooled(backbone, normalizer, clips)
        for part in torch.arange(len(clips)).split(32):
            clip, targets = normalizer(clips[part]), features[partners[part]]
            maps["gradient"].append(input_gradient(backbone, clip, targets))
            maps["gradcam"].append(grad_cam(dilated, clip, similarity_to(targets)))
        metrics: dict[str, float] = {}
        for kind, parts in maps.items():
            energy = energy_in_boxes(torch.cat(parts), boxes)
            metrics[f"{kind}_share"] = float(energy.share.nanmean())
            metrics["area"] = float(energy.area.mean())
        results.setdefault(name, []).append(metrics)
        pictures.setdefault(name, torch.cat(maps["gradient"]))
        print(name, metrics, flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(args.out) as temporary:
        temporary.write_text(json.dumps(results, indent=1), encoding="utf-8")
    shown = torch.linspace(0, len(clips) - 1, args.clips).long()
    picture = draw_heat_maps(
        clips[shown],
        {name: blurred(maps[shown]) for name, maps in pictures.items()},
        [boxes[i] for i in shown.tolist()],
        cell_width=160,
    )
    with atomic_path(args.picture) as temporary:
        temporary.write_bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes())


def load_backbone(cfg: CfgNode, run: Path, dilate: bool) -> Backbone:
    cfg.MODEL.RESNET3D.DILATE_RES5 = dilate
    backbone = build_backbone(cfg)
    load_weights(backbone, last_checkpoint(run))
    return backbone.eval()


def read_samples(cfg: CfgNode, count: int) -> list[dict]:
    dataset = DatasetCatalog.get(data_root() / "puppets_actions/val.yaml")
    cfg.MODEL.NUM_CLASSES = dataset.metadata.num_classes
    mapper = DetectionMapper.from_config(cfg, is_train=False)
    rng = np.random.default_rng(0)  # evaluation draws nothing
    records = dataset.records("ground_truth")
    return [mapper(records[i], rng) for i in range(min(count, len(records)))]


def partner_of(videos: list[str]) -> Tensor:
    """For each clip the index of the next clip of its video, the first after the last; itself if it is alone."""
    places: dict[str, list[int]] = {}
    for index, video in enumerate(videos):
        places.setdefault(video, []).append(index)
    partner = list(range(len(videos)))
    for own in places.values():
        for place, following in zip(own, own[1:] + own[:1], strict=True):
            partner[place] = following
    return torch.tensor(partner)


@torch.no_grad()
def pooled(backbone: Backbone, normalizer: ClipNormalizer, clips: Tensor) -> Tensor:
    return torch.cat([pool(backbone(normalizer(part))) for part in clips.split(32)])


def input_gradient(backbone: Backbone, clip: Tensor, targets: Tensor) -> Tensor:
    """Squared gradient of the similarity by each pixel, summed over channels: (B, T, H, W)."""
    leaf = clip.detach().requires_grad_()
    score = torch.cosine_similarity(pool(backbone(leaf)), targets).sum()
    return torch.autograd.grad(score, leaf)[0].square().sum(dim=1)


def blurred(maps: Tensor) -> Tensor:
    """Averages of 7x7 pixels, to be seen as areas."""
    return torch.nn.functional.avg_pool2d(maps, 7, stride=1, padding=3).sqrt()


def last_checkpoint(folder: Path) -> Path:
    name = folder / "checkpoints/last_checkpoint"
    if not name.is_file():
        raise UserError(f"{folder} holds no checkpoints of a run")
    return name.parent / name.read_text(encoding="utf-8").strip()


if __name__ == "__main__":
    sys.exit(run_cli(parser(), main))
