"""Caffe2's blob names by hand."""

from __future__ import annotations

import pytest

from modist_det.checkpoint.caffe2 import from_caffe2, is_training_blob, to_caffe2

NAMES = {
    "conv1_w": "s1.pathway0_stem.conv.weight",
    "t_conv1_w": "s1.pathway1_stem.conv.weight",
    "res_conv1_bn_s": "s1.pathway0_stem.bn.weight",
    "t_res_conv1_bn_riv": "s1.pathway1_stem.bn.running_var",
    "res2_0_branch1_w": "s2.pathway0_res0.branch1.weight",
    "res2_0_branch1_bn_rm": "s2.pathway0_res0.branch1_bn.running_mean",
    "res4_22_branch2a_w": "s4.pathway0_res22.branch2.a.weight",
    "t_res5_2_branch2c_bn_b": "s5.pathway1_res2.branch2.c_bn.bias",
    "t_pool1_subsample_w": "s1_fuse.conv_f2s.weight",
    "t_pool1_subsample_bn_s": "s1_fuse.bn.weight",
    "t_res4_22_branch2c_bn_subsample_w": "s4_fuse.conv_f2s.weight",
    "t_res4_22_branch2c_bn_subsample_bn_riv": "s4_fuse.bn.running_var",
    "nonlocal_conv4_20_theta_w": "s4.pathway0_nonlocal20.conv_theta.weight",
    "nonlocal_conv3_1_out_b": "s3.pathway0_nonlocal1.conv_out.bias",
    "nonlocal_conv3_1_bn_s": "s3.pathway0_nonlocal1.bn.weight",
    "pred_w": "head.projection.weight",
    "pred_b": "head.projection.bias",
}


def test_both_directions():
    assert {blob: from_caffe2(blob) for blob in NAMES} == NAMES
    # The last block of the fast pathway gives the fusion its name.
    theirs = [*NAMES.values(), "s4.pathway1_res22.branch2.a.weight"]
    blobs = to_caffe2(theirs)
    assert {blob: name for name, blob in blobs.items() if name in NAMES.values()} == NAMES
    assert blobs["s4.pathway1_res22.branch2.a.weight"] == "t_res4_22_branch2a_w"


def test_a_fusion_without_the_blocks_before_it_comes_back():
    assert to_caffe2(["s3_fuse.bn.bias"]) == {"s3_fuse.bn.bias": "t_res3_0_branch2c_bn_subsample_bn_b"}
    assert from_caffe2("t_res3_0_branch2c_bn_subsample_bn_b") == "s3_fuse.bn.bias"


@pytest.mark.parametrize(
    "name", ["conv1", "res2_0_branch1", "res6_0_branch1_w", "res2_0_branch2d_w", "x_conv1_w"]
)
def test_not_a_blob_of_these_networks(name):
    assert from_caffe2(name) is None


def test_what_caffe2_has_not():
    assert (
        to_caffe2(["s1.pathway0_stem.bn.num_batches_tracked", "s2.pathway0_res0.branch2.se.fc1.weight"]) == {}
    )


@pytest.mark.parametrize("name", ["lr", "model_iter", "conv1_w_momentum", "weight_order"])
def test_blobs_of_the_solver(name):
    assert is_training_blob(name)
    assert not is_training_blob("conv1_w")
