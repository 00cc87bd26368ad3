"""load_weights on files of other code bases: everything finds its place and the output is theirs."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from modist_det.checkpoint import load_weights
from modist_det.checkpoint.formats import convert, detect_format
from modist_det.checkpoint.safetensors_file import write_safetensors
from modist_det.modeling import (
    X3D,
    ActionDetector,
    ClassificationHead,
    ResNet3D,
    RoIActionHead,
    SlowFast,
    VideoClassifier,
    X3DHead,
)
from modist_det.modeling.losses import bce_with_logits, cross_entropy
from modist_det.utils.errors import UserError
from tests.checkpoint.foreign import (
    caffe2_blobs,
    python2_pickle,
    pytorchvideo_resnet,
    pytorchvideo_slowfast,
    pytorchvideo_x3d,
    randomize,
)

NORMALIZATION = ([0.45] * 3, [0.225] * 3)
ROIS = torch.tensor([[0, 3.0, 5.0, 40.0, 60.0], [0, 0.0, 0.0, 63.0, 63.0], [1, 20.0, 10.0, 30.0, 50.0]])


def _classifier(backbone, classes: int) -> VideoClassifier:
    head = ClassificationHead(backbone.out_channels, classes)
    return VideoClassifier(backbone, head, cross_entropy, *NORMALIZATION)


def _detector(backbone, classes: int, aligned: bool = True) -> ActionDetector:
    head = RoIActionHead(backbone.out_channels, classes, backbone.spatial_stride, aligned=aligned)
    return ActionDetector(backbone, head, bce_with_logits, *NORMALIZATION)


def _load(model: nn.Module, path, format: str) -> nn.Module:
    report = load_weights(model, path)
    assert report.format == format
    assert (report.missing, report.unexpected, report.mismatched) == ([], [], [])
    names = {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
    assert names <= set(report.loaded)
    report.require_complete()
    return model.eval()


def _clip(frames: int) -> torch.Tensor:
    return torch.randn(2, 3, frames, 64, 64, generator=torch.Generator().manual_seed(3))


def _slow_and_fast(clip: torch.Tensor, alpha: int = 4) -> list[torch.Tensor]:
    frames = clip.shape[2]
    return [clip[:, :, torch.linspace(0, frames - 1, frames // alpha).long()], clip]


@torch.no_grad()
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("kind", ["slow", "i3d", "c2d", "slowfast"])
def test_pytorchvideo_classifiers(tmp_path, kind, wrapped):
    if kind == "slowfast":
        theirs, backbone = randomize(pytorchvideo_slowfast(16, 5)), SlowFast(width=16)
    else:
        theirs, backbone = randomize(pytorchvideo_resnet(kind, 8, 5)), ResNet3D.preset(kind, width=8)
    # PySlowFast wraps PyTorchVideo's networks once more.
    names = {("model." if wrapped else "") + name: tensor for name, tensor in theirs.state_dict().items()}
    torch.save({"model_state": names}, tmp_path / "hub.pyth")
    ours = _load(_classifier(backbone, 5), tmp_path / "hub.pyth", "pytorchvideo")

    def logits(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        clip = _clip(8).to(dtype)
        expected = theirs.to(dtype)(_slow_and_fast(clip) if kind == "slowfast" else clip)
        return ours.to(dtype).head(ours.backbone(clip))[:, 0], expected

    # A random network's logits go into the thousands: in float32, one near 0 has the rounding of those.
    found, expected = logits(torch.float32)
    exact, theirs_exact = logits(torch.float64)
    assert theirs_exact.std() > 0.01
    torch.testing.assert_close(exact, theirs_exact, rtol=0, atol=1e-9 * theirs_exact.abs().max().item())
    rounding = (expected - theirs_exact).abs().max()
    assert (found - exact).abs().max() < 4 * rounding


@torch.no_grad()
@pytest.mark.parametrize("size", ["XS", "L"])
def test_pytorchvideo_x3d(tmp_path, size):
    """A clip larger than those of the training has several positions of the head's window."""
    depths, factor = ((3, 5, 11, 7), 2.2) if size == "XS" else ((5, 10, 25, 15), 5.0)
    theirs = randomize(pytorchvideo_x3d(depths, (4, 2, 2), 5))
    torch.save({"model_state": theirs.state_dict()}, tmp_path / "hub.pyth")
    backbone = X3D(depth_factor=factor, res2_shortcut_norm=False)
    head = X3DHead(backbone.out_channels, backbone.inner_channels, 2048, 5, window=2)
    ours = VideoClassifier(backbone, head, cross_entropy, *NORMALIZATION)
    _load(ours, tmp_path / "hub.pyth", "pytorchvideo")
    clip = torch.randn(2, 3, 4, 64, 96, generator=torch.Generator().manual_seed(3))
    expected = theirs(clip)
    assert expected.std() > 0.01
    torch.testing.assert_close(
        ours.head.scores(ours.head(ours.backbone(clip))), expected, rtol=1e-4, atol=1e-5
    )


