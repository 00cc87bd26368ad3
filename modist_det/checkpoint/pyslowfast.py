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

from .name_table import NameTable, Parts

__all__ = ["from_pyslowfast", "has_two_pathways", "to_pyslowfast"]

_FUSED = re.compile(r"s[1-4]_fuse\.(conv_f2s|bn)\..")
_PAIRS = [
    ("head.{rest}", "head.{rest}"),
    ("s1.pathway{pathway}_stem.{stem}.{rest}", "backbone.{pathway}stem.{stem}.{rest}"),
    (
        "s{stage}.pathway{pathway}_res{block}.{layer}.{rest}",
        "backbone.{pathway}res{stage}.{block}.{layer}.{rest}",
    ),
    (
        "s{stage}.pathway{pathway}_nonlocal{block}.{nonlocal}{rest}",
        "backbone.{pathway}res{stage}.{block}.nonlocal_block.{nonlocal}{rest}",
    ),
    ("s{fused}_fuse.{fuse}.{rest}", "backbone.fuse_{fused}.{fuse}.{rest}"),
]
_PARTS: Parts = {
    "pathway": {"0": "slow.", "1": "fast."},
    "stem": {"conv_xy": "conv_xy", "conv": "conv", "bn": "norm"},
    "stage": "[2-5]",
    "block": r"\d+",
    "layer": {
        "branch1": "shortcut",
        "branch1_bn": "shortcut_norm",
        **{f"branch2.{letter}": f"conv_{letter}" for letter in "abc"},
        **{f"branch2.{letter}_bn": f"norm_{letter}" for letter in "abc"},
        "branch2.se": "se",
    },
    "nonlocal": {"bn.": "norm.", "": ""},
    "fused": {"1": "stem", "2": "res2", "3": "res3", "4": "res4"},
    "fuse": {"conv_f2s": "conv", "bn": "norm"},
    "rest": ".+",
}
_SLOWFAST = NameTable(_PAIRS, _PARTS)
_ONE_PATHWAY = NameTable(_PAIRS, {**_PARTS, "pathway": {"0": ""}})


def has_two_pathways(names: Iterable[str]) -> bool:
    """Whether PySlowFast ``names`` belong to a SlowFast, the only network that fuses pathways."""
    return any(_FUSED.match(name) for name in names)


def from_pyslowfast(name: str, two_pathways: bool) -> str | None:
    """Our name for PySlowFast's parameter ``name``; ``None`` if it is not part of these networks.

    Args:
        two_pathways: the network is a SlowFast. Other networks have no pathway 1.
    """
    return (_SLOWFAST if two_pathways else _ONE_PATHWAY).ours(name)


def to_pyslowfast(name: str) -> str | None:
    """The inverse of :func:`from_pyslowfast`; ``None`` if PySlowFast has no such parameter."""
    return _SLOWFAST.theirs(name) or _ONE_PATHWAY.theirs(name)
