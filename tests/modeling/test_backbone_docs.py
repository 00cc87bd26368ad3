"""The table of docs/BACKBONES.md says what the configs build."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from modist_det.config import get_cfg
from modist_det.modeling import Hiera, MViT, VideoViT, build_model


def _rows(root) -> list[list[str]]:
    lines = (root / "docs" / "BACKBONES.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.replace("`", "").strip("|").split("|")] for line in lines]
    return [row for row in cells if len(row) == 8 and row[1].startswith("configs/")]


def test_every_classifier_of_the_table_is_as_it_says(root):
    rows = _rows(root)
    assert len(rows) >= 12
    for _, path, name, millions, _, clip, strides, channels in rows:
        cfg = get_cfg()
        cfg.merge_from_file(root / path)
        assert name.split(", ")[0] == cfg.MODEL.BACKBONE.NAME
        assert clip == f"{cfg.INPUT.NUM_FRAMES}x{cfg.INPUT.CROP_SIZE}"
        if cfg.MODEL.BACKBONE.NAME == "TorchvisionVideo":
            cfg.MODEL.TORCHVISION.FEATURES = "map"
        with torch.device("meta"):
            model = build_model(cfg)
        assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(float(millions), abs=0.005)
        backbone = model.backbone
        assert strides == f"{backbone.temporal_strides[0]}, {backbone.spatial_stride}"
        assert channels == str(backbone.out_channels[0])


@pytest.mark.parametrize("config", ["X3D_M_AVA", "Swin3D_T_AVA"])
def test_detectors_build(root, config):
    cfg = get_cfg()
    cfg.merge_from_file(root / "configs" / "Zoo" / f"{config}.yaml")
    with torch.device("meta"):
        model = build_model(cfg)
        maps = model.backbone(torch.empty(1, 3, cfg.INPUT.NUM_FRAMES, 224, 224))
        assert model.head(maps, torch.empty(2, 5)).shape == (2, 80)


def test_table_of_transformers(root):
    """Parameters and multiply-adds of the published sizes, as the page says, counted by torch on the meta device."""
    lines = (root / "docs" / "BACKBONES.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    sizes = [row for row in rows if len(row) == 6 and row[1].count("-") == 3 and ", " in row[1]]
    assert [row[0] for row in sizes] == ["T", "S", "B", "B+", "L", "H"]
    for size, _, *numbers in sizes:
        for image, (millions, giga) in enumerate((numbers[:2], numbers[2:])):
            with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
                network = Hiera.preset(size, image=bool(image), features="pooled")
                if size in ("T", "B"):  # the deep ones take seconds
                    network(torch.empty(1, 3, 1 if image else 16, 224, 224))
            classifier = (network.out_channels[0] + 1) * (1000 if image else 400)
            count = sum(p.numel() for p in network.parameters()) + classifier
            assert f"{count / 1e6:.2f}" == millions
            assert counter.get_total_flops() == 0 or f"{counter.get_total_flops() / 2e9:.1f}" == giga


def test_table_of_plain_transformers(root):
    lines = (root / "docs" / "BACKBONES.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    sizes = [row for row in rows if len(row) == 4 and row[0] in ("S", "B", "L", "H", "g")]
    assert len(sizes) == 5
    for size, settings, millions, giga in sizes:
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            network = VideoViT.preset(size, norm="pooled", features="mean")
            if size in ("S", "B"):
                network(torch.empty(1, 3, 16, 224, 224))
        assert settings.startswith(f"{network.dim}, {len(network.blocks)}, {network.heads}")
        count = sum(p.numel() for p in network.parameters()) + (network.dim + 1) * 400
        assert f"{count / 1e6:.2f}" == millions
        assert counter.get_total_flops() == 0 or f"{counter.get_total_flops() / 2e9:.1f}" == giga


def test_table_of_mvit(root):
    lines = (root / "docs" / "BACKBONES.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| v")]
    assert [row[0] for row in rows] == ["v1-B", "v2-S", "v2-B", "v2-L"]
    for name, clip, _, _, millions, giga in rows:
        frames, side = map(int, clip.split("x"))
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            network = MViT.preset(name, features="pooled")
            if name == "v2-S":  # the others take seconds
                network(torch.empty(1, 3, frames, side, side))
        count = sum(p.numel() for p in network.parameters()) + (network.out_channels[0] + 1) * 400
        assert f"{count / 1e6:.2f}" == millions
        assert counter.get_total_flops() == 0 or f"{counter.get_total_flops() / 2e9:.1f}" == giga