def test_pytorchvideo_x3d_for_pyslowfasts_config_names_the_other_one(tmp_path):
    torch.save(pytorchvideo_x3d((3, 5, 11, 7), (4, 2, 2), 5).state_dict(), tmp_path / "hub.pyth")
    with pytest.raises(
        UserError, match="no norm after res2's shortcut.*configs/Zoo/PyTorchVideo/X3D_XS.yaml"
    ):
        load_weights(X3D(), tmp_path / "hub.pyth")
    torch.save(X3D().state_dict(), tmp_path / "ours.pyth")
    with pytest.raises(UserError, match=" configs/Zoo/X3D_XS.yaml.*RES2_SHORTCUT_NORM True"):
        load_weights(X3D(res2_shortcut_norm=False), tmp_path / "ours.pyth")


@torch.no_grad()
@pytest.mark.parametrize("kind", ["slow", "slowfast"])
def test_pytorchvideo_detectors(tmp_path, kind):
    clip = _clip(8)
    if kind == "slowfast":
        theirs = randomize(pytorchvideo_slowfast(16, 5, detection=True))
        expected = theirs(_slow_and_fast(clip), ROIS)
        backbone = SlowFast(width=16, dilate_res5=True)
    else:
        theirs = randomize(pytorchvideo_resnet("slow", 8, 5, detection=True))
        expected = theirs(clip, ROIS)
        backbone = ResNet3D.preset("slow", width=8, dilate_res5=True)
    torch.save({"model_state": theirs.state_dict()}, tmp_path / "hub.pyth")
    ours = _load(_detector(backbone, 5, aligned=False), tmp_path / "hub.pyth", "pytorchvideo")
    boxes = [ROIS[ROIS[:, 0] == i, 1:] for i in range(2)]
    scores = torch.cat([prediction["scores"] for prediction in ours({"video": clip, "boxes": boxes})])
    assert expected.std() > 0.01
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-4)


# Networks of /reference whose outputs PySlowFast computed.
REFERENCES = {
    "pyslowfast_slow_8x8_r50_w8": lambda: ResNet3D.preset("slow", width=8),
    "pyslowfast_slowfast_8x8_r50_w16": lambda: SlowFast(width=16),
    "pyslowfast_ava_slowfast_32x2_r50_w16": lambda: SlowFast(width=16, dilate_res5=True),
}


@torch.no_grad()
@pytest.mark.parametrize("case", sorted(REFERENCES))
@pytest.mark.parametrize("writer", ["python2", "python3", "safetensors"])
def test_output_of_pyslowfast_from_other_containers(real_data, tmp_path, case, writer):
    state = torch.load(real_data / "reference" / f"{case}.pyth", weights_only=True)["model_state"]
    path = tmp_path / "model.pkl"
    if writer == "python2":
        path.write_bytes(python2_pickle(caffe2_blobs(state)))
    elif writer == "python3":
        path.write_bytes(pickle.dumps({"blobs": caffe2_blobs(state)}, protocol=4))
    else:
        write_safetensors(path, state)
    io = torch.load(real_data / "reference" / f"{case}_io.pt", weights_only=True)
    backbone, classes = REFERENCES[case](), io["output"].shape[1]
    batch = {"video": io["clip"]}
    if "_ava_" in case:
        model: nn.Module = _detector(backbone, classes)
        batch["boxes"] = [io["boxes"][io["boxes"][:, 0] == i, 1:] for i in range(len(io["clip"]))]
    else:
        head = ClassificationHead(backbone.out_channels, classes, window=2)
        model = VideoClassifier(backbone, head, cross_entropy, *NORMALIZATION)
    _load(model, path, "pyslowfast" if writer == "safetensors" else "caffe2")
    scores = torch.cat([prediction["scores"].view(-1, classes) for prediction in model(batch)])
    torch.testing.assert_close(scores, io["output"], rtol=0, atol=1e-4)


