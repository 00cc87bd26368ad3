"""Backbone, loss and self-supervised method of docs/EXTENDING.md."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
import torch

from modist_det.config import get_cfg
from modist_det.data.catalog import DatasetCatalog
from modist_det.data.mappers import DetectionMapper
from modist_det.engine.metrics import read_metrics
from modist_det.evaluation import evaluate_ava
from modist_det.formats.ava.files import read_detections
from modist_det.modeling.heads import RoIActionHead


def last_checkpoint(run):
    folder = run / "checkpoints"
    return torch.load(folder / (folder / "last_checkpoint").read_text().strip(), weights_only=True)


def test_scores_of_the_backbone_are_those_of_its_weights(backbone_run, tiny_puppets):
    """Worked out from the checkpoint without the module: patches are cut by hand."""
    weights = last_checkpoint(backbone_run)["model"]
    assert weights["backbone.embed.weight"].shape == (16, 3, 2, 8, 8)
    found = read_detections(backbone_run / "inference" / "puppets_val_detections.csv")
    dataset = DatasetCatalog.get(tiny_puppets / "val.yaml")
    record = dataset.records()[-1]
    sample = DetectionMapper(12, num_frames=4, sampling_rate=6, min_size_test=64)(
        record, np.random.default_rng()
    )
    clip = (sample["video"] / 255 - 0.45) / 0.225
    height, width = clip.shape[2] // 8 * 8, -(-clip.shape[3] // 8) * 8
    padded = torch.zeros(3, 4, height, width)
    padded[..., : clip.shape[3]] = clip
    patches = padded.reshape(3, 2, 2, height // 8, 8, width // 8, 8)
    maps = torch.einsum("ctxhywz,ocxyz->othw", patches, weights["backbone.embed.weight"])
    maps = (maps + weights["backbone.embed.bias"].view(-1, 1, 1, 1)).relu()
    mix = weights["backbone.mix.weight"].flatten(1)
    maps = (torch.einsum("oc,cthw->othw", mix, maps) + weights["backbone.mix.bias"].view(-1, 1, 1, 1)).relu()
    head = RoIActionHead([16], 12, spatial_stride=8).eval()
    head.load_state_dict({name[5:]: tensor for name, tensor in weights.items() if name.startswith("head.")})
    rois = torch.cat([torch.zeros(len(sample["boxes"]), 1), sample["boxes"]], dim=1)
    scores = head.scores(head([maps[None]], rois)).detach()
    rows = [
        found.videos[v] == record.video_id and s == record.second
        for v, s in zip(found.video.tolist(), found.second.tolist(), strict=True)
    ]
    np.testing.assert_allclose(found.score[rows], scores.flatten().numpy(), atol=2e-5)

    result = evaluate_ava(
        dataset.metadata.groundtruth,
        found,
        dataset.metadata.label_map,
        dataset.metadata.exclusions,
        "official",
        0,
    )
    logged = [row for row in read_metrics(backbone_run / "metrics.json") if "puppets_val/mAP" in row]
    assert logged[-1]["puppets_val/mAP"] == pytest.approx(result["mAP"])


def test_resuming_goes_on(backbone_run):
    steps = [row["iteration"] for row in read_metrics(backbone_run / "metrics.json") if "loss" in row]
    assert steps == list(range(1, steps[-1] + 1)) and steps[-1] == last_checkpoint(backbone_run)["iteration"]
    log = (backbone_run / "log.txt").read_text()
    assert re.search(rf"resumed .* after {steps[-1] * 2 // 3} steps", log)


def test_an_error_about_other_weights_names_the_keys_of_the_backbone(backbone_run, program, tmp_path):
    (weights,) = {*(backbone_run / "checkpoints").glob("*.pth")} & {
        backbone_run / "checkpoints" / (backbone_run / "checkpoints" / "last_checkpoint").read_text().strip()
    }
    done = program(
        "../../tools/run_net.py",
        *("--cfg", "patch_backbone.yaml", "OUTPUT_DIR", tmp_path, "MODEL.WEIGHTS", weights),
        *("MODEL.PATCH_BACKBONE.WIDTH", 8),
    )
    assert done.returncode == 1
    assert "PatchBackbone, width 16, patch [2, 8, 8]. The model: PatchBackbone, width 8, patch" in done.stderr
    assert (
        "set MODEL.BACKBONE.NAME PatchBackbone MODEL.PATCH_BACKBONE.WIDTH 16 MODEL.PATCH_BACKBONE.PATCH [2,8,8]"
        in done.stderr
    )


def test_focal_loss(follow, folder, backbone_run, apart):
    apart(check_focal_loss)
    follow("A loss")
    run = folder / "output" / "focal_loss"
    first = read_metrics(run / "metrics.json")[0]
    # Before the first step all scores are about 0.5, and so is 1 - p.
    assert first["iteration"] == 1
    assert first["loss_action"] == pytest.approx(0.5**1.5 * np.log(2), rel=0.05)
    without = read_metrics(backbone_run / "metrics.json")[0]
    assert without["loss_action"] == pytest.approx(np.log(2), rel=0.05)


def check_focal_loss():
    from focal_loss import FocalLoss

    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.normal(size=(5, 7)) * 4, requires_grad=True)
    targets = torch.tensor(rng.integers(0, 2, (5, 7)))
    p = 1 / (1 + np.exp(-logits.detach().numpy()))
    truth = np.where(targets == 1, p, 1 - p)
    for gamma in (0, 1.5, 2):
        loss = FocalLoss(gamma)(logits, targets)
        expected = (-((1 - truth) ** gamma) * np.log(truth)).mean(axis=1)
        np.testing.assert_allclose(loss.detach().numpy(), expected, rtol=1e-5)
    loss.sum().backward()
    assert torch.isfinite(logits.grad).all()
    # Where a target is met exactly, a gamma below 1 has an infinite slope there.
    met = torch.tensor([[200.0, -200.0]], requires_grad=True)
    FocalLoss(0.5)(met, torch.tensor([[1, 0]])).sum().backward()
    assert torch.isfinite(met.grad).all()


def test_barlow_twins(follow, folder, backbone_run, apart, tiny_actions):
    follow("A self-supervised method")
    run = folder / "output" / "barlow_twins"
    rows = read_metrics(run / "metrics.json")
    for row in (row for row in rows if "loss" in row):
        assert row["loss"] == pytest.approx(row["loss_same"] + row["loss_between"])
        assert -1 <= row["correlation"] <= 1
    metrics = {name.rpartition("/")[2]: value for name, value in rows[-1].items()}
    apart(check_barlow_twins, run, backbone_run, metrics, str(tiny_actions))


def check_barlow_twins(run, detector_run, metrics, datasets):
    import barlow_twins  # noqa: F401  (registers itself)
    import patch_backbone  # noqa: F401

    from modist_det.checkpoint import load_weights
    from modist_det.modeling import build_backbone, build_model
    from modist_det.tasks import build_task

    torch.set_num_threads(1)
    os.environ["MODIST_DATASETS"] = datasets
    cfg = get_cfg()
    cfg.merge_from_file(run / "config.yaml")
    task = build_task(cfg)
    task.complete_config(cfg)
    model = build_model(cfg)
    state = last_checkpoint(run)["model"]
    model.load_state_dict(state)

    # The losses, from numpy's correlation of the projections.
    video = torch.randint(0, 256, (6, 2, 3, 4, 48, 48), dtype=torch.uint8)
    projections = []
    hook = model.projector.register_forward_hook(
        lambda *args: projections.append(args[-1].detach().double().numpy())
    )
    losses = model({"video": video})
    hook.remove()
    dim = cfg.MODEL.BARLOW_TWINS.DIM
    correlation = np.corrcoef(*(p.T for p in projections))[:dim, dim:]
    np.testing.assert_allclose(
        losses["loss_same"].item(), ((correlation.diagonal() - 1) ** 2).sum(), rtol=1e-2
    )
    between = (correlation[~np.eye(dim, dtype=bool)] ** 2).sum()
    np.testing.assert_allclose(losses["loss_between"].item(), 0.005 * between, rtol=1e-2)

    # Recall at 1, from the features by hand: the nearest video of the gallery has the same class.
    model.eval()
    records, mapper = task.test_data(cfg, "puppets_actions_test")
    with torch.no_grad():
        samples = [mapper(record, np.random.default_rng(0)) for record in records]
        features = torch.cat([model({"video": s["video"][None]})[0]["features"][None] for s in samples])
    features = torch.nn.functional.normalize(features, dim=1).numpy()
    labels = np.array([record.labels[0] for record in records])
    gallery = len(records) - 12
    nearest = (features[gallery:] @ features[:gallery].T).argmax(axis=1)
    assert metrics["R@1"] == pytest.approx((labels[nearest] == labels[gallery:]).mean())

    # What was learned goes into a backbone alone; and a detector still loads whole, its head included.
    weights = next((run / "checkpoints").glob("*.pth"))
    backbone = build_backbone(cfg)
    report = load_weights(backbone, weights)
    assert sorted(report.loaded) == sorted(backbone.state_dict()) and not report.missing
    assert all(
        torch.equal(tensor, state[f"backbone.{name}"]) for name, tensor in backbone.state_dict().items()
    )
    cfg = get_cfg()
    cfg.merge_from_file(detector_run / "config.yaml")
    detector = build_model(cfg)
    load_weights(detector, max((detector_run / "checkpoints").glob("*.pth"))).require_complete()
