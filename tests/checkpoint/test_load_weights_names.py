"""Names of PySlowFast and ours: by hand, and there and back for every network."""

from __future__ import annotations

import pytest
import torch

from modist_det.checkpoint.pyslowfast import from_pyslowfast, has_two_pathways, to_pyslowfast
from modist_det.modeling import X3D, ResNet3D, SlowFast

ONE = [
    ("s1.pathway0_stem.conv.weight", "backbone.stem.conv.weight"),
    ("s1.pathway0_stem.bn.running_mean", "backbone.stem.norm.running_mean"),
    ("s2.pathway0_res0.branch1.weight", "backbone.res2.0.shortcut.weight"),
    ("s2.pathway0_res0.branch1_bn.bias", "backbone.res2.0.shortcut_norm.bias"),
    ("s4.pathway0_res22.branch2.a.weight", "backbone.res4.22.conv_a.weight"),
    ("s5.pathway0_res2.branch2.c_bn.weight", "backbone.res5.2.norm_c.weight"),
    ("s3.pathway0_nonlocal1.conv_theta.weight", "backbone.res3.1.nonlocal_block.conv_theta.weight"),
    ("s4.pathway0_nonlocal5.bn.running_var", "backbone.res4.5.nonlocal_block.norm.running_var"),
    ("s1.pathway0_stem.conv_xy.weight", "backbone.stem.conv_xy.weight"),
    ("s2.pathway0_res0.branch2.se.fc1.bias", "backbone.res2.0.se.fc1.bias"),
    ("head.conv_5_bn.running_mean", "head.conv_5_bn.running_mean"),
    ("head.projection.weight", "head.projection.weight"),
]
TWO = [
    ("s1.pathway0_stem.conv.weight", "backbone.slow.stem.conv.weight"),
    ("s1.pathway1_stem.bn.weight", "backbone.fast.stem.norm.weight"),
    ("s5.pathway1_res0.branch2.b_bn.num_batches_tracked", "backbone.fast.res5.0.norm_b.num_batches_tracked"),
    ("s1_fuse.conv_f2s.weight", "backbone.fuse_stem.conv.weight"),
    ("s4_fuse.bn.running_var", "backbone.fuse_res4.norm.running_var"),
    ("head.projection.bias", "head.projection.bias"),
]


@pytest.mark.parametrize(("pairs", "two_pathways"), [(ONE, False), (TWO, True)])
def test_pairs_by_hand(pairs, two_pathways):
    assert has_two_pathways(theirs for theirs, _ in pairs) == two_pathways
    for theirs, ours in pairs:
        assert from_pyslowfast(theirs, two_pathways) == ours
        assert to_pyslowfast(ours) == theirs


@pytest.mark.parametrize(
    "name",
    [
        "s1.pathway0_stem.conv_t.weight",
        "s2.pathway0_res0.branch2.se2.fc1.bias",
        "patch_embed.proj.bias",
        "queue",
    ],
)
def test_names_of_other_networks_have_none_of_ours(name):
    assert from_pyslowfast(name, two_pathways=False) is None
    assert to_pyslowfast(name) is None


def test_second_pathway_needs_a_slowfast():
    assert from_pyslowfast("s1.pathway1_stem.bn.weight", two_pathways=False) is None


@pytest.mark.parametrize("depth", [18, 50, 101])
@pytest.mark.parametrize("norm", ["BN", "GN", "none"])
@pytest.mark.parametrize("network", [ResNet3D, SlowFast])
def test_there_and_back(depth, norm, network):
    with torch.device("meta"):
        backbone = network(depth=depth, norm=norm, nonlocal_blocks=((), (1,), (0, 1), ()))
        names = [f"backbone.{name}" for name in backbone.state_dict()]
    theirs = [to_pyslowfast(name) for name in names]
    assert None not in theirs
    assert len(set(theirs)) == len(names)
    two_pathways = has_two_pathways(theirs)
    assert two_pathways == (network is SlowFast)
    assert [from_pyslowfast(name, two_pathways) for name in theirs] == names


def test_x3d_there_and_back():
    with torch.device("meta"):
        names = [f"backbone.{name}" for name in X3D().state_dict()]
    theirs = [to_pyslowfast(name) for name in names]
    assert None not in theirs and len(set(theirs)) == len(names)
    assert not has_two_pathways(theirs)
    assert [from_pyslowfast(name, two_pathways=False) for name in theirs] == names