def test_blobs_of_the_solver_are_left_out(tmp_path):
    state = _pyslowfast_like(ResNet3D(width=4))
    (tmp_path / "model.pkl").write_bytes(python2_pickle(caffe2_blobs(state)))
    report = load_weights(ResNet3D(width=4), tmp_path / "model.pkl")
    reasons = {reason for _, reason in report.dropped}
    assert reasons == {"training only", "the model is only a backbone"}
    assert ("lr", "training only") in report.dropped
    assert ("conv1_w_momentum", "training only") in report.dropped
    assert ("pred_w", "the model is only a backbone") in report.dropped


def _pyslowfast_like(backbone: nn.Module) -> dict[str, torch.Tensor]:
    from modist_det.checkpoint.pyslowfast import to_pyslowfast

    state = {to_pyslowfast(f"backbone.{name}"): tensor for name, tensor in backbone.state_dict().items()}
    return state | {
        "head.projection.weight": torch.zeros(2, 128, 1, 1, 1),
        "head.projection.bias": torch.zeros(2),
    }


def test_caffe2_head_that_is_a_convolution(tmp_path):
    backbone = ResNet3D(width=4)
    state = _pyslowfast_like(backbone)
    state["head.projection.weight"] = torch.arange(256.0).view(2, 128, 1, 1, 1)
    (tmp_path / "model.pkl").write_bytes(python2_pickle(caffe2_blobs(state)))
    model = _load(_classifier(ResNet3D(width=4), 2), tmp_path / "model.pkl", "caffe2")
    assert torch.equal(model.head.projection.weight, torch.arange(256.0).view(2, 128))


@torch.no_grad()
@pytest.mark.parametrize("depth", [18, 50])
def test_image_resnet_of_torchvision_on_every_frame(tmp_path, depth):
    theirs = randomize(torchvision.models.get_model(f"resnet{depth}", weights=None))
    torch.save(theirs.state_dict(), tmp_path / "resnet.pth")
    backbone = ResNet3D(depth=depth, temporal_kernels=(1, 1, 1, 1))
    ours = _load(_classifier(backbone, 1000), tmp_path / "resnet.pth", "torchvision")
    # Random weights let activations grow: rounding would be larger than the tolerance in float32.
    clip = torch.randn(1, 3, 2, 64, 64, generator=torch.Generator().manual_seed(0)).double()
    ours, theirs = ours.double(), theirs.double()
    logits = ours.head(ours.backbone(clip))[0, 0]
    expected = theirs(clip[0].transpose(0, 1)).mean(dim=0)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("source", ["torchvision", "caffe2"])
def test_2d_kernels_are_spread_over_time(tmp_path, source):
    """A clip of one image, away from its ends, gives what the image gives."""
    theirs = randomize(torchvision.models.resnet50(weights=None))
    if source == "torchvision":
        torch.save(theirs.state_dict(), tmp_path / "resnet.pth")
    else:
        # Image networks of Caffe2's time: BN folded into scale and shift.
        for module in theirs.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.zero_()
                module.running_var.fill_(1 - 1e-5)
        (tmp_path / "resnet.pth").write_bytes(python2_pickle(_image_blobs(theirs.state_dict())))
    backbone = ResNet3D(depth=50, temporal_kernels=(1, 1, 1, (3, 1)))
    report = load_weights(backbone, tmp_path / "resnet.pth")
    assert report.format == source and not report.missing
    assert "backbone" not in report.inflated[0] and "stem.conv.weight" in report.inflated
    assert len(report.inflated) == 53
    assert "53 of these inflated from 2D kernels" in str(report)
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).double()
    backbone, theirs = backbone.double(), theirs.double()
    clip = image.unsqueeze(2).repeat(1, 1, 9, 1, 1)
    maps = nn.Sequential(*list(theirs.children())[:-2])(image)
    # Two layers look one frame ahead and back: frames 2 to 6 see nothing of the ends.
    middle = backbone.eval()(clip)[0][:, :, 2:7]
    # A third of a weight is rounded to float32.
    tolerance = 1e-4 * maps.abs().max().item()
    torch.testing.assert_close(middle, maps.unsqueeze(2).expand_as(middle), rtol=0, atol=tolerance)
    ends = backbone(clip)[0][:, :, 0]
    assert (ends - maps).abs().max() > 100 * tolerance


