"""Convolutions that are called together with norm, residual and ReLU."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from modist_det.modeling.backbone import X3D, ResNet3D, SlowFast
from modist_det.modeling.backbone.convolution import Conv3d

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN")


def _randomize(network: nn.Module) -> nn.Module:
    """Random statistics and affine parameters, in evaluation mode."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return network.eval()


@pytest.fixture
def layer() -> tuple[Conv3d, nn.BatchNorm3d, torch.Tensor]:
    norm = _randomize(nn.BatchNorm3d(6))
    return Conv3d(4, 6, (3, 1, 1), padding=(1, 0, 0), bias=False).eval(), norm, torch.randn(2, 4, 3, 5, 7)


def _packed(layer, **others) -> torch.Tensor:
    conv, norm, x = layer
    with torch.no_grad():
        return conv.then(x, norm, **others)


def _separate(layer) -> torch.Tensor:
    conv, norm, x = layer
    return norm(nn.functional.conv3d(x, conv.weight, conv.bias, conv.stride, conv.padding))


_NETWORKS = {
    "bottlenecks": lambda: ResNet3D.preset("slow", width=8),
    "basic blocks": lambda: ResNet3D(depth=18, width=8, dilate_res5=True, stem_kernel=(3, 5, 5)),
    "non-local, pooled": lambda: ResNet3D.preset("i3d_nonlocal", width=8),
    "two pathways": lambda: SlowFast(width=16),
    "group norm": lambda: ResNet3D(depth=18, width=8, norm="GN"),
    "biases": lambda: ResNet3D(depth=18, width=8, norm="none"),
    "channel-wise": lambda: X3D(width_factor=1.0, depth_factor=1.0),
}


@pytest.mark.parametrize("kind", _NETWORKS)
def test_networks_give_the_same_as_in_double_precision(kind):
    """Double precision runs the layers one by one."""
    network = _randomize(_NETWORKS[kind]())
    exact = copy.deepcopy(network).double()
    clip = torch.randn(2, 3, 8, 48, 32)
    with torch.no_grad():
        for ours, expected in zip(network(clip), exact(clip.double()), strict=True):
            assert (ours - expected).abs().max() < 1e-5 * expected.abs().max()


def test_residual_and_relu(layer):
    residual = torch.randn(2, 6, 3, 5, 7)
    relu = nn.ReLU(inplace=True)
    kept = residual.clone()
    torch.testing.assert_close(_packed(layer), _separate(layer))
    torch.testing.assert_close(_packed(layer, relu=relu), _separate(layer).relu())
    torch.testing.assert_close(_packed(layer, residual=residual), _separate(layer) + residual)
    torch.testing.assert_close(
        _packed(layer, relu=relu, residual=residual), (_separate(layer) + residual).relu()
    )
    assert torch.equal(residual, kept)


def _train(conv: Conv3d, norm: nn.Module, x: torch.Tensor) -> None:
    optimizer = torch.optim.SGD([*conv.parameters(), *norm.parameters()], 0.01)
    conv.train(), norm.train()
    conv.then(x, norm).square().sum().backward()
    optimizer.step()
    conv.eval(), norm.eval()


def _fused_step(conv: Conv3d, norm: nn.Module, x: torch.Tensor) -> None:
    """In evaluation mode. It does not raise the versions of weights."""
    conv.then(x, norm).square().sum().backward()
    torch.optim.AdamW(conv.parameters(), 0.1, fused=True).step()


@pytest.mark.parametrize(
    "change",
    [
        _train,
        _fused_step,
        lambda conv, *_: conv.load_state_dict({"weight": torch.ones(6, 4, 3, 1, 1)}),
        lambda conv, norm, x: norm.running_var.mul_(4),
        lambda conv, norm, x: nn.init.constant_(norm.bias, 3),
        lambda conv, *_: setattr(conv.weight, "data", torch.ones(6, 4, 3, 1, 1)),
        lambda conv, *_: (conv.weight.data.mul_(2), conv.eval()),
    ],
    ids=["trained", "fused", "loaded", "statistics", "affine", "replaced", "behind PyTorch's back"],
)
def test_changed_weights_count(layer, change):
    before = _packed(layer)
    change(*layer)
    after = _packed(layer)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, _separate(layer))


def test_state_copies_and_files_are_those_of_ordinary_layers(layer):
    conv = layer[0]
    ordinary = nn.Conv3d(4, 6, (3, 1, 1), padding=(1, 0, 0), bias=False)
    _packed(layer)
    assert list(conv.state_dict()) == list(ordinary.state_dict())
    file = io.BytesIO()
    torch.save(conv, file)
    file.seek(0)
    for twin in (copy.deepcopy(conv), torch.load(file, weights_only=False)):
        assert torch.equal(_packed((twin, *layer[1:])), _packed(layer))


@pytest.mark.parametrize("place", range(3), ids=["convolution", "norm", "relu"])
def test_hooks_of_all_layers_are_called(layer, place):
    relu = nn.ReLU(inplace=True)
    seen = []
    (*layer[:2], relu)[place].register_forward_hook(
        lambda module, inputs, output: seen.append(output.clone())
    )
    final = _packed(layer, relu=relu)
    conv, norm, x = layer
    between = nn.functional.conv3d(x, conv.weight, None, 1, (1, 0, 0))
    assert len(seen) == 1
    torch.testing.assert_close(seen[0], (between, _separate(layer), final)[place])


def test_gradients_hooks_double_precision_and_autocast_get_the_separate_layers(layer):
    conv, norm, x = layer
    assert conv.then(x, norm).requires_grad
    seen = []
    hook = norm.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    _packed(layer)
    hook.remove()
    _packed(layer)
    (between,) = seen
    torch.testing.assert_close(between, nn.functional.conv3d(x, conv.weight, None, 1, (1, 0, 0)))
    with torch.autocast("cpu", torch.bfloat16):
        assert _packed(layer).dtype == torch.bfloat16
    assert _packed((conv.double(), norm.double(), x.double())).dtype == torch.float64


def test_inference_mode(layer):
    """Tensors made in it have no versions."""
    conv, norm, x = layer
    with torch.inference_mode():
        twin, norm_twin = copy.deepcopy(conv), copy.deepcopy(norm)
        for _ in range(2):
            assert torch.equal(twin.then(x, norm_twin), _packed(layer))
        twin.weight.mul_(2), norm_twin.running_mean.add_(1)
        torch.testing.assert_close(twin.then(x, norm_twin), _separate((twin, norm_twin, x)))
