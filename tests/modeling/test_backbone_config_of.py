"""A backbone class tells from names and shapes alone which config keys build a network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modist_det.checkpoint.configs import configs_with
from modist_det.config import get_cfg
from modist_det.modeling.backbone import backbone_classes, build_backbone, keys_of

# The first ones of configs that come with the package, and settings that none of them has.
NETWORKS = [
    ["MODEL.RESNET3D.DEPTH", 18, "MODEL.RESNET3D.WIDTH", 8, "MODEL.RESNET3D.STEM_KERNEL", [3, 5, 5]],
    ["MODEL.RESNET3D.TEMPORAL_KERNELS", [3, [3, 1], [3, 1], [1, 3]], "MODEL.RESNET3D.DEPTH", 101],
    ["MODEL.RESNET3D.NONLOCAL_BLOCKS", [[], [1, 3], [0], []]],
    ["MODEL.BACKBONE.NAME", "SlowFast", "MODEL.SLOWFAST.FUSION_KERNEL", 5, "MODEL.SLOWFAST.BETA_INV", 4],
    ["MODEL.BACKBONE.NAME", "X3D", "MODEL.X3D.DEPTH_FACTOR", 5.0, "MODEL.X3D.RES2_SHORTCUT_NORM", False],
    [
        *["MODEL.BACKBONE.NAME", "Hiera", "MODEL.HIERA.EMBED_DIM", 144, "MODEL.HIERA.NUM_HEADS", 2],
        *["MODEL.HIERA.STAGES", [1, 2, 1, 1], "MODEL.HIERA.INPUT_SIZE", [8, 96, 96]],
    ],
    ["MODEL.BACKBONE.NAME", "Hiera", "MODEL.HIERA.INPUT_SIZE", [64, 64], "MODEL.HIERA.MLP_RATIO", 2.0],
    ["MODEL.BACKBONE.NAME", "MViT", "MODEL.MVIT.INPUT_SIZE", [8, 64, 96], "MODEL.MVIT.EMBED_DIM", 48],
    [
        *["MODEL.BACKBONE.NAME", "MViT", "MODEL.MVIT.DIM_MUL_IN_ATT", False, "MODEL.MVIT.USE_ABS_POS", True],
        *["MODEL.MVIT.SEP_POS_EMBED", True, "MODEL.MVIT.RESIDUAL_POOLING", False],
        *["MODEL.MVIT.REL_POS_SPATIAL", False, "MODEL.MVIT.REL_POS_TEMPORAL", False],
        *[
            "MODEL.MVIT.POOL_Q_STRIDE",
            [[1, 1, 2, 2], [3, 1, 2, 2], [14, 1, 2, 2]],
            "MODEL.MVIT.QKV_BIAS",
            False,
        ],
    ],
    ["MODEL.BACKBONE.NAME", "TorchvisionVideo", "MODEL.TORCHVISION.NAME", "s3d"],
]


def network(changes):
    cfg = get_cfg()
    cfg.merge_from_list(changes)
    with torch.device("meta"):
        return build_backbone(cfg)


@pytest.mark.parametrize(
    "changes", NETWORKS, ids=lambda changes: changes[1] if len(changes) > 2 else "nonlocal"
)
def test_the_keys_build_the_same_network_again(changes):
    tensors = network(changes).state_dict()
    keys = keys_of(tensors)
    again = network([word for pair in keys.items() for word in pair]).state_dict()
    assert {name: t.shape for name, t in again.items()} == {name: t.shape for name, t in tensors.items()}
    given = dict(zip(changes[0::2], changes[1::2], strict=True))
    assert {key: value for key, value in given.items() if key in keys} == given
    # One class knows it as its own, and says something of it.
    assert [name for name, c in backbone_classes() if c.config_of(tensors)] == [keys["MODEL.BACKBONE.NAME"]]
    assert [name for name, c in backbone_classes() if c.describe(tensors)] == [keys["MODEL.BACKBONE.NAME"]]


def test_shipped_configs_are_found_however_they_write_temporal_kernels():
    keys = keys_of(network(["MODEL.RESNET3D.TEMPORAL_KERNELS", [1, [1, 1], [3], 3]]).state_dict())
    found = configs_with(keys)
    assert "configs/Zoo/Kinetics400/Slow_8x8_R50.yaml" in found
    # AVA's and Something-Something's have the same backbone and are not listed again.
    assert {Path(config).parent.name for config in found} == {"Kinetics400", "Pretrained"}
    assert configs_with({**keys, "MODEL.RESNET3D.WIDTH": 32}) == []
    assert keys_of({}) == keys_of({"stem.conv.weight": torch.empty(0, 3, 1, 7, 7)}) == {}


@pytest.mark.parametrize(
    ("changes", "name"), [(NETWORKS[3], "fuse_stem.conv"), (NETWORKS[4], "res2.0.conv_c")]
)
def test_an_empty_kernel_has_no_keys(changes, name):
    """Ratios of channels cannot be read from a damaged file whose tensor has none."""
    tensors = network(changes).state_dict() | {f"{name}.weight": torch.empty(0, 0, 5, 1, 1)}
    assert keys_of(tensors) == {}
    assert any(c.describe(tensors) for _, c in backbone_classes())
