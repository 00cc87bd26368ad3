"""load_weights: formats and wrappers found by content, reports, refusals."""

from __future__ import annotations

import logging
import pickle

import pytest
import torch
from torch import nn

from modist_det.checkpoint import load_weights
from modist_det.checkpoint.load import Mismatch
from modist_det.checkpoint.pyslowfast import to_pyslowfast
from modist_det.modeling import (
    ActionDetector,
    ClassificationHead,
    ResNet3D,
    RoIActionHead,
    SlowFast,
    VideoClassifier,
)
from modist_det.modeling.losses import bce_with_logits, cross_entropy
from modist_det.utils.errors import UserError

NORMALIZATION = ([0.45] * 3, [0.225] * 3)


def _backbone(kind: str = "slow", depth: int = 18, width: int = 8):
    backbone = (
        SlowFast(depth, width) if kind == "slowfast" else ResNet3D.preset(kind, depth=depth, width=width)
    )
    with torch.no_grad():
        for tensor in backbone.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape) * 9 if tensor.is_floating_point() else torch.tensor(7))
    return backbone


def _detector(kind: str = "slow", classes: int = 3, **arguments) -> ActionDetector:
    backbone = _backbone(kind, **arguments)
    head = RoIActionHead(backbone.out_channels, classes, backbone.spatial_stride)
    return ActionDetector(backbone, head, bce_with_logits, *NORMALIZATION)


def _classifier(kind: str = "slow", classes: int = 3) -> VideoClassifier:
    backbone = _backbone(kind)
    return VideoClassifier(
        backbone, ClassificationHead(backbone.out_channels, classes), cross_entropy, *NORMALIZATION
    )


def _pyslowfast(model: nn.Module) -> dict[str, torch.Tensor]:
    return {to_pyslowfast(name): tensor for name, tensor in model.state_dict().items()}


def _same(a: nn.Module, b: nn.Module) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def save(tmp_path):
    def write(content, name: str = "file.pyth"):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize("kind", ["slow", "i3d", "slowfast"])
@pytest.mark.parametrize("make", [_detector, _classifier])
@pytest.mark.parametrize("layout", ["pyslowfast", "contrastive", "modist", "ours", "state_dict", "plain"])
def test_every_layout_loads_whole_and_is_recognized(save, kind, make, layout):
    torch.manual_seed(0)
    source, target = make(kind), make(kind)
    theirs, ours = _pyslowfast(source), source.state_dict()
    content, format = {
        "pyslowfast": (
            {"epoch": 3, "model_state": theirs, "optimizer_state": {}, "cfg": "A: 1"},
            "pyslowfast",
        ),
        "contrastive": (
            {
                "model_state": {f"backbone.{n}": t for n, t in theirs.items()}
                | {f"backbone_hist.{n}": t + 1 for n, t in theirs.items()}
            },
            "pyslowfast",
        ),
        "modist": (
            {
                "model_state": {f"encoder_q.{n}": t for n, t in theirs.items()}
                | {f"encoder_k.{n}": t + 1 for n, t in theirs.items()}
            },
            "modist",
        ),
        "ours": ({"model": ours, "iteration": 5, "optimizer": {"state": {}}}, "modist_det"),
        "state_dict": ({"state_dict": ours}, "modist_det"),
        "plain": (ours, "modist_det"),
    }[layout]
    report = load_weights(target, save(content))
    assert _same(source, target)
    assert report.format == format
    assert sorted(report.loaded) == sorted(ours)
    assert (report.missing, report.unexpected, report.mismatched) == ([], [], [])
    assert len(report.dropped) == (len(ours) if layout in ("contrastive", "modist") else 0)
    report.require_complete()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_taken_off(save, prefix):
    source, target = _detector(), _detector()
    load_weights(target, save({prefix + name: tensor for name, tensor in source.state_dict().items()}))
    assert _same(source, target)


def test_wrapped_models_are_filled(save):
    source, target = _detector(), _detector()
    path = save(source.state_dict())
    report = load_weights(torch.compile(nn.DataParallel(target)), path)
    assert _same(source, target)
    assert "backbone.stem.conv.weight" in report.loaded


