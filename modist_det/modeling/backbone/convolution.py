"""``Conv3d``: ``nn.Conv3d`` with oneDNN's fast kernels on CPUs.

oneDNN has its best kernels for channels-last maps and for weights in an order of its own. Where no gradient is needed,
:class:`Conv3d` therefore folds the batch norm that follows it into its weights, keeps these in oneDNN's order, and
lets the convolution add the residual and apply the ReLU while it writes its result. Parameters and state dict are those
of the ordinary layers: what is kept is made anew as soon as one of them changes, after each ``train()`` or ``eval()``,
and after each call with gradients. (Changes that PyTorch does not count, by ``parameter.data.mul_()`` or by a fused
optimizer, are not noticed otherwise.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

__all__ = ["Conv3d"]


class Conv3d(nn.Conv3d):
    """``nn.Conv3d`` that can be called together with the layers behind it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._packed = _Packed()

    def then(
        self, x: Tensor, norm: nn.Module, relu: nn.Module | None = None, residual: Tensor | None = None
    ) -> Tensor:
        """``relu(residual + norm(self(x)))``; without ``relu`` or ``residual`` the same without them.

        On a CPU, in evaluation mode and without gradients, this is one operation. It differs from the separate ones
        by rounding, and the result is in the memory format channels-last.

        Args:
            relu: an ``nn.ReLU``.
        """
        if self._can_pack(x, [self, norm] if relu is None else [self, norm, relu]):
            return self._packed(self, norm, x, relu is not None, residual)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            # The optimizer's step may follow, and fused optimizers do not raise the versions of tensors.
            self._packed = _Packed()
        x = norm(self(x))
        if residual is not None:
            x = residual + x
        return x if relu is None else relu(x)

    def train(self, mode: bool = True) -> Conv3d:
        self._packed = _Packed()
        return super().train(mode)

    def _can_pack(self, x: Tensor, layers: list[nn.Module]) -> bool:
        norm = layers[1]
        return bool(
            not torch.compiler.is_compiling()
            and not torch.jit.is_tracing()
            # No tensors divided among processes, no fake ones.
            and type(x) is Tensor
            and type(self.weight) is nn.Parameter
            and x.device.type == "cpu"
            and x.dtype == self.weight.dtype == torch.float32
            and self.groups == 1
            and torch.backends.mkldnn.is_available()
            and torch.backends.mkldnn.enabled
            and not torch.is_autocast_enabled("cpu")
            and not (self.training or norm.training or torch.is_grad_enabled())
            and (isinstance(norm, nn.Identity) or (isinstance(norm, _BatchNorm) and norm.track_running_stats))
            # Somebody wants to see the maps in between.
            and not any(m._forward_hooks or m._forward_pre_hooks for m in layers)
        )


class _Packed:
    """The weights of a convolution and of its norm in oneDNN's order; not a part of the module's state."""

    def __init__(self) -> None:
        # Addresses and versions of tensors; and the tensors, so that no other one can be at the same address.
        self.state: list[tuple[int, int]] | None = None
        self.made_of: list[Tensor] = []

    def __reduce__(self) -> tuple[type[_Packed], tuple[()]]:
        return _Packed, ()  # copies and files of the module start without

    def __call__(
        self, conv: nn.Conv3d, norm: nn.Module, x: Tensor, relu: bool, residual: Tensor | None
    ) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last_3d)
        tensors = [*conv.parameters(), *norm.parameters(), *norm.buffers()]
        # Tensors made in inference mode have no versions.
        counted = not any(tensor.is_inference() for tensor in tensors)
        state = [(tensor.data_ptr(), tensor._version) for tensor in tensors] if counted else None
        if state is None or state != self.state:
            self._make(conv, norm, list(x.shape))
            self.state, self.made_of = state, [tensor.detach() for tensor in tensors]
        ops = torch.ops.mkldnn._convolution_pointwise
        geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        activation = "relu" if relu else None
        if residual is None:
            return ops.default(x, self.weight, self.bias, *geometry, activation or "none", [], "")
        residual = residual.contiguous(memory_format=torch.channels_last_3d)
        return ops.binary(x, residual, self.weight, self.bias, *geometry, "add", 1.0, activation, [], "")

    def _make(self, conv: nn.Conv3d, norm: nn.Module, shape: list[int]) -> None:
        weight, bias = conv.weight, conv.bias
        if isinstance(norm, _BatchNorm):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            weight, bias = fuse_conv_bn_weights(
                weight, bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
        self.bias = None if bias is None else bias.detach()
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(
            weight.detach(), conv.padding, conv.stride, conv.dilation, conv.groups, shape
        )
