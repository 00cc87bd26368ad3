"""Small pretraining methods and a batch for them."""

from __future__ import annotations

import torch

from modist_det.config import get_cfg
from modist_det.modeling import build_model

SECTIONS = {
    "MoDist": "MODIST",
    "BYOL": "BYOL",
    "SimCLR": "SIMCLR",
    "MotionRegression": "MOTION_REGRESSION",
}

_SMALL = {
    "MODEL.RESNET3D.DEPTH": 18,
    "MODEL.RESNET3D.WIDTH": 4,
    "MODEL.RESNET3D.STEM_KERNEL": [1, 3, 3],
    "MODEL.RESNET3D.NORM": "none",
    "MODEL.MOTION_PATHWAY.DEPTH": 18,
    "MODEL.MOTION_PATHWAY.WIDTH": 2,
    "MODEL.MOTION_PATHWAY.STEM_KERNEL": [1, 3, 3],
    "MODEL.MOTION_PATHWAY.NORM": "none",
    "MODEL.MODIST.QUEUE_SIZE": 8,
    "MODEL.MODIST.MOMENTUM": 0.5,
    "MODEL.BYOL.PREDICTOR_HIDDEN": 10,
    "MODEL.BYOL.ANNEAL_MOMENTUM": False,
}


def tiny_method(name, *, accumulation_steps=1, **changes):
    """The method ``name`` with narrow pathways; ``changes`` are keys of its own section."""
    cfg = get_cfg()
    cfg.SOLVER.ACCUMULATION_STEPS = accumulation_steps
    common = {"CLIPS": 2, "GRID": [1, 2, 2]} if name == "MotionRegression" else {"DIM": 6}
    own = {**common, "PROJECTION_HIDDEN": 10, "PROJECTION_NORM": "none", **changes}
    keys = {**_SMALL, **{f"MODEL.{SECTIONS[name]}.{key}": value for key, value in own.items()}}
    cfg.merge_from_list([word for pair in keys.items() for word in pair])
    cfg.MODEL.META_ARCHITECTURE = name
    torch.manual_seed(0)
    return build_model(cfg)


def tiny_batch(size=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "video": torch.randint(0, 256, (size, 2, 3, 2, 16, 16), generator=generator, dtype=torch.uint8),
        "motion": torch.randint(0, 256, (size, 2, 1, 4, 16, 16), generator=generator, dtype=torch.uint8),
        "video_number": torch.arange(size),
    }
