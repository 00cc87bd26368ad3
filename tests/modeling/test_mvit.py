"""MViT: outputs of PySlowFast from its own files, the published networks, other inputs, equal formulations."""

from __future__ import annotations

import math

import pytest
import torch
import yaml

from modist_det.checkpoint import load_weights
from modist_det.checkpoint.mvit import keys_of_mvit
from modist_det.config import get_cfg
from modist_det.model_zoo import config_of_file, from_file
from modist_det.modeling import (
    ActionDetector,
    ClassificationHead,
    MViT,
    RoIActionHead,
    VideoClassifier,
    build_model,
)
from modist_det.modeling.backbone.mvit_block import PoolingAttention, _relative
from modist_det.modeling.losses import bce_with_logits, cross_entropy
from modist_det.utils.errors import UserError

CASES = ["mvitv1_cls", "mvitv2_cls", "mvitv2_ava", "mvitv2_ava_nonsquare_relpos"]
# Keys of ours that are PySlowFast's of the same name.
SHARED = """
    DEPTH EMBED_DIM NUM_HEADS DIM_MUL HEAD_MUL DIM_MUL_IN_ATT POOL_KVQ_KERNEL POOL_Q_STRIDE POOL_KV_STRIDE_ADAPTIVE
    RESIDUAL_POOLING REL_POS_SPATIAL REL_POS_TEMPORAL USE_ABS_POS SEP_POS_EMBED CLS_EMBED_ON USE_MEAN_POOLING
    PATCH_KERNEL PATCH_STRIDE PATCH_PADDING MLP_RATIO QKV_BIAS
"""


def _by_their_config(theirs, features: str) -> MViT:
    data = theirs["DATA"]
    size = [data["NUM_FRAMES"], *[data["TRAIN_CROP_SIZE"]] * 2]
    return MViT(size, features=features, **{key.lower(): theirs["MVIT"][key] for key in SHARED.split()})


def _from_content(tensors, classes: int, detects: bool):
    """Built from what the file shows."""
    cfg = get_cfg()
    cfg.merge_from_list([word for pair in MViT.config_of(tensors).items() for word in pair])
    cfg.merge_from_list(["MODEL.BACKBONE.NAME", "MViT", "MODEL.NUM_CLASSES", classes])
    if not detects:
        cfg.merge_from_list(["MODEL.META_ARCHITECTURE", "VideoClassifier", "MODEL.MVIT.FEATURES", "pooled"])
        cfg.merge_from_list(["MODEL.HEAD.NAME", "ClassificationHead", "MODEL.HEAD.ACTIVATION", "softmax"])
        cfg.merge_from_list(["MODEL.LOSS.NAME", "cross_entropy"])
    return build_model(cfg)


