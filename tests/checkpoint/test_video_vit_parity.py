"""Outputs of the original video transformers, from their own checkpoint files."""

from __future__ import annotations

import pytest
import torch

from modist_det.checkpoint import load_weights
from modist_det.checkpoint.formats import convert, detect_format
from modist_det.checkpoint.reading import read_state_dict
from modist_det.checkpoint.writing import write_weights
from modist_det.core.node import flatten
from modist_det.data.transforms import jitter_boxes
from modist_det.model_zoo import config_of_file, from_file
from modist_det.modeling import (
    MAEST,
    ActionDetector,
    AttentiveHead,
    ClassificationHead,
    RoIActionHead,
    UMTStudent,
    VideoClassifier,
    VideoMAE,
    VideoViT,
)
from modist_det.modeling.backbone.positions import umt_table
from modist_det.modeling.clip_normalizer import ClipNormalizer
from modist_det.modeling.heads.roi_action import extend_rois
from modist_det.modeling.losses import bce_with_logits, cross_entropy
from modist_det.utils.errors import UserError

NORMALIZATION = {"pixel_mean": [0.45] * 3, "pixel_std": [0.225] * 3}
# Of the constructor -> of the original.
_ARGUMENTS = {
    "dim": ("embed_dim", "embed_dims", "hidden_size"),
    "depth": ("depth", "num_hidden_layers"),
    "heads": ("num_heads", "num_attention_heads"),
    "tubelet": ("tubelet_size",),
    "num_frames": ("all_frames", "num_frames", "frames_per_clip"),
}
VIDEOMAE_AD = {"aligned": False, "box_extension": (0.1, 0.05)}
MMACTION = {"resolution": 8, "aligned": True}
# Case -> format, arguments of the backbone that are in no file, arguments of the RoI head.
DETECTORS = {
    "videomae_det_square": ("videomae", {}, VIDEOMAE_AD),
    "videomae_det_nonsquare": ("videomae", {}, VIDEOMAE_AD),
    "umt_det": ("videomae", {}, VIDEOMAE_AD),
    "mmaction_ava_vit": ("mmaction2_vit", {}, MMACTION),
    "mmaction_ava_vit_nonsquare": ("mmaction2_vit", {}, MMACTION),
}
CLASSIFIERS = {
    "videomae_cls_finetune": ("videomae", {}),
    "videomae_cls_native224": ("videomae", {}),
    "umt_cls_native_8x224": ("videomae", {}),
    "umt_cls_pos_stored_16x64": ("videomae", {"positions": "learned"}),
    "mmaction_recognizer_vit": ("mmaction2_vit", {}),
    "hf_videomae_cls": ("hf_videomae", {"eps": 1e-12, "pooled_eps": 1e-5}),
    "mae_st_vit_cls": (
        "mae_st",
        {
            "dim": 48,
            "heads": 4,
            "depth": 2,
            "image_size": 64,
            "num_frames": 8,
            "positions": "separable",
            "qkv_bias": "full",
            "class_token": True,
        },
    ),
}
ROTARY = {"positions": "rotary", "qkv_bias": "full"}
ENCODERS = {
    "vjepa1_encoder_table": ("vjepa", {"positions": "sincos", "qkv_bias": "full"}),
    "vjepa2_encoder": ("vjepa", ROTARY),
    "vjepa2_encoder_nonsquare_longer": ("vjepa", ROTARY),
    "hf_vjepa2_encoder": ("hf_vjepa2", ROTARY),
}


@pytest.fixture(scope="module")
def reference(real_data):
    return real_data / "reference" / "vit"


def arguments(io, **changes) -> dict:
    """Of the constructor, from the original's."""
    facts = io.get("arch") or io["config"]
    if isinstance(facts, str):  # PySlowFast's config file
        return changes
    found = {ours: facts[name] for ours, names in _ARGUMENTS.items() for name in names if name in facts}
    size = facts.get("img_size") or facts.get("image_size") or facts.get("crop_size")
    return found | {"image_size": size[0] if isinstance(size, list) else size} | changes