@pytest.mark.parametrize("kind", ["slow", "slowfast"])
def test_bare_backbones(save, kind):
    source, target = _detector(kind), _backbone(kind)
    for content in (source.state_dict(), _pyslowfast(source), source.backbone.state_dict()):
        with torch.no_grad():
            for parameter in target.parameters():
                parameter.zero_()
        report = load_weights(target, save(content))
        assert _same(source.backbone, target)
        assert sorted(report.loaded) == sorted(target.state_dict())
        assert [name for name, _ in report.dropped] == [name for name in content if name.startswith("head.")]


def test_backbone_file_into_a_detector_leaves_the_head(save, caplog):
    source, target = _backbone(), _detector()
    head = target.head.projection.weight.clone()
    with caplog.at_level(logging.WARNING):
        report = load_weights(target, save(source.state_dict()))
    assert _same(source, target.backbone)
    assert torch.equal(head, target.head.projection.weight)
    assert report.missing == ["head.projection.weight", "head.projection.bias"]
    assert "head.projection.weight, head.projection.bias" in caplog.text
    with pytest.raises(UserError, match="lacks tensors of the model.*head.projection.weight.*NUM_CLASSES"):
        report.require_complete()


def test_head_for_other_classes_is_left_and_reported(save, caplog):
    source, target = _classifier(classes=7), _detector(classes=3)
    head = target.head.projection.weight.clone()
    with caplog.at_level(logging.WARNING):
        report = load_weights(target, save({"model_state": _pyslowfast(source)}))
    assert _same(source.backbone, target.backbone)
    assert torch.equal(head, target.head.projection.weight)
    assert report.mismatched == [
        ("head.projection.weight", (7, 64), (3, 64)),
        ("head.projection.bias", (7,), (3,)),
    ]
    assert "head.projection" in caplog.text
    assert "2 of another shape in the file: head.projection.weight [7, 64] -> [3, 64]" in str(report)
    with pytest.raises(UserError, match="head.projection.weight"):
        report.require_complete()
    with pytest.raises(UserError, match="checkpoint has 7 classes and the model 3: .*label map"):
        report.require_complete()
    report.mismatched = [Mismatch("head.projection.weight", (7, 32), (3, 64))]  # of another width, too
    with pytest.raises(UserError, match="check MODEL.META_ARCHITECTURE and MODEL.NUM_CLASSES"):
        report.require_complete()


def test_other_kind_of_head_is_unexpected(save):
    """PySlowFast's contrastive models have a projection of two layers."""
    names = {f"encoder_q.{name}": tensor for name, tensor in _pyslowfast(_detector()).items()}
    names["encoder_q.head.projection.projection.0.weight"] = names.pop("encoder_q.head.projection.weight")
    report = load_weights(_detector(), save(names))
    assert report.missing == ["head.projection.weight"]
    assert report.unexpected == ["encoder_q.head.projection.projection.0.weight"]
    assert "1 unexpected, not in the model: encoder_q.head.projection.projection.0.weight" in str(report)


def test_modist_file_with_motion_pathway_and_queue(save):
    source, target = _detector(), _detector()
    content = {f"encoder_q.{name}": tensor for name, tensor in _pyslowfast(source).items()}
    content["encoder_q.s1.pathway1_stem.conv.weight"] = torch.zeros(1, 3, 5, 7, 7)
    content["encoder_q.s2.pathway1_res0.branch2.a.weight"] = torch.zeros(1)
    content["queue"] = torch.zeros(4, 4)
    report = load_weights(target, save({"epoch": 1, "model_state": content}))
    assert _same(source, target)
    assert sorted(report.dropped) == [
        ("encoder_q.s1.pathway1_stem.conv.weight", "motion pathway"),
        ("encoder_q.s2.pathway1_res0.branch2.a.weight", "motion pathway"),
        ("queue", "pretraining only"),
    ]
    assert report.unexpected == []
    assert "2 left out (motion pathway): encoder_q.s1.pathway1_stem.conv.weight" in str(report)


