"""Heads with context: outputs of ACAR-Net and of mmaction2's feature bank operator, banks, and detectors with them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modist_det.checkpoint import load_weights
from modist_det.config import get_cfg
from modist_det.modeling import ACARHead, ActionDetector, FeatureBank, FeatureBankHead, ResNet3D, build_model
from modist_det.modeling.heads import NonLocalOperator
from modist_det.modeling.losses import bce_with_logits
from modist_det.utils.errors import UserError


def _case(real_data, name):
    folder = real_data / "reference" / "vit"
    return folder / f"{name}.pyth", torch.load(folder / f"{name}_io.pt", weights_only=True)


@torch.no_grad()
def test_outputs_of_acar(real_data):
    path, io = _case(real_data, "acar_head")
    arch = io["arch"]
    channels = [io[f"features_{i}"].shape[1] for i in range(2)]
    assert sum(channels) == arch["width"]
    sizes = {key: arch[key] for key in ("reduce_dim", "hidden_dim", "depth")}
    head = ACARHead(channels, arch["num_classes"], 16, **sizes).eval()
    report = load_weights(nn.ModuleDict({"head": head}), path)
    assert (report.format, report.missing, report.unexpected, report.mismatched) == ("acar", [], [], [])
    assert len(report.loaded) == len(head.state_dict())
    assert head.dropout.p == 0
    # Maps of 8x8 cells are clips of 128x128 pixels; the valid part is given as shares of width and height.
    rois = io["rois_normalized"] * torch.tensor([1.0, 128, 128, 128, 128])
    valid = [(128 * height, 128 * width) for width, height in io["valid_part_w_h"].tolist()]
    found = head([io["features_0"], io["features_1"]], rois, valid)
    torch.testing.assert_close(found, io["output"], rtol=0, atol=1e-4)


@torch.no_grad()
def test_outputs_of_the_feature_bank_operators(real_data):
    path, io = _case(real_data, "lfb_fbo_nonlocal")
    arch = io["arch"]
    operator = NonLocalOperator(
        arch["st_feat_channels"],
        arch["lt_feat_channels"],
        arch["latent_channels"],
        arch["num_non_local_layers"],
    )
    model = nn.ModuleDict({"head": nn.ModuleDict({"fbo": operator})}).eval()
    report = load_weights(model, path)
    assert (report.format, report.missing, report.unexpected) == ("mmaction2_lfb", [], [])
    assert len(report.loaded) == len(operator.state_dict())
    people, slots = io["st_feat"].flatten(1), io["lt_feat"].flatten(2).transpose(1, 2)
    torch.testing.assert_close(
        operator(people, slots, torch.arange(3)), io["output"].flatten(1), rtol=0, atol=1e-4
    )

    # The same as heads, whose one box covers the map of a clip's one place.
    rois = torch.tensor([[float(i), 0, 0, 1, 1] for i in range(3)])
    expected = {"nonlocal": io["head_input"], "max": torch.cat([io["st_feat"], io["max"]], 1)}
    expected["avg"] = torch.cat([io["st_feat"], io["avg"]], 1)
    for name, joined in expected.items():
        head = FeatureBankHead(
            [arch["st_feat_channels"]],
            3,
            1,
            operator=name,
            bank_channels=arch["lt_feat_channels"],
            latent_dim=arch["latent_channels"],
            resolution=1,
        ).eval()
        if name == "nonlocal":
            head.fbo = operator
        torch.testing.assert_close(
            head([io["st_feat"]], rois, slots), head.projection(joined.flatten(1)), rtol=0, atol=1e-4
        )


def test_window_of_a_bank():
    people = torch.arange(1.0, 15.0).view(7, 2)
    bank = FeatureBank({"a": {8: people[:1], 10: people[:7], 12: people[3:5]}, "b": {10: people}})
    slots = bank.window("a", 10, length=4, per_second=3, channels=2, draw=False)
    assert slots.shape == (12, 2)
    # Seconds 8 to 11; the end is excluded.
    assert torch.equal(slots[:1], people[:1])
    assert torch.equal(slots[6:9], people[:3])
    assert slots[[1, 2, 3, 4, 5, 9, 10, 11]].abs().sum() == 0
    torch.manual_seed(0)
    drawn = bank.window("a", 10, 4, 3, 2, draw=True)[6:9]
    assert len({row[0].item() for row in drawn}) == 3
    assert {row[0].item() for row in drawn} <= set(people[:, 0].tolist())
    assert any(not torch.equal(bank.window("a", 10, 4, 3, 2, draw=True)[6:9], drawn) for _ in range(9))
    assert bank.window("missing", 10, 4, 3, 2, draw=False).abs().sum() == 0
    with pytest.raises(UserError, match=r"features of \(2,\) for a, but MODEL.FEATURE_BANK.CHANNELS is 5"):
        bank.window("a", 10, 4, 3, 5, draw=False)


def test_people_and_features_are_random_in_training_alone():
    people = torch.arange(8.0).view(8, 1)
    head = FeatureBankHead(
        [4], 2, 16, FeatureBank({"a": {1: people}}), bank_channels=1, latent_dim=3, window=1, per_second=2
    )
    batch = {"video_id": ["a"], "second": [1.0]}
    torch.manual_seed(0)
    assert len({tuple(head.context(batch)[0].flatten().tolist()) for _ in range(9)}) > 1
    head.eval()
    assert all(torch.equal(head.context(batch)[0][0], people[:2]) for _ in range(9))
    operator = NonLocalOperator(4, 1, 3, dropout=1.0)
    assert operator(torch.ones(1, 4), people[None], torch.tensor([0])).tolist() == [[0, 0, 0]]
    assert operator.eval()(torch.ones(1, 4), people[None], torch.tensor([0])).abs().min() > 0


def test_files_of_banks_are_joined(tmp_path):
    """One file of ours, and one with a list of people for each second, as mmaction2 has it."""
    first, second = torch.arange(4.0).view(2, 2), torch.arange(6.0).view(3, 2)
    torch.save({"a": {1: first.half(), 2: first[:0]}, "b": {5: first}}, tmp_path / "a.pt")
    torch.save({"a": {3: list(second), 4: []}, "b": {5: second}}, tmp_path / "b.pt")
    features = FeatureBank.load([tmp_path / "a.pt", tmp_path / "b.pt"]).features
    assert {video: list(seconds) for video, seconds in features.items()} == {"a": [1, 3], "b": [5]}
    assert torch.equal(features["a"][3], second) and torch.equal(features["b"][5], second)
    torch.save([first], tmp_path / "c.pt")
    with pytest.raises(UserError, match="c.pt does not map videos to seconds and features"):
        FeatureBank.load([tmp_path / "c.pt"])


def _batch(**more):
    boxes = [
        torch.tensor([[4.0, 4, 30, 30], [8, 8, 40, 60]]),
        torch.zeros(0, 4),
        torch.tensor([[0.0, 0, 64, 64]]),
    ]
    video = torch.randint(0, 256, (3, 3, 4, 64, 64), dtype=torch.uint8)
    return {"video": video, "boxes": boxes, "labels": [torch.ones(len(b), 5) for b in boxes], **more}


def _detector(head_class, **options) -> ActionDetector:
    torch.manual_seed(0)
    backbone = ResNet3D(18, 8, dilate_res5=True)
    head = head_class(backbone.out_channels, 5, backbone.spatial_stride, dropout=0.0, init_std=1.0, **options)
    return ActionDetector(backbone, head, bce_with_logits, [0.45] * 3, [0.225] * 3)


def test_actors_of_other_clips_and_padding_are_no_context():
    model = _detector(ACARHead, reduce_dim=8, hidden_dim=8).eval()
    image = torch.randn(2, model.backbone.out_channels[0], 1, 8, 8)
    rois = torch.tensor([[0.0, 0, 0, 64, 64], [0, 32, 32, 96, 64], [1, 0, 0, 64, 64]])
    with torch.no_grad():
        alone = model.head([image[:1]], rois[:2])
        together = model.head([image], rois)
        torch.testing.assert_close(together[:2], alone)
        assert not torch.allclose(model.head([image[:1]], rois[:1]), alone[:1])
        with pytest.raises(UserError, match=r"maps of at least 3x3 cells of 16 pixels, not \(2, 8\)"):
            model.head([image], rois, [(32, 128), (128, 128)])
        part = model.head([image], rois, [(70, 128), (128, 128)])  # the fifth row is partly image
        changed = image.clone()
        changed[0, :, :, 5:] = 0
        torch.testing.assert_close(model.head([changed], rois, [(80, 128), (128, 128)])[:1], part[:1])


def test_training_and_evaluation_with_context(tmp_path):
    model = _detector(ACARHead, reduce_dim=8, hidden_dim=8)
    model(_batch())["loss_action"].backward()
    assert all(p.grad is not None for p in model.head.parameters())
    assert [p["scores"].shape for p in model.eval()(_batch())] == [(2, 5), (0, 5), (1, 5)]
    model.zero_grad()
    maps = [torch.randn(2, model.backbone.out_channels[0], 1, 8, 8)]
    model.train().head(maps, torch.zeros(0, 5)).sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.head.parameters())

    bank = {"a": {1: torch.randn(2, 6), 2: torch.randn(1, 6)}}
    torch.save(bank, tmp_path / "bank.pt")
    options = {"bank_channels": 6, "latent_dim": 4, "window": 4, "per_second": 2}
    model = _detector(FeatureBankHead, bank=FeatureBank.load([tmp_path / "bank.pt"]), **options)
    batch = _batch(video_id=["a", "a", "b"], second=[2.0, 1.0, 2.0])
    model(batch)["loss_action"].backward()
    assert all(p.grad is not None for p in model.head.parameters())
    model.eval()
    scores = torch.cat([p["scores"] for p in model(batch)])
    model.head.bank = FeatureBank({})
    empty = torch.cat([p["scores"] for p in model(batch)])
    assert not torch.allclose(scores[:2], empty[:2])
    torch.testing.assert_close(scores[2:], empty[2:])


def test_heads_of_a_config(tmp_path):
    torch.save({"a": {1: torch.zeros(1, 6)}}, tmp_path / "bank.pt")
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.NUM_CLASSES", 5, "MODEL.RESNET3D.DEPTH", 18, "MODEL.RESNET3D.WIDTH", 4])
    cfg.merge_from_list(["MODEL.HEAD.NAME", "ACARHead", "MODEL.ACAR.DEPTH", 1, "MODEL.ACAR.HIDDEN_DIM", 8])
    cfg.MODEL.ACAR.REDUCE_DIM = 6
    head = build_model(cfg).head
    assert (len(head.hr2o), head.conv1.weight.shape, head.aligned) == (1, (8, 12, 1, 1), True)
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.MVIT.FEATURES = "MViT", "pooled"
    with pytest.raises(UserError, match="ACARHead needs a feature map, but the backbone gives one cell"):
        build_model(cfg)
    cfg.MODEL.BACKBONE.NAME = "ResNet3D"
    cfg.MODEL.HEAD.NAME = "FeatureBankHead"
    with pytest.raises(UserError, match="MODEL.FEATURE_BANK.PATH is empty: make a bank with"):
        build_model(cfg)
    cfg.MODEL.FEATURE_BANK.PATH = f"{tmp_path}/bank.pt"
    cfg.MODEL.FEATURE_BANK.CHANNELS = 6
    head = build_model(cfg).head
    assert (head.projection.in_features, list(head.bank.features)) == (32 + 512, ["a"])
    (tmp_path / "bank.pt").write_bytes(b"nothing")
    with pytest.raises(UserError, match="bank.pt cannot be read"):
        build_model(cfg)
    with pytest.raises(UserError, match="FEATURE_BANK.OPERATOR is 'mean'; known: nonlocal, max, avg"):
        FeatureBankHead([4], 5, 16, operator="mean")
