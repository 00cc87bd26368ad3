"""Networks and files of other code bases, written anew for the tests: structure, names and bytes as those have them."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import roi_align


def randomize(network: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights and BN statistics under which activations neither vanish nor explode; evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif tensor.dim() > 1:
                scale = (2 / tensor[0].numel()) ** 0.5
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * scale)
            elif tensor.is_floating_point():
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
                if name.endswith("weight"):
                    tensor.add_(1)
    return network.eval()


def _conv(i: int, o: int, kernel: tuple, stride: tuple = (1, 1, 1), dilation: int = 1) -> nn.Conv3d:
    padding = (kernel[0] // 2, kernel[1] // 2 * dilation, kernel[2] // 2 * dilation)
    return nn.Conv3d(i, o, kernel, stride, padding, (1, dilation, dilation), bias=False)


class _Branch(nn.Module):
    def __init__(self, i: int, inner: int, time: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv_a, self.norm_a = _conv(i, inner, (time, 1, 1)), nn.BatchNorm3d(inner)
        self.conv_b = _conv(inner, inner, (1, 3, 3), (1, stride, stride), dilation)
        self.norm_b = nn.BatchNorm3d(inner)
        self.conv_c, self.norm_c = _conv(inner, 4 * inner, (1, 1, 1)), nn.BatchNorm3d(4 * inner)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_a(self.conv_a(x)).relu()
        return self.norm_c(self.conv_c(self.norm_b(self.conv_b(x)).relu()))


class _Block(nn.Module):
    def __init__(self, i: int, inner: int, time: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.projects = i != 4 * inner or stride != 1
        if self.projects:
            self.branch1_conv = _conv(i, 4 * inner, (1, 1, 1), (1, stride, stride))
            self.branch1_norm = nn.BatchNorm3d(4 * inner)
        self.branch2 = _Branch(i, inner, time, stride, dilation)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.branch1_norm(self.branch1_conv(x)) if self.projects else x
        return (skip + self.branch2(x)).relu()


class _Stage(nn.Module):
    def __init__(self, i: int, inner: int, times: list[int], stride: int, dilation: int) -> None:
        super().__init__()
        blocks = [
            _Block(i if n == 0 else 4 * inner, inner, time, stride if n == 0 else 1, dilation)
            for n, time in enumerate(times)
        ]
        self.res_blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.res_blocks:
            x = block(x)
        return x


class _Stem(nn.Module):
    def __init__(self, width: int, kernel: tuple) -> None:
        super().__init__()
        self.conv, self.norm = _conv(3, width, kernel, (1, 2, 2)), nn.BatchNorm3d(width)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.max_pool3d(self.norm(self.conv(x)).relu(), (1, 3, 3), (1, 2, 2), (0, 1, 1))


class _Head(nn.Module):
    """Of a clip: the mean of each pathway."""

    def __init__(self, i: int, classes: int) -> None:
        super().__init__()
        self.proj = nn.Linear(i, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


_DEPTHS = (3, 4, 6, 3)


class _Net(nn.Module):
    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3, 4))


class _MeanHead(_Head):
    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x.mean(dim=(2, 3, 4)))


def pytorchvideo_resnet(kind: str, width: int, classes: int, detection: bool = False) -> nn.Module:
    """A Slow, I3D or C2D ResNet-50; a detector is called with the clip and rois (N, 5)."""
    kernel = (5, 7, 7) if kind == "i3d" else (1, 7, 7)
    patterns = {"slow": ([1], [1], [3], [3]), "i3d": ([3], [3, 1], [3, 1], [1, 3]), "c2d": ([1],) * 4}[kind]
    blocks: list[nn.Module] = [_Stem(width, kernel)]
    channels = width
    for n, (depth, pattern) in enumerate(zip(_DEPTHS, patterns, strict=True)):
        times = [pattern[i % len(pattern)] for i in range(depth)]
        dilated = detection and n == 3
        inner = width * 2**n
        blocks.append(_Stage(channels, inner, times, 1 if n == 0 or dilated else 2, 2 if dilated else 1))
        channels = 4 * inner
        if n == 0 and kind != "slow":
            blocks.append(nn.MaxPool3d((2, 1, 1), (2, 1, 1)))
    if detection:
        return _Detector(_Net(blocks), _Head(channels, classes))
    return _Net([*blocks, _MeanHead(channels, classes)])


class _Detector(nn.Module):
    def __init__(self, model: nn.Module, head: _Head) -> None:
        super().__init__()
        self.model, self.detection_head = model, head

    def forward(self, clip, rois: Tensor) -> Tensor:
        maps = self.model(clip)
        maps = maps if isinstance(maps, list) else [maps]
        pooled = torch.cat([m.mean(dim=2) for m in maps], 1)
        return self.detection_head(
            roi_align(pooled, rois, 7, 1 / 16, 0, aligned=False).amax(dim=(2, 3))
        ).sigmoid()


class _Fusion(nn.Module):
    def __init__(self, channels: int, kernel: int, alpha: int) -> None:
        super().__init__()
        self.conv_fast_to_slow = nn.Conv3d(
            channels, 2 * channels, (kernel, 1, 1), (alpha, 1, 1), (kernel // 2, 0, 0), bias=False
        )
        self.norm = nn.BatchNorm3d(2 * channels)

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        return [torch.cat([x[0], self.norm(self.conv_fast_to_slow(x[1])).relu()], 1), x[1]]


class _Pathways(nn.Module):
    def __init__(self, slow: nn.Module, fast: nn.Module, fusion: nn.Module | None) -> None:
        super().__init__()
        self.multipathway_blocks = nn.ModuleList([slow, fast])
        self.multipathway_fusion = fusion or nn.Identity()

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        return self.multipathway_fusion(
            [block(y) for block, y in zip(self.multipathway_blocks, x, strict=True)]
        )


class _Concatenate(nn.Module):
    def forward(self, x: list[Tensor]) -> Tensor:
        return torch.cat([y.mean(dim=(2, 3, 4)) for y in x], 1)


def pytorchvideo_slowfast(width: int, classes: int, detection: bool = False) -> nn.Module:
    """SlowFast R50 8x8; called with the list of the slow pathway's and the fast pathway's frames."""
    beta, kernel, alpha = 8, 7, 4
    fast = width // beta
    blocks: list[nn.Module] = [
        _Pathways(_Stem(width, (1, 7, 7)), _Stem(fast, (5, 7, 7)), _Fusion(fast, kernel, alpha))
    ]
    slow_in, fast_in = width + 2 * fast, fast
    for n, depth in enumerate(_DEPTHS):
        dilated = detection and n == 3
        stride, dilation = 1 if n == 0 or dilated else 2, 2 if dilated else 1
        inner, fast_inner = width * 2**n, fast * 2**n
        blocks.append(
            _Pathways(
                _Stage(slow_in, inner, [3 if n > 1 else 1] * depth, stride, dilation),
                _Stage(fast_in, fast_inner, [3] * depth, stride, dilation),
                _Fusion(4 * fast_inner, kernel, alpha) if n < 3 else None,
            )
        )
        slow_in, fast_in = 4 * inner + 8 * fast_inner, 4 * fast_inner
    channels = 32 * (width + fast)
    if detection:
        return _Detector(_Net(blocks), _Head(channels, classes))
    return _Net([*blocks, _Concatenate(), _Head(channels, classes)])


class _X3DBranch(nn.Module):
    def __init__(self, i: int, inner: int, o: int, stride: int, squeeze: int) -> None:
        super().__init__()
        self.conv_a, self.norm_a = _conv(i, inner, (1, 1, 1)), nn.BatchNorm3d(inner)
        self.conv_b = nn.Conv3d(inner, inner, 3, (1, stride, stride), 1, groups=inner, bias=False)
        self.norm_b = nn.Sequential(
            nn.BatchNorm3d(inner), _Squeeze(inner, squeeze) if squeeze else nn.Identity()
        )
        self.conv_c, self.norm_c = _conv(inner, o, (1, 1, 1)), nn.BatchNorm3d(o)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_b(self.conv_b(self.norm_a(self.conv_a(x)).relu()))
        return self.norm_c(self.conv_c(x * x.sigmoid()))


class _Squeeze(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        layers = nn.Conv3d(channels, inner, 1), nn.ReLU(), nn.Conv3d(inner, channels, 1), nn.Sigmoid()
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.block(x.mean(dim=(2, 3, 4), keepdim=True))


class _X3DBlock(nn.Module):
    """A norm on the shortcut only where the channels change."""

    def __init__(self, i: int, inner: int, o: int, stride: int, squeeze: int) -> None:
        super().__init__()
        if i != o or stride != 1:
            self.branch1_conv = _conv(i, o, (1, 1, 1), (1, stride, stride))
        if i != o:
            self.branch1_norm = nn.BatchNorm3d(o)
        self.branch2 = _X3DBranch(i, inner, o, stride, squeeze)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.branch1_conv(x) if hasattr(self, "branch1_conv") else x
        skip = self.branch1_norm(skip) if hasattr(self, "branch1_norm") else skip
        return (skip + self.branch2(x)).relu()


class _X3DStage(nn.Module):
    def __init__(self, i: int, o: int, depth: int, squeeze: int) -> None:
        super().__init__()
        inner = int(2.25 * o)
        blocks = [
            _X3DBlock(i if n == 0 else o, inner, o, 2 if n == 0 else 1, squeeze if n % 2 == 0 else 0)
            for n in range(depth)
        ]
        self.res_blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.res_blocks(x)


class _X3DStem(nn.Module):
    """Their names are the wrong way round: conv_t is the one in space."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Module(), nn.BatchNorm3d(24)
        self.conv.conv_t = _conv(3, 24, (1, 3, 3), (1, 2, 2))
        self.conv.conv_xy = nn.Conv3d(24, 24, (5, 1, 1), padding=(2, 0, 0), groups=24, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv.conv_xy(self.conv.conv_t(x))).relu()