def test_split_batch_norm(save):
    """Statistics of the splits are left out, the aggregated ones taken."""
    source, target = _detector(), _detector()
    content = {}
    for name, tensor in _pyslowfast(source).items():
        if "running_" in name or "num_batches" in name:
            layer, statistic = name.rsplit(".", 1)
            content[f"{layer}.bn.{statistic}"] = tensor
            content[f"{layer}.split_bn.{statistic}"] = torch.zeros(2 * tensor.numel())
        else:
            content[name] = tensor
    report = load_weights(target, save({"model_state": content}))
    assert _same(source, target)
    assert {reason for _, reason in report.dropped} == {"statistics of one split of the batch"}


def test_counters_of_bn_may_be_absent(save):
    source, target = _detector(), _detector()
    content = {n: t for n, t in source.state_dict().items() if not n.endswith("num_batches_tracked")}
    report = load_weights(target, save(content))
    assert report.missing == []
    assert len(report.loaded) == len(content)


@pytest.mark.parametrize(
    ("file", "model", "fragments"),
    [
        # More blocks in the file than in the model, and the reverse.
        (
            {"depth": 101, "width": 4},
            {"depth": 50, "width": 4},
            [
                "are not in the model",
                "backbone.res4.6.",
                "The file: ResNet3D, depth 101,",
                "The model: ResNet3D, depth 50,",
            ],
        ),
        (
            {"depth": 50, "width": 4},
            {"depth": 101, "width": 4},
            ["are missing", "backbone.res4.6.", "depth 101"],
        ),
        ({"width": 4}, {"width": 8}, ["another shape", "width 4, 3 input channels", "width 8"]),
        (
            {"kind": "dense_slow"},
            {"kind": "slow"},
            ["backbone.stem.conv.weight)", "stem kernel 5x7x7", "stem kernel 1x7x7"],
        ),
        (
            {"kind": "i3d", "depth": 50},
            {"kind": "slow", "depth": 50},
            ["temporal kernels 3/3+1+3+1/3+1+3+1+3+1/1+3+1", "temporal kernels 1/1/3/3"],
        ),
        (
            {"kind": "slowfast"},
            {"kind": "slow"},
            ["The file: SlowFast, slow: depth 18, width 8", "fast: depth 18, width 1"],
        ),
        ({"kind": "slow"}, {"kind": "slowfast"}, ["The model: SlowFast", "fusion kernel 7, ratio 2"]),
    ],
)
def test_another_backbone_is_refused_and_described(save, file, model, fragments):
    target = _detector(**model)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    path = save({"model_state": _pyslowfast(_detector(**file))})
    with pytest.raises(UserError) as error:
        load_weights(target, path)
    for fragment in [str(path), *fragments]:
        assert fragment in str(error.value)
    assert "\n" not in str(error.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in target.state_dict().items())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("s3.pathway0_nonlocal1.conv_theta.weight", "1 non-local blocks"),
        ("s3.pathway0_res0.branch2.se.fc1.weight", "backbone.res3.0.se.fc1.weight"),
        ("s3.pathway0_res0.branch2.cbam.fc1.weight", "s3.pathway0_res0.branch2.cbam.fc1.weight"),
    ],
)
def test_layers_that_the_model_lacks_are_refused(save, name, said):
    content = _pyslowfast(_detector()) | {name: torch.zeros(1)}
    with pytest.raises(UserError, match=said):
        load_weights(_detector(), save(content))


def test_2d_network_is_refused(save):
    content = {name: t.flatten(2, 3) if t.dim() == 5 else t for name, t in _backbone().state_dict().items()}
    with pytest.raises(UserError, match=r"another shape \(backbone.res4.0.conv_a.weight"):
        load_weights(_detector(), save(content))


def test_other_norm_is_refused(save):
    target = ResNet3D(depth=18, width=8, norm="none")
    with pytest.raises(UserError, match="missing from the file.*stem.conv.bias"):
        load_weights(target, save(_backbone().state_dict()))


def test_nothing_in_common_names_examples_of_both_sides(save):
    path = save({"blocks.0.attn.qkv.weight": torch.zeros(3), "cls_token": torch.zeros(1)})
    with pytest.raises(
        UserError, match=r"blocks.0.attn.qkv.weight, cls_token; the model has backbone.stem.conv.weight"
    ):
        load_weights(_detector(), path)
    with pytest.raises(UserError, match="format modist.*the file contains s1.pathway0_stem"):
        load_weights(_detector(), save(_pyslowfast(_detector())), format="modist")