@torch.no_grad()
@pytest.mark.parametrize("build", ["constructor", "content"])
@pytest.mark.parametrize("name", CASES)
def test_outputs_of_pyslowfast(real_data, name, build):
    path = real_data / "reference" / "vit" / f"{name}.pyth"
    io = torch.load(path.with_name(f"{name}_io.pt"), weights_only=True)
    content = torch.load(path, weights_only=True)
    theirs = yaml.safe_load(content["cfg"])
    classes, detects = io["output"].shape[1], "ava" in name
    if build == "content":
        model = _from_content(content["model_state"], classes, detects)
    else:
        backbone = _by_their_config(theirs, "map" if detects else "pooled")
        normalization = ([0.0] * 3, [1.0] * 3)
        if detects:
            head = RoIActionHead(backbone.out_channels, classes, backbone.spatial_stride)
            model = ActionDetector(backbone, head, bce_with_logits, *normalization)
        else:
            head = ClassificationHead(backbone.out_channels, classes)
            model = VideoClassifier(backbone, head, cross_entropy, *normalization)
    report = load_weights(model.eval(), path)
    assert report.format == "pyslowfast_mvit"
    assert (report.missing, report.unexpected, report.mismatched, report.dropped) == ([], [], [], [])
    assert sorted(report.loaded) == sorted(model.state_dict())
    assert report.untraced == {}  # the config in the file shows all settings

    def logits(clip):
        rois = [io["boxes"]] if detects else []
        return model.head(model.backbone(clip), *rois).view(-1, classes)

    found = logits(io["clip"].float())
    torch.testing.assert_close(found, io["logits"], rtol=0, atol=1e-4)
    torch.testing.assert_close(model.head.activate(found), io["output"], rtol=0, atol=1e-4)
    model.double()
    torch.testing.assert_close(logits(io["clip"].double()), io["logits_float64"], rtol=0, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("name", CASES)
def test_networks_from_the_config_in_the_file(real_data, name):
    path = real_data / "reference" / "vit" / f"{name}.pyth"
    io = torch.load(path.with_name(f"{name}_io.pt"), weights_only=True)
    model, cfg = from_file(path), config_of_file(path)
    found = model.head(model.backbone(io["clip"].float()), *([io["boxes"]] if "ava" in name else []))
    torch.testing.assert_close(
        model.head.activate(found).view_as(io["output"]), io["output"], rtol=0, atol=1e-4
    )
    theirs = yaml.safe_load(torch.load(path, weights_only=True)["cfg"])["DATA"]
    assert (theirs["NUM_FRAMES"], theirs["TRAIN_CROP_SIZE"]) == (cfg.INPUT.NUM_FRAMES, cfg.INPUT.CROP_SIZE)
    assert (theirs["MEAN"], theirs["SAMPLING_RATE"]) == (cfg.MODEL.PIXEL_MEAN, cfg.INPUT.SAMPLING_RATE)


def _pyslowfast_file(path, network: MViT, **changes):
    """A checkpoint of a detector as PySlowFast writes it; its config is ``UNUSUAL`` and ``changes``."""
    keys = {key: UNUSUAL.get(key.lower()) for key in SHARED.split() if key.lower() in UNUSUAL}
    config = {
        "MVIT": keys | changes,
        "DATA": {"NUM_FRAMES": 4, "TRAIN_CROP_SIZE": 32},
        "DETECTION": {"ENABLE": True, "SPATIAL_SCALE_FACTOR": 16},
    }
    weights = network.state_dict() | {
        "head.projection.weight": torch.randn(5, network.out_channels[0]),
        "head.projection.bias": torch.randn(5),
    }
    torch.save({"epoch": 1, "model_state": weights, "cfg": yaml.safe_dump(config)}, path)
    return path


# What no shape shows: queries are pooled where heads do not double, and in time; keys and values down to another size.
UNUSUAL = {
    "depth": 3,
    "embed_dim": 8,
    "dim_mul": [[1, 2.0]],
    "head_mul": [[1, 2.0]],
    "dim_mul_in_att": False,
    "pool_q_stride": [[0, 2, 1, 1], [2, 1, 2, 2]],
    "pool_kv_stride_adaptive": [2, 4, 4],
    "residual_pooling": False,
    "rel_pos_spatial": False,
    "rel_pos_temporal": False,
    "use_abs_pos": True,
    "sep_pos_embed": True,
    "patch_stride": [1, 4, 4],
    "patch_padding": [1, 1, 1],
}


@torch.no_grad()
@pytest.mark.parametrize("lists_all", [False, True])
def test_strides_come_from_the_config_in_the_file(tmp_path, caplog, lists_all):
    torch.manual_seed(0)
    network = MViT((4, 32, 32), **UNUSUAL).eval()
    # The same strides of keys and values for each block, as configs have them that do not use the adaptive key.
    listed = {
        "POOL_KV_STRIDE_ADAPTIVE": None,
        "POOL_KV_STRIDE": [[0, 1, 4, 4], [1, 1, 4, 4], [2, 1, 2, 2]],
    }
    path = _pyslowfast_file(tmp_path / "mvit.pyth", network, **(listed if lists_all else {}))
    found = from_file(path)
    clip = torch.randn(1, 3, 4, 36, 40)
    assert torch.equal(found.backbone(clip)[0], network(clip)[0])
    assert found.head.projection.out_features == 5
    # The network that its shapes suggest loads as well, but is another one.
    assert "stride of 8 pixels, but it was trained with boxes divided by 16" in caplog.text
    caplog.clear()
    guess = MViT((4, 32, 32), **UNUSUAL | {"pool_q_stride": [[0, 1, 1, 1], [2, 1, 2, 2]]})
    report = load_weights(guess, path)
    assert "POOL_Q_STRIDE is [[0, 1, 1, 1], [2, 1, 2, 2]], but the weights were trained with" in caplog.text
    assert "[[0, 2, 1, 1], [2, 1, 2, 2]]" in caplog.text
    assert list(report.untraced) == ["MODEL.MVIT.USE_MEAN_POOLING"]  # not in the config of this file


def test_an_error_names_the_strides_of_the_file(tmp_path):
    path = _pyslowfast_file(tmp_path / "mvit.pyth", MViT((4, 32, 32), **UNUSUAL))
    with pytest.raises(
        UserError, match=r"another backbone.*PATCH_STRIDE \[1,4,4\] MODEL.MVIT.PATCH_PADDING \[1,1,1\]"
    ):
        load_weights(_tiny("v2"), path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"POOL_KV_STRIDE_ADAPTIVE": None, "POOL_KV_STRIDE": [[0, 1, 4, 4], [1, 1, 2, 2], [2, 1, 2, 2]]},
            r"POOL_KV_STRIDE of its config is \[1, 2, 2\] in block 1.*there: \[1, 4, 4\]",
        ),
        ({"POOL_KV_STRIDE_ADAPTIVE": None, "POOL_KV_STRIDE": 3}, "MVIT and DATA of its config are not"),
    ],
)
def test_configs_that_no_network_here_has(tmp_path, changes, message):
    path = _pyslowfast_file(tmp_path / "mvit.pyth", MViT((4, 32, 32), **UNUSUAL), **changes)
    with pytest.raises(UserError, match=message):
        from_file(path)