class _X3DHead(nn.Module):
    def __init__(self, window: tuple, classes: int) -> None:
        super().__init__()
        self.pool, self.proj = nn.Module(), nn.Linear(2048, classes)
        self.pool.pre_conv, self.pool.pre_norm = _conv(192, 432, (1, 1, 1)), nn.BatchNorm3d(432)
        self.pool.pool, self.pool.post_conv = nn.AvgPool3d(window, 1), _conv(432, 2048, (1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool.pool(self.pool.pre_norm(self.pool.pre_conv(x)).relu())
        x = self.pool.post_conv(pooled).relu().permute(0, 2, 3, 4, 1)
        return self.proj(x).softmax(dim=4).mean(dim=(1, 2, 3))


def pytorchvideo_x3d(depths: tuple, window: tuple, classes: int) -> nn.Module:
    """X3D-XS, S, M (blocks 3, 5, 11, 7) or L (5, 10, 25, 15); gives scores.

    Args:
        window: frames, rows and columns of the head's average, those of the map of a training clip.
    """
    channels, squeezed = (24, 48, 96, 192), (8, 8, 16, 32)
    stages = [
        _X3DStage(i, o, depth, squeeze)
        for i, o, depth, squeeze in zip((24, *channels), channels, depths, squeezed, strict=False)
    ]
    return _Net([_X3DStem(), *stages, _X3DHead(window, classes)])


def caffe2_blobs(pyslowfast: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """The blobs that Caffe2 would hold for a PySlowFast ResNet-50 or SlowFast, name by name."""
    blobs = {}

    def norm(theirs: str, blob: str) -> None:
        for ending, kind in (("s", "weight"), ("b", "bias"), ("rm", "running_mean"), ("riv", "running_var")):
            blobs[f"{blob}_bn_{ending}"] = pyslowfast[f"{theirs}.{kind}"].numpy()

    for pathway, mark in ((0, ""), (1, "t_")):
        if f"s1.pathway{pathway}_stem.conv.weight" not in pyslowfast:
            continue
        blobs[f"{mark}conv1_w"] = pyslowfast[f"s1.pathway{pathway}_stem.conv.weight"].numpy()
        norm(f"s1.pathway{pathway}_stem.bn", f"{mark}res_conv1")
        for stage, depth in zip((2, 3, 4, 5), _DEPTHS, strict=True):
            for block in range(depth):
                theirs, blob = f"s{stage}.pathway{pathway}_res{block}", f"{mark}res{stage}_{block}"
                for layer, short in (
                    ("branch2.a", "2a"),
                    ("branch2.b", "2b"),
                    ("branch2.c", "2c"),
                    ("branch1", "1"),
                ):
                    if block and layer == "branch1":
                        continue
                    blobs[f"{blob}_branch{short}_w"] = pyslowfast[f"{theirs}.{layer}.weight"].numpy()
                    norm(f"{theirs}.{layer}_bn", f"{blob}_branch{short}")
    if "s1_fuse.conv_f2s.weight" in pyslowfast:
        fused = ("t_pool1", "t_res2_2_branch2c_bn", "t_res3_3_branch2c_bn", "t_res4_5_branch2c_bn")
        for stage, blob in enumerate(fused, start=1):
            blobs[f"{blob}_subsample_w"] = pyslowfast[f"s{stage}_fuse.conv_f2s.weight"].numpy()
            norm(f"s{stage}_fuse.bn", f"{blob}_subsample")
    blobs["pred_w"] = pyslowfast["head.projection.weight"].numpy()
    blobs["pred_b"] = pyslowfast["head.projection.bias"].numpy()
    solver = {f"{name}_momentum": np.zeros_like(blob) for name, blob in blobs.items()}
    return blobs | solver | {"lr": np.float32([0.1]), "model_iter": np.int64([9])}


def python2_pickle(arrays: Mapping[str, np.ndarray]) -> bytes:
    """``pickle.dumps({"blobs": arrays}, 2)`` as Python 2 wrote it: byte strings, numpy's names of its time."""

    def text(value: bytes) -> bytes:
        return (
            b"U" + bytes([len(value)]) if len(value) < 256 else b"T" + struct.pack("<i", len(value))
        ) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    out = [b"\x80\x02}(", text(b"blobs"), b"}("]
    for name, array in arrays.items():
        out += [
            text(name.encode()),
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n",
            number(0) + b"\x85" + text(b"b") + b"\x87R",  # _reconstruct(ndarray, (0,), "b")
            b"(" + number(1) + b"(" + b"".join(map(number, array.shape)) + b"t",
            b"cnumpy\ndtype\n" + text(array.dtype.str[1:].encode()) + number(0) + number(1) + b"\x87R",
            b"("
            + number(3)
            + text(array.dtype.str[:1].encode())
            + b"NNN"
            + number(-1) * 2
            + number(0)
            + b"tb",
            b"\x89" + text(array.tobytes()) + b"tb",  # state: version, shape, type, not Fortran, bytes
        ]
    return b"".join([*out, b"uu."])
