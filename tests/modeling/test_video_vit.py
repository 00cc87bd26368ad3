"""``VideoViT`` beyond its parity with the originals (tests/checkpoint/test_video_vit_parity.py)."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from modist_det.checkpoint import load_weights
from modist_det.config import get_cfg
from modist_det.modeling import ClassificationHead, VideoClassifier, VideoViT, build_backbone, build_model
from modist_det.modeling.backbone import keys_of
from modist_det.modeling.backbone.positions import rotary, sinusoid_table
from modist_det.modeling.losses import cross_entropy
from modist_det.utils.errors import UserError

TINY = {"dim": 24, "depth": 2, "heads": 2, "image_size": 48, "num_frames": 4}
FAMILIES = {
    "videomae": {},
    "umt": {"positions": "learned", "tubelet": 1},
    "mae_st": {"positions": "separable", "qkv_bias": "full", "class_token": True},
    "vjepa1": {"positions": "sincos", "qkv_bias": "full"},
    "vjepa2": {"positions": "rotary", "qkv_bias": "full"},
}


def tiny(family="videomae", **arguments) -> VideoViT:
    torch.manual_seed(0)
    return VideoViT(**TINY | FAMILIES[family] | arguments).eval()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("frames", "height", "width"), [(4, 48, 48), (2, 48, 48), (6, 32, 80), (4, 33, 70)])
def test_maps_of_any_size(family, frames, height, width):
    network = tiny(family)
    clip = torch.randn(2, 3, frames, height, width)
    with torch.no_grad():
        (maps,) = network(clip)
        rows, columns = math.ceil(height / 16), math.ceil(width / 16)
        assert maps.shape == (2, 24, frames // network.tubelet, rows, columns)
        # The last patches are filled up with zeros.
        padded = F.pad(clip, (0, 16 * columns - width, 0, 16 * rows - height))
        torch.testing.assert_close(maps, network(padded)[0], rtol=0, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_tell_places_apart(family):
    """A clip of equal patches: without positions all tokens would be equal."""
    with torch.no_grad():
        tokens = tiny(family)(torch.ones(1, 3, 4, 48, 48))[0].flatten(2)[0].T
    if family == "vjepa2":  # rotations turn queries and keys, but all values are equal
        assert torch.pdist(tokens).max() < 1e-4
    else:
        assert torch.pdist(tokens).min() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_that_are_kept_stay_where_they_were(family):
    """Attention of one token to itself depends on nothing else, so one kept token is that of its place alone."""
    network = tiny(family)
    keep = torch.tensor([[7, 2, 11]])
    with torch.no_grad():
        some = network.tokens(torch.randn(1, 3, 4, 48, 48), keep)[0]
        assert some.shape == (1, 3 + (family == "mae_st"), 24)
        clip = torch.randn(1, 3, 4, 48, 48)
        order = torch.randperm(18 * (2 if family == "umt" else 1))[None]
        everything, permuted = network.tokens(clip)[0], network.tokens(clip, order)[0]
        first = 1 if family == "mae_st" else 0
        torch.testing.assert_close(permuted[:, first:], everything[:, first:][:, order[0]], rtol=0, atol=1e-5)


def test_sinusoids_by_hand():
    table = sinusoid_table(6, 4)[0]
    # Of token 5: frequencies 1 and 1/100.
    expected = [math.sin(5), math.cos(5), math.sin(0.05), math.cos(0.05)]
    torch.testing.assert_close(table[5], torch.tensor(expected))
    torch.testing.assert_close(sinusoid_table(3, 4)[0], table[:3], rtol=0, atol=0)


def test_rotary_by_hand():
    """Head dimension 14: two pairs for each of step, row and column, and two channels that stay."""
    x = torch.arange(1.0, 15.0).expand(1, 1, 12, 14)
    out = rotary((2, 2, 3), 14, x)(x)[0, 0]
    place = 1 * 6 + 1 * 3 + 2  # step 1, row 1, column 2
    expected = []
    for position, start in ((1, 1.0), (1, 5.0), (2, 9.0)):
        angles = [position, position / 100, position, position / 100]  # tiled, while pairs are neighbours
        v = [start, start + 1, start + 2, start + 3]
        turned = [-v[1], v[0], -v[3], v[2]]
        expected += [a * math.cos(t) + b * math.sin(t) for a, b, t in zip(v, turned, angles, strict=True)]
    torch.testing.assert_close(out[place], torch.tensor([*expected, 13.0, 14.0]))
    torch.testing.assert_close(out[0], x[0, 0, 0])


def test_a_clip_shorter_than_a_tubelet_is_repeated():
    network, image = tiny(), torch.randn(1, 3, 1, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(network(image)[0], network(image.repeat(1, 1, 2, 1, 1))[0])
    with pytest.raises(UserError, match="a multiple of 2"):
        network(torch.zeros(1, 3, 3, 48, 48))


def test_features_of_the_whole_clip():
    clip = torch.randn(2, 3, 4, 48, 48)
    with torch.no_grad():
        map_, mean, first = (tiny("mae_st", features=features) for features in ("map", "mean", "first"))
        tokens = map_.tokens(clip)[0]
        torch.testing.assert_close(mean(clip)[0].flatten(1), tokens[:, 1:].mean(1))
        torch.testing.assert_close(first(clip)[0].flatten(1), tokens[:, 0])
        pooled = tiny("mae_st", features="mean", norm="pooled")
        plain = tiny("mae_st", norm="none").tokens(clip)[0][:, 1:].mean(1)
        torch.testing.assert_close(pooled(clip)[0].flatten(1), F.layer_norm(plain, (24,), eps=1e-6))


def test_gradients_with_checkpointing_are_those_without():
    clip, gradients = torch.randn(2, 3, 4, 48, 48), []
    for checkpointing in (False, True):
        network = tiny("umt", checkpointing=checkpointing, drop_path=0.5, layer_scale=0.1, depth=3).train()
        torch.manual_seed(1)
        network(clip)[0].square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain, rtol=0, atol=0)


def test_drop_path_rises_linearly():
    network = tiny(drop_path=0.2, depth=5)
    rates = [getattr(block.drop_path, "p", 0.0) for block in network.blocks]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])


# Millions of parameters with a classifier of 400 classes: VideoMAE, VideoMAE v2 (g), UMT, MAE-ST, V-JEPA 2 ("1B").
SIZES = {
    "S": (22, {}),
    "B": (87, {}),
    "L": (305, {}),
    "H": (633, {}),
    "g": (1013, {}),
    "L umt": (304, {"tubelet": 1}),
    "H mae_st": (632, {"positions": "separable", "qkv_bias": "full", "class_token": True}),
    "g vjepa2": (1012, {"positions": "rotary", "qkv_bias": "full", "heads": 22, "image_size": 256}),
}


@pytest.mark.parametrize("size", SIZES)
def test_parameters_of_the_published_sizes(size):
    millions, arguments = SIZES[size]
    with torch.device("meta"):
        network = VideoViT.preset(size.split()[0], **arguments)
    count = sum(p.numel() for p in network.parameters())
    width, depth, hidden = network.dim, len(network.blocks), network.blocks[0].mlp.fc1.out_features
    bias = 3 if arguments.get("qkv_bias") == "full" else 2
    block = 4 * width**2 + 2 * width * hidden + (bias + 1 + 1 + 4) * width + hidden
    positions = 196 + 8 + 2 if "mae_st" in size else 0
    written_out = (3 * network.tubelet * 256 + 1 + positions + 2) * width + depth * block
    assert count == written_out
    assert (count + 400 * (width + 1)) / 1e6 == pytest.approx(millions, abs=1.0)


def test_heads_of_the_published_widths():
    with torch.device("meta"):
        heads = {dim: VideoViT(dim=dim, depth=1).heads for dim in (32, 384, 768, 1024, 1280, 1408)}
        rotary_heads = VideoViT(dim=1408, depth=1, positions="rotary", qkv_bias="full").heads
    assert heads == {32: 1, 384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16}
    assert rotary_heads == 22


@pytest.mark.parametrize(("classes", "adapted"), [(400, True), (399, False)])
def test_the_first_classes_of_kinetics_710(classes, adapted, tmp_path):
    def classifier(count):
        backbone = tiny(norm="pooled", features="mean")
        mean = {"pixel_mean": [0.45] * 3, "pixel_std": [0.225] * 3}
        return VideoClassifier(backbone, ClassificationHead([24], count), cross_entropy, **mean)

    source, target = classifier(710), classifier(classes)
    torch.nn.init.normal_(source.head.projection.bias)
    before = target.head.projection.bias.clone()
    torch.save(source.state_dict(), tmp_path / "file.pth")
    report = load_weights(target, tmp_path / "file.pth")
    assert ("Kinetics-710" in str(report)) == adapted == (not report.mismatched)
    expected = source.head.projection.bias[:400] if adapted else before
    assert torch.equal(target.head.projection.bias, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_config_is_found_in_the_weights(family):
    network = tiny(family, layer_scale=0.1 if family == "umt" else 0.0)
    keys = keys_of(network.state_dict())
    cfg = get_cfg()
    cfg.merge_from_list([word for pair in keys.items() for word in pair])
    cfg.MODEL.VIDEO_VIT.HEADS = 2
    again = build_backbone(cfg).eval()
    again.load_state_dict(network.state_dict())
    if family == "videomae":  # its table is not in the weights
        assert cfg.MODEL.VIDEO_VIT.IMAGE_SIZE == 224
        return
    clip = torch.randn(1, 3, 4, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(again(clip)[0], network(clip)[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"positions": "fourier"}, "POSITIONS is 'fourier'; known: sinusoid, learned"),
        ({"heads": 5}, "5 heads do not divide"),
        ({"norm": "pooled"}, "NORM pooled is for FEATURES mean"),
        ({"norm": "batch"}, "NORM is 'batch'; known: tokens, pooled, none"),
        ({"features": "last"}, "FEATURES is 'last'; known: map, mean, first"),
        ({"qkv_bias": "kv"}, "QKV_BIAS is 'kv'; known: none, qv, full"),
        ({"positions": "rotary", "class_token": True}, "rotary has no place for a class token"),
        ({"positions": "rotary", "heads": 8}, "rotary needs an even width of heads, not 3"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(UserError, match=message):
        tiny(**arguments)


@pytest.mark.parametrize("family", ["umt", "mae_st", "vjepa1"])
def test_weights_for_clips_of_another_size(family, tmp_path):
    """The file's table is resized as that of its own network would be; from 8 steps of 6x6 places."""
    torch.manual_seed(0)
    frames = 8 * FAMILIES[family].get("tubelet", 2)
    large = VideoViT(**TINY | FAMILIES[family] | {"image_size": 96, "num_frames": frames})
    small = tiny(family, num_frames=4)
    for table in (p for name, p in large.named_parameters() if name.startswith("pos_embed")):
        torch.nn.init.normal_(table)
    torch.save({f"backbone.{name}": t for name, t in large.state_dict().items()}, tmp_path / "large.pth")
    report = load_weights(small, tmp_path / "large.pth")
    assert "resized from" in str(report) and not report.mismatched
    torch.testing.assert_close(
        small.position_table(small.grid), large.position_table(small.grid), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("family", ["umt", "mae_st", "vjepa1"])
@pytest.mark.parametrize("damage", ["scalar", "flat", "empty"])
def test_a_file_with_damaged_shapes_is_refused(family, damage, tmp_path):
    tensors = tiny(family).state_dict()
    for name in ("blocks.1.mlp.fc1.weight", next(n for n in tensors if n.startswith("pos_embed"))):
        table = tensors[name]
        changed = {"scalar": table.new_zeros(()), "flat": table.flatten(), "empty": table[:0]}[damage]
        torch.save(
            {f"backbone.{n}": t for n, t in tensors.items()} | {f"backbone.{name}": changed},
            tmp_path / "file.pth",
        )
        for network in (tiny(family), tiny(family, depth=1)):
            with pytest.raises(UserError, match="has another backbone than the model"):
                load_weights(network, tmp_path / "file.pth")


def test_torch_compile_takes_the_whole_network():
    network, clip = tiny("vjepa2"), torch.randn(1, 3, 4, 40, 48)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(clip)[0], network(clip)[0])


@pytest.mark.parametrize(
    ("config", "millions"),
    [
        ("AVA/ViT_B_VideoMAE", 86.29),
        ("AVA/ViT_L_UMT", 303.16),
        ("AVA/VJEPA2_L", 303.97),
        ("Puppets/ViT", 1.259),
        ("Puppets/VideoMAE_ViT", 1.377),
    ],
)
def test_configs_build(root, config, millions):
    cfg = get_cfg()
    cfg.merge_from_file(root / "configs" / f"{config}.yaml")
    cfg.MODEL.NUM_CLASSES = cfg.MODEL.NUM_CLASSES or 12
    with torch.device("meta"):
        model = build_model(cfg)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)
    clip = torch.empty(1, 3, cfg.INPUT.NUM_FRAMES, cfg.INPUT.CROP_SIZE, cfg.INPUT.CROP_SIZE, device="meta")
    (maps,) = model.backbone(clip)
    assert maps.shape[2:] == model.backbone.grid_of(clip)
    if cfg.TASK == "detection":
        assert model.head(maps[None], torch.empty(2, 5, device="meta")).shape == (2, cfg.MODEL.NUM_CLASSES)
