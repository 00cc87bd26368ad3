"""Convert between the parameter names of PyTorchVideo (files of its hub) and ours.

PyTorchVideo numbers the steps of a network: ``blocks.0`` is the stem, then come res2 to res5. The temporal pool of I3D
and C2D after res2 and SlowFast's pool before the head have numbers, too. Networks with a RoI head have ``model.`` in
front. For example, ``blocks.2.res_blocks.1.branch2.norm_a.weight`` is ``backbone.res3.1.norm_a.weight`` in a Slow
ResNet. In X3D, squeeze-and-excitation belongs to ``norm_b``, and ``blocks.0.conv.conv_t`` is the stem's spatial
convolution.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .name_table import NameTable, Parts

__all__ = ["from_pytorchvideo", "is_pytorchvideo", "to_pytorchvideo"]

_STAGE = re.compile(r"(?:model\.)*blocks\.(\d+)\..*res_blocks\.")
_ANY = re.compile(r"(?:model\.)*blocks\.0\.(?:multipathway_blocks\.0\.)?(?:conv|norm)\.")
_X3D_STEM = ".conv.conv_t."
_PAIRS = [
    ("{prefix}blocks.0.{pathway}{stem}.{rest}", "backbone.{pathway}stem.{stem}.{rest}"),
    (
        "{prefix}blocks.{stage}.{pathway}res_blocks.{block}.{layer}.{rest}",
        "backbone.{pathway}{stage}.{block}.{layer}.{rest}",
    ),
    ("{prefix}blocks.{fused}.multipathway_fusion.{fuse}.{rest}", "backbone.fuse_{fused}.{fuse}.{rest}"),
    ("{place}.{head}.{rest}", "head.{head}.{rest}"),
]
_PARTS: Parts = {
    "pathway": {"multipathway_blocks.0.": "slow.", "multipathway_blocks.1.": "fast.", "": ""},
    "block": r"\d+",
    "fuse": {"conv_fast_to_slow": "conv", "norm": "norm"},
    "head": {
        "proj": "projection",
        "pool.pre_conv": "conv_5",
        "pool.pre_norm": "conv_5_bn",
        "pool.post_conv": "lin_5",
    },
    "rest": r"\w+",
    # Only their names have these.
    "prefix": r"(?:model\.)*",
    "place": r"(?:model\.)*(?:blocks\.\d+|detection_head)",
}
_LAYERS = {
    "branch1_conv": "shortcut",
    "branch1_norm": "shortcut_norm",
    **{f"branch2.{kind}_{letter}": f"{kind}_{letter}" for kind in ("conv", "norm") for letter in "abc"},
}
_X3D_LAYERS = {
    **{theirs: ours for theirs, ours in _LAYERS.items() if ours != "norm_b"},
    "branch2.norm_b.0": "norm_b",
    "branch2.norm_b.1.block.0": "se.fc1",
    "branch2.norm_b.1.block.2": "se.fc2",
}


def _table(numbers: Sequence[int], x3d: bool) -> NameTable:
    """The names of one network.

    Args:
        numbers: those of res2, res3, ...
    """
    stages = {str(number): f"res{stage}" for stage, number in enumerate(numbers, start=2)}
    stem = {"conv.conv_t": "conv_xy", "conv.conv_xy": "conv"} if x3d else {"conv": "conv"}
    parts: Parts = {
        "stage": stages,
        "fused": {"0": "stem", **stages},
        "stem": {**stem, "norm": "norm"},
        "layer": _X3D_LAYERS if x3d else _LAYERS,
    }
    return NameTable(_PAIRS, {**_PARTS, **parts})


def is_pytorchvideo(names: Iterable[str]) -> bool:
    """Whether these are parameter names of a ResNet, SlowFast or X3D of PyTorchVideo."""
    return any(_ANY.match(name) for name in names)


def from_pytorchvideo(names: Iterable[str]) -> dict[str, str]:
    """Their name -> ours, for all names that belong to these networks."""
    names = list(names)
    numbers = sorted({int(match[1]) for name in names if (match := _STAGE.match(name))})
    table = _table(numbers, any(_X3D_STEM in name for name in names))
    return {name: ours for name in names if (ours := table.ours(name)) is not None}


def to_pytorchvideo(names: Iterable[str], pool_after_res2: bool, detection: bool) -> dict[str, str]:
    """Our name -> theirs, for all parameters that PyTorchVideo has.

    Args:
        pool_after_res2: the ResNet has the temporal pool of I3D and C2D, which takes a number but has no parameters.
        detection: the network has a RoI head.
    """
    names = list(names)
    two = any(name.startswith("backbone.fast.") for name in names)
    x3d = "backbone.stem.conv_xy.weight" in names
    pool = int(pool_after_res2 and not two)
    table = _table([1, *range(2 + pool, 5 + pool)], x3d)
    known = {
        "prefix": "model." if detection else "",
        "place": "detection_head" if detection else f"blocks.{6 if two or pool else 5}",
    }
    if x3d:  # the shortcut of its first block has no norm there
        names = [name for name in names if not name.startswith("backbone.res2.0.shortcut_norm.")]
    return {name: theirs for name in names if (theirs := table.theirs(name, **known))}