def clip_of(io) -> torch.Tensor:
    if "clip_btchw" in io:
        return io["clip_btchw"].float().transpose(1, 2)
    if "clip" in io:
        return io["clip"].float()
    times = io["repeat_pixels"]
    return io["clip_small"].float().repeat_interleave(times, -1).repeat_interleave(times, -2)


def load(model, path, format):
    """Everything in the file has a place, or is left out on purpose."""
    report = load_weights(model, path)
    assert report.format == format
    assert (report.missing, report.unexpected, report.mismatched) == ([], [], [])
    assert sorted(report.loaded) == sorted(model.state_dict())
    return report


def check(model, run, io, expected="output"):
    """Within 1e-4, and in double within 1e-6."""
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(run(torch.float32), io[expected], rtol=0, atol=1e-4)
        if expected == "output" and "output_float64" in io or "logits_float64" in io:
            wanted = io.get("output_float64", io.get("logits_float64"))
            model.double()
            torch.testing.assert_close(run(torch.float64), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", sorted(DETECTORS))
def test_detectors(reference, case):
    io = torch.load(reference / f"{case}_io.pt", weights_only=True)
    format, changes, roi = DETECTORS[case]
    backbone = VideoViT(**arguments(io, **changes))
    background = format == "mmaction2_vit"
    classes = io["output"].shape[1] - background
    head = RoIActionHead(backbone.out_channels, classes, backbone.spatial_stride, **roi)
    model = ActionDetector(backbone, head, bce_with_logits, **NORMALIZATION)
    report = load(model, reference / f"{case}.pyth", format)
    assert [name for name, _ in report.dropped] == (["backbone.pos_embed"] if background else [])
    assert [name for name, _ in report.adapted] == (
        ["head.projection.weight", "head.projection.bias"] if background else []
    )
    io = {k: v[:, background:] if k.startswith("output") else v for k, v in io.items()}
    boxes = io["boxes"]
    sizes = (
        [(height, width) for width, height in io["image_sizes_wh"].tolist()]
        if "image_sizes_wh" in io
        else None
    )
    clip = clip_of(io)
    check(model, lambda dtype: model.logits(clip.to(dtype), boxes.to(dtype), sizes), io)

    predictions = model.float()(
        {"video": clip, "boxes": [boxes[boxes[:, 0] == i, 1:] for i in range(len(clip))]}
        | ({"clip_size": sizes} if sizes else {})
    )
    scores = torch.cat([prediction["scores"] for prediction in predictions])
    torch.testing.assert_close(scores, io["output"].sigmoid(), rtol=0, atol=1e-4)


def test_mmaction2s_hidden_layer_of_the_head(reference, tmp_path):
    """With the identity in it, and features that no ReLU cuts, it changes nothing."""
    content = torch.load(reference / "mmaction_ava_vit.pyth", weights_only=True)
    state = content["state_dict"]
    last = "roi_head.bbox_head.fc_cls."
    weight, bias = state.pop(f"{last}weight"), state.pop(f"{last}bias")
    width, shift = weight.shape[1], 100.0
    state |= {f"{last}0.weight": torch.eye(width), f"{last}0.bias": torch.full((width,), shift)}
    state |= {f"{last}2.weight": weight, f"{last}2.bias": bias - shift * weight.sum(dim=1)}
    torch.save(content, tmp_path / "mlp.pth")
    io = torch.load(reference / "mmaction_ava_vit_io.pt", weights_only=True)
    overrides = ["MODEL.VIDEO_VIT.HEADS", io["arch"]["num_heads"]]
    plain, mlp = (
        from_file(path, overrides).double()
        for path in (reference / "mmaction_ava_vit.pyth", tmp_path / "mlp.pth")
    )
    clip, boxes = clip_of(io).double(), io["boxes"].double()
    with torch.no_grad():
        logits = [model.logits(clip, boxes) for model in (plain, mlp)]
    assert logits[1].shape[1] == 80
    torch.testing.assert_close(logits[1], logits[0], rtol=0, atol=1e-4)


def test_boxes_are_larger_only_in_testing():
    backbone = VideoViT(24, 1, 2, image_size=64, num_frames=2)
    head = RoIActionHead([24], 3, 16, dropout=0.0, **VIDEOMAE_AD)
    model = ActionDetector(backbone, head, bce_with_logits, **NORMALIZATION)
    clip, rois = torch.randn(1, 3, 2, 64, 64), torch.tensor([[0.0, 8, 8, 40, 50]])
    with torch.no_grad():
        as_given = head([*backbone(clip)], rois)
        torch.testing.assert_close(model.train().logits(clip, rois), as_given)
        assert (model.eval().logits(clip, rois) - as_given).abs().max() > 1e-6


# Case -> settings that follow from the project and not from the file.
UNSEEN = {
    "mmaction_ava_vit": {
        "HEAD.ROI_RESOLUTION": 8,
        "HEAD.ROI_ALIGNED": True,
        "PIXEL_STD": [0.229, 0.224, 0.225],
    },
    "videomae_det_square": {"HEAD.ROI_ALIGNED": False, "PIXEL_STD": [0.225] * 3, "VIDEO_VIT.NUM_FRAMES": 16},
    "umt_det": {"HEAD.BOX_EXTENSION": [0.1, 0.05], "VIDEO_VIT.NUM_FRAMES": 8},
    "mae_st_vit_cls": {"HEAD.ACTIVATION": "softmax", "PIXEL_MEAN": [0.45] * 3, "LOSS.NAME": "cross_entropy"},
    "hf_videomae_cls": {"VIDEO_VIT.EPS": 1e-12, "VIDEO_VIT.POOLED_EPS": 1e-5},
}


@pytest.mark.parametrize("case", sorted(UNSEEN))
def test_settings_of_the_projects(reference, case):
    cfg = config_of_file(reference / f"{case}.pyth")
    keys = flatten({"MODEL": cfg.MODEL})
    assert {key: keys[f"MODEL.{key}"] for key in UNSEEN[case]} == UNSEEN[case]
    assert cfg.INPUT.NUM_FRAMES == cfg.MODEL.VIDEO_VIT.NUM_FRAMES
    assert cfg.INPUT.CROP_SIZE == cfg.MODEL.VIDEO_VIT.IMAGE_SIZE
    given = config_of_file(reference / f"{case}.pyth", ["INPUT.NUM_FRAMES", 2, "INPUT.CROP_SIZE", 96])
    assert (given.INPUT.NUM_FRAMES, given.INPUT.CROP_SIZE) == (2, 96)


@pytest.mark.parametrize("case", sorted(CLASSIFIERS))
def test_classifiers(reference, case):
    io = torch.load(reference / f"{case}_io.pt", weights_only=True)
    format, changes = CLASSIFIERS[case]
    backbone = VideoViT(**arguments(io, norm="pooled", features="mean", **changes))
    head = ClassificationHead(backbone.out_channels, io["output"].shape[1])
    model = VideoClassifier(backbone, head, cross_entropy, **NORMALIZATION)
    load(model, reference / f"{case}.pyth", format)
    clip = clip_of(io)
    logits = "logits" if "logits" in io else "output"
    check(model, lambda dtype: model.head(model.backbone(clip.to(dtype)))[:, 0], io, logits)


@pytest.mark.parametrize("case", sorted(ENCODERS))
def test_encoders(reference, case):
    io = torch.load(reference / f"{case}_io.pt", weights_only=True)
    format, changes = ENCODERS[case]
    backbone = VideoViT(**arguments(io, **changes))
    report = load(backbone, reference / f"{case}.pyth", format)
    dropped = {name.split(".")[0] for name, _ in report.dropped}
    assert dropped <= {"predictor", "module"} and all(
        name.startswith("predictor.") or name == "module.backbone.pos_embed" for name, _ in report.dropped
    )
    clip = clip_of(io)
    check(backbone, lambda dtype: backbone.tokens(clip.to(dtype))[0], io)
    if "out_layers_0_normed" in io:
        backbone.float()
        first = backbone.tokens(clip, blocks=(0,))[0]
        torch.testing.assert_close(first, io["out_layers_0_normed"], rtol=0, atol=1e-4)
    if "keep_ids" in io:
        some = backbone.tokens(clip, io["keep_ids"])[0]
        torch.testing.assert_close(some, io["output_masked"], rtol=0, atol=1e-4)


IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
# Case -> format, arguments of the method, of the backbone, distance of the stored tokens.
VIDEO_MAES = {
    "videomae_pretrain": (
        "videomae",
        {"decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 2},
        {"dim": 48, "depth": 2, "heads": 4},
    ),
    "hf_videomae_pretrain": (
        "hf_videomae",
        {"decoder_dim": 24, "decoder_depth": 1, "decoder_heads": 2, "decoder_eps": 1e-5},
        {"eps": 1e-12},
    ),
}


@pytest.mark.parametrize("case", sorted(VIDEO_MAES))
def test_videomae_pretraining(reference, case):
    io = torch.load(reference / f"{case}_io.pt", weights_only=True)
    format, decoder, changes = VIDEO_MAES[case]
    method = VideoMAE(VideoViT(**arguments(io, **changes)), ClipNormalizer(*IMAGENET), **decoder).eval()
    load(method, reference / f"{case}.pyth", format)
    clip, mask = clip_of(io), io["mask"]
    if "added" in io:
        ramp = 0.3 * torch.linspace(-1, 1, clip.shape[-1])
        clip = clip + ramp[:, None] * ramp / 0.3
    with torch.no_grad():
        visible = (~mask).nonzero()[:, 1][None]
        encoded = method.backbone.tokens(clip, visible)[0]
        torch.testing.assert_close(encoded, io["encoder_output"], rtol=0, atol=1e-4)
        torch.testing.assert_close(
            method.predict(clip, mask)[:, ::5][:, : io["output"].shape[1]], io["output"], rtol=0, atol=1e-4
        )
        torch.testing.assert_close(method.loss(clip, mask), io["loss"], rtol=0, atol=1e-4)
        if "target_head" in io:
            target = method.target(clip)[mask][None, :4]
            torch.testing.assert_close(target, io["target_head"], rtol=0, atol=1e-4)


def test_the_newer_names_of_hugging_face(reference, tmp_path):
    """transformers 5 calls the biases ``query.bias`` and ``value.bias``; base models have no ``videomae.``."""
    state = read_state_dict(reference / "hf_videomae_cls.pyth")
    renamed = {
        name.replace("attention.q_bias", "attention.query.bias").replace(
            "attention.v_bias", "attention.value.bias"
        ): t
        for name, t in state.items()
    }
    assert renamed.keys() != state.keys()
    base = {name.removeprefix("videomae."): t for name, t in renamed.items()}
    expected = convert(state, "hf_videomae").tensors
    for layout in (renamed, base):
        assert detect_format(layout) == "hf_videomae"
        found = convert(layout, "hf_videomae").tensors
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("case", "name", "message"),
    [
        (
            "hf_videomae_cls",
            "videomae.encoder.layer.1.attention.attention.query.weight",
            "does not follow from the file",
        ),
        ("videomae_det_square", "head.weight", "does not follow from the file"),
        (
            "mmaction_ava_vit",
            "roi_head.bbox_head.fc_cls.bias",
            "in another shape: head.projection.bias; check",
        ),
        ("lfb_fbo_nonlocal", "roi_head.shared_head.fbo.st_feat_conv.weight", "does not follow from the file"),
    ],
)
def test_damaged_tensors(reference, tmp_path, case, name, message):
    state = read_state_dict(reference / f"{case}.pyth")
    torch.save(state | {name: state[name].new_zeros(())}, tmp_path / "file.pth")
    with pytest.raises(UserError, match=message):
        from_file(tmp_path / "file.pth")


def test_mae_st_pretraining(reference):
    io = torch.load(reference / "mae_st_pretrain_io.pt", weights_only=True)
    backbone = VideoViT(**CLASSIFIERS["mae_st_vit_cls"][1])
    method = MAEST(backbone, ClipNormalizer([0.45] * 3, [0.225] * 3), 0.75, 64, 1).eval()
    load(method, reference / "mae_st_pretrain.pyth", "mae_st")
    clip, mask = io["clip"].float(), io["mask"].bool()
    with torch.no_grad():
        in_noise_order = io["noise"].argsort(dim=1)[:, :16]
        latent = backbone.tokens(clip, in_noise_order)[0]
        torch.testing.assert_close(latent, io["latent"], rtol=0, atol=1e-4)
        torch.testing.assert_close(method.predict(clip, mask)[0, ::3], io["output"], rtol=0, atol=1e-4)
        torch.testing.assert_close(method.target(clip)[mask][:4], io["target_head"], rtol=0, atol=1e-4)
        torch.testing.assert_close(method.loss(clip, mask), io["loss"], rtol=0, atol=1e-4)


def test_umt_student(reference):
    io = torch.load(reference / "umt_pretrain_io.pt", weights_only=True)
    student = UMTStudent(VideoViT(48, 3, 4, tubelet=1, num_frames=8, image_size=48), 20, 2).eval()
    load(student, reference / "umt_pretrain.pyth", "videomae")
    visible = (~io["mask"]).nonzero()[:, 1].view(2, -1)
    with torch.no_grad():
        encoded = torch.stack(student.backbone.tokens(io["clip"].float(), visible, (-2, -1)))
        torch.testing.assert_close(student(io["clip"].float(), visible), io["output"], rtol=0, atol=1e-4)
    torch.testing.assert_close(encoded, io["encoder_output"], rtol=0, atol=1e-4)


def test_attentive_probe(reference):
    io = torch.load(reference / "vjepa2_attentive_probe_io.pt", weights_only=True)
    backbone = VideoViT(48, 1, 4, positions="rotary", qkv_bias="full")
    head = AttentiveHead([48], 174, depth=2, heads=4)
    model = VideoClassifier(backbone, head, cross_entropy, **NORMALIZATION).eval()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    report = load_weights(model, reference / "vjepa2_attentive_probe.pyth")
    assert (report.format, report.missing, report.unexpected) == ("vjepa_probe", [], [])
    assert sorted(report.loaded) == sorted(f"head.{name}" for name in head.state_dict())
    assert all(torch.equal(before[name], tensor) for name, tensor in backbone.state_dict().items())
    maps = io["tokens"].transpose(1, 2).unflatten(2, (2, 4, 5))
    with torch.no_grad():
        torch.testing.assert_close(head([maps])[:, 0], io["output"], rtol=0, atol=1e-4)


def test_heads_that_do_not_divide_the_channels():
    for depth in (1, 2):
        with pytest.raises(UserError, match="5 heads do not divide the width 24"):
            AttentiveHead([24], 3, depth=depth, heads=5)
    with pytest.raises(UserError, match="one pathway, not of 2"):
        AttentiveHead([24, 8], 3)


SETTINGS = {"heads": "HEADS", "image_size": "IMAGE_SIZE", "num_frames": "NUM_FRAMES"}


@pytest.mark.parametrize(
    "case", sorted({**DETECTORS, **CLASSIFIERS, **ENCODERS, **VIDEO_MAES, "mae_st_pretrain": 0})
)
def test_the_network_of_a_file(reference, case):
    """Built from the file alone, but for what it cannot say in networks of sizes that nobody publishes."""
    io = torch.load(reference / f"{case}_io.pt", weights_only=True)
    if case.startswith("mae_st"):
        known = CLASSIFIERS["mae_st_vit_cls"][1]
    elif case == "videomae_pretrain":
        known = {"heads": 4, "image_size": 64, "num_frames": 16}
    else:
        known = arguments(io)
    settings = {f"MODEL.VIDEO_VIT.{SETTINGS[key]}": value for key, value in known.items() if key in SETTINGS}
    if "pretrain" in case:
        settings["MODEL.VIDEO_MAE.DECODER_HEADS"] = 2
    network = from_file(reference / f"{case}.pyth", [word for pair in settings.items() for word in pair])
    clip = clip_of(io)
    if "added" in io:
        clip = clip + 0.3 * torch.linspace(-1, 1, clip.shape[-1])[:, None] * torch.linspace(
            -1, 1, clip.shape[-1]
        )
    with torch.no_grad():
        if "pretrain" in case:
            torch.testing.assert_close(network.loss(clip, io["mask"].bool()), io["loss"], rtol=0, atol=1e-4)
        elif case in ENCODERS:
            torch.testing.assert_close(network.tokens(clip)[0], io["output"], rtol=0, atol=1e-4)
        elif case in DETECTORS:
            sizes = io.get("image_sizes_wh")
            sizes = None if sizes is None else [(height, width) for width, height in sizes.tolist()]
            logits = network.logits(clip, io["boxes"], sizes)
            expected = io["output"][:, io["output"].shape[1] - 80 :]
            torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
        else:
            logits = network.head(network.backbone(clip))[:, 0]
            torch.testing.assert_close(logits, io.get("logits", io["output"]), rtol=0, atol=1e-4)


# Case -> the format that it is written in; all others are read only.
WRITTEN = {
    **dict.fromkeys(
        ("videomae_cls_finetune", "umt_det", "umt_cls_pos_stored_16x64", "videomae_pretrain"), "videomae"
    ),
    **dict.fromkeys(("hf_videomae_cls", "hf_videomae_pretrain"), "hf_videomae"),
}


@pytest.mark.parametrize("case", sorted(WRITTEN))
def test_written_back(reference, tmp_path, case):
    """What was read is written with the same names and values."""
    path, format = reference / f"{case}.pyth", WRITTEN[case]
    before = read_state_dict(path)
    write_weights(tmp_path / "again.safetensors", convert(before, format).tensors, format)
    write_weights(tmp_path / "again.pth", convert(before, format).tensors, format)
    for again in (tmp_path / "again.safetensors", tmp_path / "again.pth"):
        after = read_state_dict(again)
        assert after.keys() == before.keys()
        assert all(torch.equal(after[name], before[name]) for name in before)


def test_boxes_of_videomae_detectors(reference):
    io = torch.load(reference / "videomae_det_boxes_io.pt", weights_only=True)
    rois = torch.cat([torch.zeros(len(io["boxes"]), 1), io["boxes"]], dim=1)
    extended = extend_rois(rois, (0.1, 0.05), io["image_size_wh"][None])
    torch.testing.assert_close(extended[:, 1:], io["output"], rtol=0, atol=1e-4)
    width, height = io["image_size_wh"].tolist()
    draws = io["jitter_draws_x1_y1_x2_y2"].numpy()
    jittered = jitter_boxes(io["boxes"].numpy(), draws, io["jitter_args"], height, width)
    torch.testing.assert_close(torch.from_numpy(jittered), io["jittered"], rtol=0, atol=1e-4)


def test_a_v_jepa_classifier_of_hugging_face(reference, tmp_path):
    """The probe of V-JEPA's own file under Hugging Face's names, beside the encoder of a Hugging Face file."""
    io = torch.load(reference / "vjepa2_attentive_probe_io.pt", weights_only=True)
    state = {
        f"vjepa2.{name}": tensor
        for name, tensor in read_state_dict(reference / "hf_vjepa2_encoder.pyth").items()
        if name.startswith("encoder.")
    }
    for name, tensor in read_state_dict(reference / "vjepa2_attentive_probe.pyth").items():
        name = name.replace("linear.", "classifier.").replace(
            "cross_attention_block", "cross_attention_layer"
        )
        name = name.replace("pooler.blocks.", "pooler.self_attention_layers.").replace(".norm", ".layer_norm")
        name = (
            name.replace("attn.proj", "attn.out_proj")
            .replace(".xattn.", ".cross_attn.")
            .replace(".attn.", ".self_attn.")
        )
        parts = {"attn.qkv.": ("q", "k", "v"), "attn.kv.": ("k", "v"), "attn.q.": ("q",)}
        layer = next((part for part in parts if part in name), "")
        for part, values in zip(
            parts.get(layer, ("",)), tensor.chunk(len(parts.get(layer, "x"))), strict=True
        ):
            state[name.replace(layer, f"attn.{part}_proj.") if layer else name] = values
    torch.save(state, tmp_path / "model.pth")
    model = from_file(tmp_path / "model.pth", ["MODEL.VIDEO_VIT.HEADS", 2, "MODEL.ATTENTIVE_HEAD.HEADS", 4])
    assert model.head.cross_attention_block.norm1.eps == 1e-6 and len(model.head.blocks) == 1
    maps = io["tokens"].transpose(1, 2).unflatten(2, (2, 4, 5))
    encoder = torch.load(reference / "hf_vjepa2_encoder_io.pt", weights_only=True)
    with torch.no_grad():
        torch.testing.assert_close(
            model.head([maps])[:, 0], io["output"], rtol=0, atol=1e-3
        )  # another epsilon
        tokens = model.backbone.tokens(clip_of(encoder))[0]
        torch.testing.assert_close(tokens, encoder["output"], rtol=0, atol=1e-4)


def test_umt_positions(reference):
    """The first table of each size, and one that is resized in time and space."""
    io = torch.load(reference / "umt_start_position_tables_io.pt", weights_only=True)
    tables = []
    for name, grid in {
        "frames4_size224": (4, 14, 14),
        "frames16_size64": (16, 4, 4),
        "frames8_size96": (8, 6, 6),
    }.items():
        table = umt_table(grid, io["d_hid"])[0, :: io[f"{name}_row_step"]]
        torch.testing.assert_close(table, io[name], rtol=0, atol=1e-6)
        tables.append(table)
    torch.testing.assert_close(torch.cat(tables), io["output"], rtol=0, atol=1e-6)

    io = torch.load(reference / "umt_position_resize_io.pt", weights_only=True)
    dim = io["pos_embed"].shape[2]
    network = VideoViT(dim, 1, 1, positions="learned", tubelet=1, num_frames=8, image_size=64)
    network.load_state_dict({"pos_embed": io["pos_embed"]}, strict=False)
    with torch.no_grad():
        torch.testing.assert_close(network.position_table((16, 6, 6)), io["output"], rtol=0, atol=1e-6)
    # The same for a file of another size than the model's.
    tensors = {"pos_embed": io["pos_embed"]}
    larger = VideoViT(dim, 1, 1, positions="learned", tubelet=1, num_frames=16, image_size=96, norm="none")
    assert dict(larger.adapt(tensors)) == {
        "pos_embed": "positions resized from 8x4x4 (steps x rows x columns) to 16x6x6"
    }
    torch.testing.assert_close(tensors["pos_embed"], io["output"], rtol=0, atol=1e-6)
