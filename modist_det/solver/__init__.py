"""Parameter groups, optimizers and learning-rate schedules."""

from .build import build_optimizer, clip_gradients, parameter_groups
from .schedule import build_lr_schedule

__all__ = ["build_lr_schedule", "build_optimizer", "clip_gradients", "parameter_groups"]
