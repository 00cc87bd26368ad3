"""Convert between the parameter names of PyTorchVideo (files of its hub) and ours.

PyTorchVideo numbers the steps of a network: ``blocks.0`` is the stem, then come res2 to res5. The temporal pool of I3D
and C2D after res2 and SlowFast's pool before the head have numbers, too. Networks with a RoI head have ``model.`` in
front. For example, ``blocks.2.res_blocks.1.branch2.norm_a.weight`` is ``backbone.res3.1.norm_a.weight`` in a Slow
ResNet. In X3D, squeeze-and-excitation belongs to ``norm_b``, and ``blocks.0.conv.conv_t`` is the stem's spatial
convolution.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["from_pytorchvideo", "is_pytorchvideo", "to_pytorchvideo"]

_PREFIX = r"(?:model\.)*"
_STEM = re.compile(
    _PREFIX
    + r"blocks\.0\.(?:multipathway_blocks\.(?P<pathway>[01])\.)?(?P<layer>conv\.conv_t|conv\.conv_xy|conv|norm)\."
    r"(?P<rest>\w+)"
)
_RESIDUAL = re.compile(
    _PREFIX
    + r"blocks\.(?P<number>\d+)\.(?:multipathway_blocks\.(?P<pathway>[01])\.)?res_blocks\.(?P<block>\d+)\."
    r"(?P<layer>branch1_conv|branch1_norm|branch2\.(?:norm_b\.0|norm_b\.1\.block\.[02]|(?:conv|norm)_[abc]))\."
    r"(?P<rest>\w+)"
)
_FUSE = re.compile(
    _PREFIX
    + r"blocks\.(?P<number>\d+)\.multipathway_fusion\.(?P<layer>conv_fast_to_slow|norm)\.(?P<rest>\w+)"
)
_HEAD = re.compile(
    r"(?:"
    + _PREFIX
    + r"blocks\.\d+|(?:model\.)*detection_head)\.(?P<layer>proj|pool\.(?:pre_conv|pre_norm|post_conv))\.(?P<rest>\w+)"
)
_STAGE = re.compile(_PREFIX + r"blocks\.(\d+)\..*res_blocks\.")
_ANY = re.compile(_PREFIX + r"blocks\.0\.(?:multipathway_blocks\.0\.)?(?:conv|norm)\.")

# Theirs -> ours, where they differ. _X3D_LAYERS exist only in X3D.
_STEM_LAYERS = {"conv.conv_t": "conv_xy", "conv.conv_xy": "conv"}
_LAYERS = {"branch1_conv": "shortcut", "branch1_norm": "shortcut_norm"}
_X3D_LAYERS = {
    "branch2.norm_b.0": "norm_b",
    "branch2.norm_b.1.block.0": "se.fc1",
    "branch2.norm_b.1.block.2": "se.fc2",
}
_HEAD_LAYERS = {
    "proj": "projection",
    "pool.pre_conv": "conv_5",
    "pool.pre_norm": "conv_5_bn",
    "pool.post_conv": "lin_5",
}
_OUR_PARAMETER = re.compile(
    r"backbone\.(?:(?P<pathway>slow|fast)\.)?(?:"
    r"stem\.(?P<stem_layer>conv_xy|conv|norm)"
    r"|res(?P<stage>[2-5])\.(?P<block>\d+)\.(?P<layer>shortcut_norm|shortcut|conv_[abc]|norm_[abc]|se\.fc[12])"
    r"|fuse_(?P<fused>stem|res2|res3|res4)\.(?P<fuse_layer>conv|norm)"
    r")\.(?P<rest>\w+)"
)


def is_pytorchvideo(names: Iterable[str]) -> bool:
    """Whether these are parameter names of a ResNet, SlowFast or X3D of PyTorchVideo."""
    return any(_ANY.match(name) for name in names)


def from_pytorchvideo(names: Iterable[str]) -> dict[str, str]:
    """Their name -> ours, for all names that belong to these networks."""
    names = list(names)
    numbers = sorted({int(match[1]) for name in names if (match := _STAGE.match(name))})
    stages = {str(number): stage for stage, number in enumerate(numbers, start=2)}
    stages["0"] = 1
    return {name: ours for name in names if (ours := _to_ours(name, stages)) is not None}


def _to_ours(name: str, stages: dict[str, int]) -> str | None:
    if match := _HEAD.fullmatch(name):
        return f"head.{_HEAD_LAYERS[match['layer']]}.{match['rest']}"
    if match := _FUSE.fullmatch(name):
        if match["number"] not in stages:
            return None
        stage = stages[match["number"]]
        layer = "norm" if match["layer"] == "norm" else "conv"
        return f"backbone.fuse_{'stem' if stage == 1 else f'res{stage}'}.{layer}.{match['rest']}"
    match = _STEM.fullmatch(name) or _RESIDUAL.fullmatch(name)
    if match is None:
        return None
    pathway = "" if match["pathway"] is None else f"{('slow', 'fast')[int(match['pathway'])]}."
    if match.re is _STEM:
        layer = _STEM_LAYERS.get(match["layer"], match["layer"])
        return f"backbone.{pathway}stem.{layer}.{match['rest']}"
    layer = (_LAYERS | _X3D_LAYERS).get(match["layer"], match["layer"].removeprefix("branch2."))
    return f"backbone.{pathway}res{stages[match['number']]}.{match['block']}.{layer}.{match['rest']}"


def to_pytorchvideo(names: Iterable[str], pool_after_res2: bool, detection: bool) -> dict[str, str]:
    """Our name -> theirs, for all parameters that PyTorchVideo has.

    Args:
        pool_after_res2: the ResNet has the temporal pool of I3D and C2D, which takes a number but has no parameters.
        detection: the network has a RoI head.
    """
    names = list(names)
    two = any(name.startswith("backbone.fast.") for name in names)
    x3d = "backbone.stem.conv_xy.weight" in names
    stem_layers = _inverse(_STEM_LAYERS if x3d else {})
    layers = _inverse(_LAYERS | _X3D_LAYERS if x3d else _LAYERS)
    head_layers = _inverse(_HEAD_LAYERS)
    pool_after_res2 = pool_after_res2 and not two
    prefix = "model." if detection else ""
    head = "detection_head" if detection else f"blocks.{6 if two or pool_after_res2 else 5}"
    theirs = {}
    for name in names:
        if name.startswith("head."):
            layer, _, rest = name.removeprefix("head.").rpartition(".")
            if layer in head_layers:
                theirs[name] = f"{head}.{head_layers[layer]}.{rest}"
            continue
        match = _OUR_PARAMETER.fullmatch(name)
        if match is None or (x3d and match["stage"] == "2" and match["layer"] == "shortcut_norm"):
            continue
        pathway = f"multipathway_blocks.{int(match['pathway'] == 'fast')}." if two else ""
        if match["stem_layer"]:
            place = f"0.{pathway}{stem_layers.get(match['stem_layer'], match['stem_layer'])}"
        elif match["fused"]:
            number = 0 if match["fused"] == "stem" else int(match["fused"][3:]) - 1
            layer = "norm" if match["fuse_layer"] == "norm" else "conv_fast_to_slow"
            place = f"{number}.multipathway_fusion.{layer}"
        else:
            number = int(match["stage"]) - 1 + (pool_after_res2 and match["stage"] != "2")
            layer = layers.get(match["layer"], f"branch2.{match['layer']}")
            place = f"{number}.{pathway}res_blocks.{match['block']}.{layer}"
        theirs[name] = f"{prefix}blocks.{place}.{match['rest']}"
    return theirs


def _inverse(layers: dict[str, str]) -> dict[str, str]:
    return {ours: theirs for theirs, ours in layers.items()}
