"""``SOLVER``: optimizer, schedule, precision, checkpoints."""

from __future__ import annotations

from .node import CfgNode

__all__ = ["defaults"]


def defaults() -> CfgNode:
    solver = CfgNode()
    # Clips per optimizer step, over all processes and accumulation steps.
    solver.IMS_PER_BATCH = 64
    solver.ACCUMULATION_STEPS = 1
    solver.MAX_EPOCH = 20.0  # may be fractional
    # Epochs between checkpoints (0: only the last) and how many of them are kept (0: all).
    solver.CHECKPOINT_PERIOD = 1.0
    solver.CHECKPOINTS_KEPT = 3

    solver.OPTIMIZER = "sgd"  # or "lars", "adamw"
    solver.BASE_LR = 0.1
    solver.MOMENTUM = 0.9
    solver.NESTEROV = True
    solver.LARS_TRUST = 0.001  # a layer's step is this share of its weights' norm, times the learning rate
    solver.BETAS = [0.9, 0.999]  # AdamW
    solver.WEIGHT_DECAY = 1e-4
    solver.WEIGHT_DECAY_NORM = 0.0
    solver.WEIGHT_DECAY_BIAS = 1e-4

    solver.LR_POLICY = "cosine"  # or "steps_with_relative_lrs"
    solver.COSINE_END_LR = 0.0
    # The learning rate is BASE_LR * LRS[i] from epoch STEPS[i] on; STEPS begins with 0.
    solver.STEPS = []
    solver.LRS = []
    solver.WARMUP_EPOCHS = 0.0
    solver.WARMUP_START_LR = 0.01

    solver.CLIP_GRADIENTS = CfgNode()
    solver.CLIP_GRADIENTS.ENABLED = False
    solver.CLIP_GRADIENTS.CLIP_TYPE = "norm"  # of all gradients together, or "value"
    solver.CLIP_GRADIENTS.CLIP_VALUE = 1.0

    solver.AMP = CfgNode()
    # Autocast where the device is faster in it, otherwise fp32 (engine/precision.py).
    solver.AMP.ENABLED = False
    solver.AMP.PRECISION = "bf16"  # or "fp16", with a gradient scaler
    return solver