def test_what_a_config_lacks_is_left_to_ours():
    assert keys_of_mvit({"DATA": {"NUM_FRAMES": 16, "TRAIN_CROP_SIZE": 224}}, "file") == {}
    node = {"DEPTH": 3, "NUM_HEADS": None, "POOL_KV_STRIDE": []}
    found = {"MODEL.BACKBONE.NAME": "MViT", "MODEL.MVIT.DEPTH": 3}
    stride = "MODEL.MVIT.POOL_KV_STRIDE_ADAPTIVE"
    assert keys_of_mvit({"MVIT": node, "DATA": {"NUM_FRAMES": 16}}, "file") == found | {stride: []}
    node["POOL_KV_STRIDE_ADAPTIVE"] = [1, 8, 8]
    assert keys_of_mvit({"MVIT": node}, "file") == found | {stride: [1, 8, 8]}
    for queries, given, first in (
        ([[0, 2, 1, 1], [1, 1, 2, 2]], [[0, 2, 4, 4], [1, 2, 2, 2]], [4, 4, 4]),
        ([[1, 1, 8, 8]], [[0, 1, 4, 4], [1, 1, 1, 1]], [1, 4, 4]),
    ):
        node = {"DEPTH": 2, "POOL_Q_STRIDE": queries, "POOL_KV_STRIDE": given}
        assert keys_of_mvit({"MVIT": node}, "file")[stride] == first
    for damaged in (3, {"POOL_KV_STRIDE": [[]]}):
        with pytest.raises(
            UserError, match="file: the sections MVIT and DATA of its config are not PySlowFast's"
        ):
            keys_of_mvit({"MVIT": damaged}, "file")


