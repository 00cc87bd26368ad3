"""Convert between PySlowFast's parameter names and ours.

PySlowFast numbers stages (``s1`` is the stem, then ``s2`` ... ``s5``) and pathways (``pathway0``: the only or the slow
one, ``pathway1``: the fast one). Our names are those of :class:`~modist_det.modeling.backbone.ResNet3D`,
:class:`~modist_det.modeling.backbone.SlowFast` and :class:`~modist_det.modeling.backbone.X3D` below ``backbone.``. For
example, ``s3.pathway0_res1.branch2.a_bn.weight`` is ``backbone.res3.1.norm_a.weight`` in a ResNet3D and
``backbone.slow.res3.1.norm_a.weight`` in a SlowFast.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["from_pyslowfast", "has_two_pathways", "to_pyslowfast"]

_STEM = re.compile(r"s1\.pathway(?P<pathway>[01])_stem\.(?P<layer>conv_xy|conv|bn)\.(?P<rest>.+)")
_BLOCK = re.compile(
    r"s(?P<stage>[2-5])\.pathway(?P<pathway>[01])_res(?P<block>\d+)\."
    r"(?P<layer>branch1_bn|branch1|branch2\.[abc]_bn|branch2\.[abc]|branch2\.se)\.(?P<rest>.+)"
)
_NONLOCAL = re.compile(r"s(?P<stage>[2-5])\.pathway(?P<pathway>[01])_nonlocal(?P<block>\d+)\.(?P<rest>.+)")
_FUSE = re.compile(r"s(?P<stage>[1-4])_fuse\.(?P<layer>conv_f2s|bn)\.(?P<rest>.+)")

_OUR_PARAMETER = re.compile(
    r"backbone\.(?:(?P<pathway>slow|fast)\.)?(?:"
    r"stem\.(?P<stem_layer>conv_xy|conv|norm)"
    r"|res(?P<stage>[2-5])\.(?P<block>\d+)\.(?P<layer>shortcut_norm|shortcut|conv_[abc]|norm_[abc]|se|nonlocal_block)"
    r"|fuse_(?P<fused>stem|res2|res3|res4)\.(?P<fuse_layer>conv|norm)"
    r")\.(?P<rest>.+)"
)

_BLOCK_LAYERS = {
    "branch1": "shortcut",
    "branch1_bn": "shortcut_norm",
    **{f"branch2.{letter}": f"conv_{letter}" for letter in "abc"},
    **{f"branch2.{letter}_bn": f"norm_{letter}" for letter in "abc"},
    "branch2.se": "se",
}
_STEM_LAYERS = {"conv_xy": "conv_xy", "conv": "conv", "bn": "norm"}
_THEIR_STEM_LAYERS = {ours: theirs for theirs, ours in _STEM_LAYERS.items()}
_THEIR_BLOCK_LAYERS = {ours: theirs for theirs, ours in _BLOCK_LAYERS.items()}


def has_two_pathways(names: Iterable[str]) -> bool:
    """Whether PySlowFast ``names`` belong to a SlowFast, the only network that fuses pathways."""
    return any(_FUSE.fullmatch(name) for name in names)


def from_pyslowfast(name: str, two_pathways: bool) -> str | None:
    """Our name for PySlowFast's parameter ``name``; ``None`` if it is not part of these networks.

    Args:
        two_pathways: the network is a SlowFast. Other networks have no pathway 1.
    """
    if name.startswith("head."):
        return name
    if match := _FUSE.fullmatch(name):
        fused = "stem" if match["stage"] == "1" else f"res{match['stage']}"
        return f"backbone.fuse_{fused}.{'norm' if match['layer'] == 'bn' else 'conv'}.{match['rest']}"
    match = _STEM.fullmatch(name) or _BLOCK.fullmatch(name) or _NONLOCAL.fullmatch(name)
    if match is None or (match["pathway"] == "1" and not two_pathways):
        return None
    pathway = f"{('slow', 'fast')[int(match['pathway'])]}." if two_pathways else ""
    rest = match["rest"]
    if match.re is _STEM:
        layer = f"stem.{_STEM_LAYERS[match['layer']]}"
    elif match.re is _BLOCK:
        layer = f"res{match['stage']}.{match['block']}.{_BLOCK_LAYERS[match['layer']]}"
    else:
        layer = f"res{match['stage']}.{match['block']}.nonlocal_block"
        rest = re.sub(r"^bn\.", "norm.", rest)
    return f"backbone.{pathway}{layer}.{rest}"


def to_pyslowfast(name: str) -> str | None:
    """The inverse of :func:`from_pyslowfast`; ``None`` if PySlowFast has no such parameter."""
    if name.startswith("head."):
        return name
    match = _OUR_PARAMETER.fullmatch(name)
    if match is None:
        return None
    pathway = 1 if match["pathway"] == "fast" else 0
    rest = match["rest"]
    if match["stem_layer"]:
        return f"s1.pathway{pathway}_stem.{_THEIR_STEM_LAYERS[match['stem_layer']]}.{rest}"
    if match["fused"]:
        stage = 1 if match["fused"] == "stem" else match["fused"][3:]
        return f"s{stage}_fuse.{'bn' if match['fuse_layer'] == 'norm' else 'conv_f2s'}.{rest}"
    if match["layer"] == "nonlocal_block":
        rest = re.sub(r"^norm\.", "bn.", rest)
        return f"s{match['stage']}.pathway{pathway}_nonlocal{match['block']}.{rest}"
    return (
        f"s{match['stage']}.pathway{pathway}_res{match['block']}.{_THEIR_BLOCK_LAYERS[match['layer']]}.{rest}"
    )