def _image_blobs(state: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    blobs = {"conv1_w": state["conv1.weight"].numpy(), "pred_w": state["fc.weight"].numpy()}
    blobs |= {"pred_b": state["fc.bias"].numpy()}
    layers = {"bn1": "res_conv1"}
    for stage, depth in enumerate((3, 4, 6, 3), start=1):
        for block in range(depth):
            for number, letter in enumerate("abc", start=1):
                name, blob = f"layer{stage}.{block}", f"res{stage + 1}_{block}_branch2{letter}"
                blobs[f"{blob}_w"] = state[f"{name}.conv{number}.weight"].numpy()
                layers[f"{name}.bn{number}"] = blob
        blobs[f"res{stage + 1}_0_branch1_w"] = state[f"layer{stage}.0.downsample.0.weight"].numpy()
        layers[f"layer{stage}.0.downsample.1"] = f"res{stage + 1}_0_branch1"
    for layer, blob in layers.items():
        blobs[f"{blob}_bn_s"] = state[f"{layer}.weight"].numpy()
        blobs[f"{blob}_bn_b"] = state[f"{layer}.bias"].numpy()
    return blobs


def test_pickle_of_detectron2_is_read(tmp_path):
    """A dict of arrays under ``model``, beside other values."""
    state = {name: tensor.numpy() for name, tensor in ResNet3D(width=4).state_dict().items()}
    content = {"model": state, "__author__": "somebody", "matching_heuristics": True}
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(content))
    model = ResNet3D(width=4)
    load_weights(model, tmp_path / "model.pkl").require_complete()
    assert all(np.array_equal(state[name], tensor.numpy()) for name, tensor in model.state_dict().items())


def test_formats_are_told_apart():
    assert detect_format(["conv1.weight", "bn1.weight", "layer1.0.conv1.weight"]) == "torchvision"
    assert detect_format(["conv1_w", "res_conv1_bn_s"]) == "caffe2"
    assert detect_format(["model.model.blocks.0.conv.weight"]) == "pytorchvideo"
    assert detect_format(["blocks.0.attn.qkv.weight", "cls_token"]) == "modist_det"


@pytest.mark.parametrize(
    ("file", "model"),
    [
        (lambda: ResNet3D(101, 4), lambda: ResNet3D(50, 4)),
        (lambda: ResNet3D.preset("i3d", width=4), lambda: ResNet3D.preset("slow", width=4)),
        (lambda: ResNet3D(18, 4), lambda: SlowFast(18, 8)),
        (lambda: SlowFast(50, 16, alpha=8, fusion_kernel=5), lambda: SlowFast(50, 16)),
        (
            lambda: SlowFast(101, 16, slow_temporal_kernels=(1, 1, [3] * 6 + [1] * 17, 3), beta_inv=4),
            lambda: ResNet3D(50, 4),
        ),
        (lambda: ResNet3D(50, 4, nonlocal_blocks=[[], [1], [0, 5], []]), lambda: ResNet3D(50, 4)),
        (lambda: X3D(0.5, 1.3, 3.0, res2_shortcut_norm=False), lambda: X3D()),
    ],
)
def test_the_keys_that_a_refusal_names_fit(tmp_path, file, model):
    from modist_det.config import get_cfg
    from modist_det.modeling import build_backbone

    torch.save(file().state_dict(), tmp_path / "file.pth")
    with pytest.raises(UserError, match="To fit the file, set MODEL") as caught:
        load_weights(model(), tmp_path / "file.pth")
    words = str(caught.value).split("To fit the file, set ")[1].split(" (strides")[0].split(" ")
    cfg = get_cfg()
    cfg.merge_from_list(words)
    load_weights(build_backbone(cfg), tmp_path / "file.pth").require_complete()


@pytest.mark.parametrize(
    ("backbone", "config"),
    [
        (lambda: ResNet3D.preset("i3d"), "configs/Zoo/Kinetics400/I3D_8x8_R50.yaml"),
        (lambda: ResNet3D.preset("dense_slow"), "configs/Zoo/Pretrained/DenseSlow_8x8_R50.yaml"),
        (
            lambda: SlowFast(fusion_kernel=5, alpha=8),
            "configs/Zoo/Kinetics400/SlowFast_4x16_R50.yaml has it, or set",
        ),
    ],
)
def test_a_refusal_names_the_config_that_fits(tmp_path, backbone, config):
    torch.save(backbone().state_dict(), tmp_path / "file.pth")
    with pytest.raises(UserError, match=config):
        load_weights(ResNet3D(width=8), tmp_path / "file.pth")


def test_a_convolution_in_a_head_of_ours_stays_one():
    """Only other code bases write their linear layers as convolutions."""
    kernel = torch.zeros(3, 8, 1, 1, 1)
    tensors = {"backbone.stem.weight": torch.zeros(1), "head.projection.weight": kernel}
    assert convert(tensors, "modist_det").tensors["head.projection.weight"] is kernel