# Version 2: projects/mvitv2 of PySlowFast, for Something-Something, since 217.6 million of L for Kinetics do not follow
# from its config, which gives 213.4. Version 1: table 4 of its paper.
@pytest.mark.parametrize(
    ("name", "classes", "millions"),
    [("v1-B", 400, 36.6), ("v2-S", 174, 34.4), ("v2-B", 174, 51.1), ("v2-L", 174, 213.1)],
)
def test_published_sizes(name, classes, millions):
    with torch.device("meta"):
        backbone = MViT.preset(name)
    count = sum(p.numel() for p in backbone.parameters()) + (backbone.out_channels[0] + 1) * classes
    assert count / 1e6 == pytest.approx(millions, abs=0.06)
    assert (backbone.temporal_strides, backbone.spatial_stride) == ((2,), 32)


SMALL = {"depth": 3, "embed_dim": 8, "dim_mul": [(1, 2.0)], "head_mul": [(1, 2.0)]}
V2 = SMALL | {
    "pool_q_stride": [(0, 1, 1, 1), (1, 1, 2, 2), (2, 1, 1, 1)],
    "pool_kv_stride_adaptive": (1, 2, 2),
}
V1 = SMALL | {
    "dim_mul_in_att": False,
    "pool_q_stride": [(1, 1, 2, 2)],
    "pool_kv_stride_adaptive": (1, 2, 2),
    "residual_pooling": False,
    "rel_pos_spatial": False,
    "rel_pos_temporal": False,
    "use_abs_pos": True,
    "sep_pos_embed": True,
}
KINDS = {
    "v2": V2,
    "v1": V1,
    "one table": V1 | {"sep_pos_embed": False},
    "no class token": V2 | {"cls_embed_on": False},
    "one table, no class token": V1 | {"sep_pos_embed": False, "cls_embed_on": False},
    "no pooling of keys": V2 | {"pool_kv_stride_adaptive": ()},
}


def _tiny(kind="v2", size=(4, 32, 32), **changes) -> MViT:
    torch.manual_seed(0)
    return MViT(size, **KINDS[kind] | changes).eval()


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_a_map_has_the_size_that_the_attributes_say(kind):
    network = _tiny(kind)
    maps = network(torch.randn(2, 3, 5, 44, 60))
    assert (network.out_channels, network.temporal_strides, network.spatial_stride) == ((16,), (2,), 8)
    assert [m.shape for m in maps] == [(2, 16, 3, 6, 8)]
    pooled = _tiny(kind, features="pooled")
    assert pooled(torch.randn(2, 3, 5, 44, 60))[0].shape == (2, 16, 1, 1, 1)


@torch.no_grad()
def test_pooled_features():
    clip = torch.randn(1, 3, 4, 32, 32)
    assert torch.equal(
        _tiny("no class token", features="pooled")(clip)[0], _mean(_tiny("no class token")(clip)[0])
    )
    network = _tiny(use_mean_pooling=True, features="pooled")
    seen = []
    network.norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    tokens = []
    network.blocks[-1].register_forward_hook(lambda module, inputs, output: tokens.append(output[0]))
    network(clip)
    torch.testing.assert_close(seen[0], tokens[0][:, 1:].mean(dim=1))


def _mean(maps):
    return maps.flatten(2).transpose(1, 2).mean(dim=1)[:, :, None, None, None]