def test_format_can_be_given(save):
    source, target = _detector(), _detector()
    assert load_weights(target, save(_pyslowfast(source)), format="pyslowfast").format == "pyslowfast"
    assert _same(source, target)
    with pytest.raises(UserError, match="'pyslowfst'; did you mean 'pyslowfast'"):
        load_weights(target, save(_pyslowfast(source)), format="pyslowfst")


@pytest.mark.parametrize("best", [{}, {"best": {"metric": "val/mAP", "value": 0.5}}])
def test_how_far_a_run_was_is_not_said_of_its_best_checkpoint(save, best):
    model = _backbone()
    run = {"samples": 9, "clips a step": 2}
    report = load_weights(model, save({"model": model.state_dict(), "run": run, "iteration": 7, **best}))
    assert report.training == ({} if best else {**run, "iteration": 7})


def test_summary(save):
    path = save({"model_state": _pyslowfast(_detector())})
    assert str(load_weights(_detector(), path)) == f"loaded 122 tensors from {path} (format pyslowfast)"


class _Payload:
    """What a hostile pickle looks like: reading it calls a function."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (exec, (f"open({self.path!r}, 'w').close()",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_code_in_a_file_is_never_run(save, tmp_path):
    mark = tmp_path / "code-was-run"
    path = save({"model_state": {}, "cfg": _Payload(str(mark))})
    with pytest.raises(UserError, match="is rejected: reading it would run code"):
        load_weights(_detector(), path)
    bare = tmp_path / "model.pkl"
    bare.write_bytes(pickle.dumps(_Payload(str(mark))))
    with pytest.raises(UserError, match=str(bare)):
        load_weights(_detector(), bare)
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_unreadable_files_are_named(save, tmp_path):
    model = _detector()
    whole = save(model.state_dict()).read_bytes()
    cases = {
        "text.pyth": (b"not a checkpoint\n", "a text file"),
        "page.pyth": (b"\xef\xbb\xbf <!DOCTYPE html><title>404</title>", "a web page"),
        "lfs.pyth": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        "empty.pyth": (b"", "empty"),
        "zero.pyth": (b"\0" * 1000, "all zero bytes"),
        "cut.pyth": (whole[: len(whole) // 2], r"damaged or not a checkpoint \(.*central directory\)"),
        "pickle.pyth": (b"\x80\x02}q\x00(X", "damaged or not a checkpoint"),
    }
    for name, (content, what) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name} is {what}") as caught:
            load_weights(model, tmp_path / name)
        # Torch advises to unpickle the file all the same.
        assert "weights_only" not in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"none\.pyth does not exist"):
        load_weights(model, tmp_path / "none.pyth")
    with pytest.raises(UserError, match="is a folder"):
        load_weights(model, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3, "cfg": "x"}, "contains no model.*its keys: epoch, cfg"),
        ({"model_state": {}}, "contains no model"),
        ([torch.zeros(1)], "contains a list"),
        (torch.zeros(1), "contains a Tensor"),
    ],
)
def test_files_without_a_model_say_what_they_hold(save, content, message):
    with pytest.raises(UserError, match=message):
        load_weights(_detector(), save(content))


@pytest.mark.parametrize(
    "names", [("conv1", "bn1", "layer1"), ("encoder", "norm", "head"), ("s1", "s2", "s3")]
)
def test_a_model_of_any_names_loads_its_own_checkpoint(tmp_path, names):
    """Names as torchvision's or PySlowFast's, or a head without a backbone, in a model from outside the package."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            for name, layer in zip(
                names, (nn.Conv1d(4, 8, 3), nn.BatchNorm1d(8), nn.Linear(8, 3)), strict=True
            ):
                self.add_module(name, layer)

    saved, model = Own(), Own()
    torch.save({"model": saved.state_dict()}, tmp_path / "own.pth")
    report = load_weights(model, tmp_path / "own.pth")
    report.require_complete()
    assert report.format == "modist_det" and sorted(report.loaded) == sorted(saved.state_dict())
    assert all(torch.equal(tensor, saved.state_dict()[name]) for name, tensor in model.state_dict().items())
