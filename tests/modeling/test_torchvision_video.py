"""torchvision's video models as backbones: its own outputs, maps, sizes, layouts, heads, shipped configs."""

from __future__ import annotations

import re

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import get_model_weights

from modist_det.config import get_cfg
from modist_det.modeling import (
    ActionDetector,
    ClassificationHead,
    RoIActionHead,
    TorchvisionVideo,
    build_backbone,
    build_head,
    build_model,
)
from modist_det.modeling.backbone.torchvision_video import TORCHVISION_MODELS, _with_positions
from modist_det.modeling.losses import bce_with_logits
from modist_det.modeling.meta_arch import ClipNormalizer
from modist_det.utils.errors import UserError

NAMES = sorted(TORCHVISION_MODELS)
# Of networks that differ only in size, the smallest.
KINDS = [name for name in NAMES if name not in ("swin3d_s", "swin3d_b")]


@pytest.fixture(scope="module", params=KINDS)
def backbone(request) -> TorchvisionVideo:
    """One of each, in evaluation mode; a test that changes it leaves it as it was."""
    torch.manual_seed(0)
    return TorchvisionVideo(request.param).eval()


@pytest.mark.parametrize(
    ("name", "frames"),
    [(name, frames) for name in NAMES for frames in (7, 15, 16) if (name, frames) != ("s3d", 7)],
)
def test_map_has_the_size_that_the_attributes_say(name, frames):
    with torch.device("meta"):
        network = TorchvisionVideo(name)
        (maps,) = network(torch.empty(1, 3, frames, 224, 250))
    stride = 1 if name == "mc3_18" else 2 if name.startswith(("mvit", "swin3d")) else 8
    time = -(-frames // stride)
    size = (14, 16) if name.endswith("_18") else (7, 8)
    assert maps.shape == (1, *network.out_channels, time, *size)
    assert network.temporal_strides == (stride,)
    assert network.spatial_stride == (16 if name.endswith("_18") else 32)


def test_s3d_rounds_down_at_its_last_pool():
    with torch.device("meta"):
        (maps,) = TorchvisionVideo("s3d")(torch.empty(1, 3, 16, 161, 250))
    assert maps.shape[3:] == (5, 8)  # 161 -> 81 -> 41 -> 21 -> 11 -> 5


@pytest.mark.parametrize("name", ["mvit_v1_b", "mvit_v2_s"])
def test_tokens_become_the_positions_of_a_map(name):
    torch.manual_seed(0)
    network = TorchvisionVideo(name).eval()
    seen = []
    network.network.norm.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        (maps,) = network(torch.randn(1, 3, 4, 64, 96))
    assert maps.shape == (1, 768, 2, 2, 3)
    for t, i, j in ((0, 0, 0), (0, 1, 0), (1, 0, 2), (1, 1, 2)):
        assert torch.equal(maps[0, :, t, i, j], seen[0][0, 1 + t * 6 + i * 3 + j])


def test_mvit_interpolates_its_positions_to_the_clip():
    """A clip of another size gives what a network gives whose positions were interpolated beforehand."""
    torch.manual_seed(0)
    network = TorchvisionVideo("mvit_v2_s", features="pooled").eval()
    size = (2, 20, 24)  # patches of a clip of 4 frames of 80x96 pixels
    other = torchvision.models.get_model("mvit_v2_s", weights=None).eval()
    other.head = nn.Identity()
    other.load_state_dict(network.network.state_dict())
    # torchvision's own forward takes the size from here, and leaves tables of the right length alone.
    other.pos_encoding.temporal_size, other.pos_encoding.spatial_size = size[0], size[1:]
    for block, of_block in zip(other.blocks, network.network.blocks, strict=True):
        attention = of_block.attn
        query = [n // s for n, s in zip(size, attention.pool_q.pool.stride, strict=True)]
        keys = [-(-n // s) for n, s in zip(size, attention.pool_k.pool.stride, strict=True)]
        for axis, table in enumerate(("rel_pos_t", "rel_pos_h", "rel_pos_w")):
            length = 2 * max(query[axis], keys[axis]) - 1
            old = getattr(attention, table).detach()
            setattr(block.attn, table, nn.Parameter(_resample(old, length)))
        size = tuple(-(-n // s) for n, s in zip(size, attention.pool_q.pool.stride, strict=True))
    clip = torch.randn(1, 3, 4, 80, 96)
    with torch.no_grad():
        torch.testing.assert_close(network(clip)[0].flatten(1), other(clip), rtol=1e-4, atol=1e-4)


def _resample(old: torch.Tensor, length: int) -> torch.Tensor:
    """Rows at ``length`` places: linear, with the ends of the two tables aligned as images' borders are."""
    at = ((torch.arange(length) + 0.5) * len(old) / length - 0.5).clamp(0, len(old) - 1)
    low = at.floor().long()
    high = (low + 1).clamp(max=len(old) - 1)
    return torch.lerp(old[low], old[high], (at - low).reshape(-1, *(1,) * (old.dim() - 1)))


def test_mvit_v1_interpolates_its_positions_to_the_clip():
    """As above; its positions are absolute."""
    torch.manual_seed(0)
    network = TorchvisionVideo("mvit_v1_b", features="pooled").eval()
    theirs = network.network.pos_encoding
    for name in ("class_token", "spatial_pos", "temporal_pos", "class_pos"):
        getattr(theirs, name).data.normal_()
    other = torchvision.models.get_model("mvit_v1_b", weights=None).eval()
    other.head = nn.Identity()
    other.load_state_dict(network.network.state_dict())
    with torch.no_grad():
        patches = torch.randn(1, 96, 8, 56, 56)
        expected = theirs(patches.flatten(2).transpose(1, 2))
        torch.testing.assert_close(_with_positions(theirs, patches), expected)
        rows = _resample(theirs.spatial_pos.unflatten(0, (56, 56)), 20)
        columns = _resample(rows.transpose(0, 1), 24).transpose(0, 1)
        other.pos_encoding.spatial_pos = nn.Parameter(columns.flatten(0, 1))
        other.pos_encoding.temporal_pos = nn.Parameter(_resample(theirs.temporal_pos, 3))
        other.pos_encoding.temporal_size, other.pos_encoding.spatial_size = 3, (20, 24)
        clip = torch.randn(2, 3, 6, 80, 96)
        torch.testing.assert_close(network(clip)[0].flatten(1), other(clip), rtol=1e-4, atol=1e-4)


def test_odd_clips_layouts_and_precisions(backbone):
    torch.manual_seed(0)
    clip = torch.randn(1, 3, 9, 45, 67)
    with torch.no_grad():
        (expected,) = backbone(clip)
        (last,) = backbone(clip.contiguous(memory_format=torch.channels_last_3d))
        torch.testing.assert_close(last, expected, rtol=1e-3, atol=1e-3)
        small = clip[..., :33, :35]  # most processors are slow in bfloat16
        (expected,) = backbone(small)
        with torch.autocast("cpu", torch.bfloat16):
            (half,) = backbone(small)
    assert half.shape == expected.shape
    assert (half.float() - expected).norm() < 0.05 * expected.norm()
    assert expected.isfinite().all() and expected.std() > 0


def test_frozen_features_do_not_change_in_training(backbone):
    torch.manual_seed(0)
    clip = torch.randn(1, 3, 8, 32, 32)
    frozen = TorchvisionVideo(backbone.name)
    frozen.load_state_dict(backbone.state_dict())
    whole = nn.Sequential(frozen.freeze()).train()
    before = {name: tensor.clone() for name, tensor in frozen.state_dict().items()}
    with torch.no_grad():
        expected = backbone(clip)[0]
    for _ in range(3):  # blocks are left out at random otherwise
        assert torch.equal(whole(clip)[0], expected)
    assert all(torch.equal(before[name], tensor) for name, tensor in frozen.state_dict().items())
    assert not any(parameter.requires_grad for parameter in whole.parameters())


def test_detector_trains_all_of_it(backbone):
    torch.manual_seed(0)
    head = RoIActionHead(backbone.out_channels, 3, backbone.spatial_stride)
    model = ActionDetector(backbone, head, bce_with_logits, [0.45] * 3, [0.225] * 3).train()
    batch = {
        "video": torch.randint(0, 256, (2, 3, 8, 64, 80), dtype=torch.uint8),
        "boxes": [torch.tensor([[5.0, 5, 60, 60], [30, 0, 79, 63]]), torch.zeros(0, 4)],
        "labels": [torch.tensor([[1.0, 0, 1], [0, 1, 0]]), torch.zeros(0, 3)],
    }
    state = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    model(batch)["loss_action"].backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert sum(parameter.grad.abs().sum().item() for parameter in backbone.parameters()) > 0
    model.zero_grad()
    backbone.load_state_dict(state)
    backbone.eval()


def test_cells_of_a_map_see_their_own_place(backbone):
    """The pixels that a cell depends on most lie around it."""
    if backbone.name == "mvit_v1_b":
        pytest.skip(
            "with random weights it attends to all of the clip alike; its tokens are tested by themselves"
        )
    stride = backbone.spatial_stride
    clip = torch.randn(1, 3, 8, 2 * stride, 10 * stride, requires_grad=True)
    (maps,) = backbone(clip)
    assert maps.shape[3:] == (2, 10)
    for cell in (3, 6):
        (gradient,) = torch.autograd.grad(maps[0, :, :, 0, cell].square().sum(), clip, retain_graph=True)
        columns = gradient.abs().sum(dim=(0, 1, 2, 3)) ** 2
        centre = (columns * (torch.arange(len(columns)) + 0.5)).sum() / columns.sum()
        assert abs(centre.item() / stride - (cell + 0.5)) < 1


def _config(**keys):
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.NUM_CLASSES = "TorchvisionVideo", 5
    for key, value in keys.items():
        cfg.MODEL.TORCHVISION[key] = value
    return cfg


def test_config_reaches_the_network():
    cfg = _config(NAME="mc3_18", FEATURES="pooled")
    cfg.MODEL.HEAD.NAME, cfg.INPUT.CROP_SIZE = "ClassificationHead", 48
    backbone = build_backbone(cfg)
    assert (backbone.name, backbone.features, backbone.spatial_stride) == ("mc3_18", "pooled", 0)
    head = build_head(cfg, backbone).eval()
    assert isinstance(head, ClassificationHead)
    with torch.no_grad():
        maps = backbone.eval()(torch.randn(2, 3, 4, 64, 80))
        assert maps[0].shape == (2, 512, 1, 1, 1)
        assert head(maps).shape == (2, 1, 5)


def test_settings_and_clips_that_do_not_work_are_named():
    with pytest.raises(UserError, match="'mvit_v2_b'.*did you mean 'mvit_v2_s'"):
        build_backbone(_config(NAME="mvit_v2_b"))
    with pytest.raises(UserError, match="FEATURES is 'token', but takes map or pooled"):
        build_backbone(_config(FEATURES="token"))
    grey = _config()
    grey.MODEL.PIXEL_MEAN = [0.5]
    with pytest.raises(UserError, match="3 channels, not 1"):
        build_backbone(grey)
    with pytest.raises(UserError, match="RoIActionHead needs a feature map.*FEATURES map"):
        build_head(cfg := _config(NAME="mc3_18", FEATURES="pooled"), build_backbone(cfg))
    with torch.device("meta"):
        s3d = TorchvisionVideo("s3d").eval()
        for size in ((7, 64, 64), (8, 16, 64)):
            with pytest.raises(
                UserError, match=f"at least 8 frames of 17x17 pixels, not {size[0]} of {size[1]}x64"
            ):
                s3d(torch.empty(1, 3, *size))
        assert s3d(torch.empty(1, 3, 8, 17, 17))[0].shape[2:] == (1, 1, 1)
        s3d.features = "pooled"
        for size in ((12, 209, 209), (13, 208, 209)):
            with pytest.raises(UserError, match="at least 13 frames of 209x209"):
                s3d(torch.empty(1, 3, *size))
        assert s3d(torch.empty(1, 3, 13, 209, 209))[0].shape == (1, 1024, 1, 1, 1)


@pytest.mark.parametrize(
    "config",
    [
        "R3D_18",
        "R2Plus1D_18",
        "MC3_18",
        "S3D",
        "MViTv1_B",
        "MViTv2_S",
        "Swin3D_T",
        "Swin3D_S",
        "Swin3D_B",
    ],
)
def test_shipped_configs_have_the_preprocessing_of_the_weights(root, config):
    cfg = get_cfg()
    cfg.merge_from_file(root / "configs" / "Zoo" / f"{config}.yaml")
    name, version = cfg.MODEL.WEIGHTS.removeprefix("torchvision://").split("/")
    assert name == cfg.MODEL.TORCHVISION.NAME
    weights = get_model_weights(name)[version]
    preset = weights.transforms()
    facts = dict(re.findall(r"`(frame_rate|clip_len)=([\d.]+)`", weights.meta["_docs"]))
    node, mean, std = cfg.INPUT, cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD
    assert (mean, std) == (pytest.approx(preset.mean), pytest.approx(preset.std))
    # Square test crops have the scale of torchvision's frames, or, with attention, the size of its crops.
    test_size = preset.crop_size[0] if name.startswith(("mvit", "swin3d")) else preset.resize_size[0]
    assert [*preset.crop_size, test_size] == [node.CROP_SIZE, node.CROP_SIZE, node.MIN_SIZE_TEST]
    timing = (node.NUM_FRAMES, node.TARGET_FPS / node.SAMPLING_RATE)
    assert timing == (int(facts["clip_len"]), float(facts["frame_rate"]))
    assert len(weights.meta["categories"]) == cfg.MODEL.NUM_CLASSES
    with torch.device("meta"):
        model = build_model(cfg)
    assert sum(parameter.numel() for parameter in model.parameters()) == weights.meta["num_params"]


def test_the_input_is_normalized_as_torchvision_does(root):
    """Against torchvision's transform of frames that need no scaling."""
    cfg = get_cfg()
    cfg.merge_from_file(root / "configs" / "Zoo" / "R2Plus1D_18.yaml")
    frames = torch.randint(0, 256, (1, 2, 3, 128, 171), dtype=torch.uint8)
    expected = get_model_weights("r2plus1d_18")["KINETICS400_V1"].transforms()(frames)
    ours = ClipNormalizer(cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD)(frames.transpose(1, 2))
    torch.testing.assert_close(ours[..., 8:120, 30:142], expected, rtol=1e-4, atol=1e-4)