@torch.no_grad()
def test_absolute_positions_are_resized_to_the_clip():
    """A larger clip gives what a network gives whose one table was resized trilinearly beforehand."""
    small, large = _tiny("v1"), _tiny("one table", size=(8, 48, 64))
    state = dict(small.state_dict())
    space, time = state.pop("pos_embed_spatial"), state.pop("pos_embed_temporal")
    volume = (space[0].view(1, 8, 8, 8) + time[0].view(2, 1, 1, 8)).permute(3, 0, 1, 2)[None]
    volume = torch.nn.functional.interpolate(volume, size=(4, 12, 16), mode="trilinear")
    state["pos_embed"] = torch.cat([state.pop("pos_embed_class"), volume.flatten(2).transpose(1, 2)], dim=1)
    large.load_state_dict(state)
    clip = torch.randn(1, 3, 8, 48, 64)
    torch.testing.assert_close(small(clip), large(clip), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("q_grid", "k_grid"), [((2, 3, 5), (2, 3, 5)), ((4, 7, 5), (2, 3, 2)), ((1, 2, 2), (3, 5, 4))]
)
@pytest.mark.parametrize("has_class", [True, False])
def test_relative_positions_are_terms_of_the_softmax(q_grid, k_grid, has_class):
    """The product of extended queries and keys is the plain sum, token by token."""
    torch.manual_seed(0)
    attention = PoolingAttention(8, 16, 2, (4, 4, 4), (3, 3, 3), [], [], has_class, True, True, True, False)
    first = int(has_class)
    q, k, v = (torch.randn(1, 2, math.prod(g) + first, 8) for g in (q_grid, k_grid, k_grid))
    logits = torch.einsum("bnqc,bnkc->bnqk", q, k) / math.sqrt(8)
    for i in range(math.prod(q_grid)):
        for j in range(math.prod(k_grid)):
            for axis, name in enumerate("thw"):
                a, b = (n // math.prod(g[axis + 1 :]) % g[axis] for n, g in ((i, q_grid), (j, k_grid)))
                row = _relative(getattr(attention, f"rel_pos_{name}"), q_grid[axis], k_grid[axis])[a, b]
                logits[:, :, first + i, first + j] += q[:, :, first + i] @ row
    expected = logits.softmax(dim=-1) @ v
    torch.testing.assert_close(attention._attend(q, k, v, q_grid, k_grid), expected, rtol=0, atol=1e-5)


def test_distances_count_steps_of_the_finer_axis():
    table = torch.arange(7.0)[:, None]  # distances from -3 to 3
    assert _relative(table, 4, 4)[..., 0].tolist() == [[3 + q - k for k in range(4)] for q in range(4)]
    assert _relative(table, 4, 2)[..., 0].tolist() == [[2.0 + q - 2 * k for k in range(2)] for q in range(4)]
    assert _relative(table, 2, 4)[..., 0].tolist() == [[3.0 + 2 * q - k for k in range(4)] for q in range(2)]
    # Resized to three rows, of which the middle one stays.
    assert _relative(table, 2, 2)[0, 0].item() == 3


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_gradients_with_checkpointing_equal_those_without(kind):
    gradients = []
    for checkpointing in (False, True):
        network = _tiny(kind, checkpointing=checkpointing, drop_path=0.5).train()
        torch.manual_seed(1)
        network(torch.randn(3, 3, 4, 32, 32))[0].square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
    assert all(grad is not None for grad in gradients[0])


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_residuals_are_dropped_in_training_alone(kind):
    network = _tiny(kind, drop_path=1.0)
    assert [block.drop_path.p for block in network.blocks] == [0, 0.5, 1]
    last, tokens = network.blocks[-1], torch.randn(2, 5, 16)
    assert not torch.allclose(last(tokens, (1, 2, 2))[0], tokens)
    assert torch.equal(last.train()(tokens, (1, 2, 2))[0], tokens)


def test_initial_weights():
    """Hiera's and MViT's code starts all biases at 0.02; convolutions of pooling are no exception from the rest."""
    parameters = dict(_tiny("v2").named_parameters())
    biases = [
        value for name, value in parameters.items() if name.endswith("bias") and "patch_embed" not in name
    ]
    assert len(biases) > 20 and all((value == 0.02).all() for value in biases)
    for name in (
        "cls_token",
        "blocks.0.attn.pool_q.weight",
        "blocks.0.attn.rel_pos_h",
        "blocks.1.attn.qkv.weight",
    ):
        assert 0.01 < parameters[name].std() < 0.03


def test_settings_that_do_not_fit():
    with pytest.raises(UserError, match="MODEL.MVIT.FEATURES is 'mean', but takes map or pooled"):
        MViT(features="mean")
    with pytest.raises(UserError, match="there is no MViT 'v3'"):
        MViT.preset("v3")
