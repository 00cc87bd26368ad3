"""Configuration: a tree of keys with defaults (one module per section), YAML files over it."""

from __future__ import annotations

from . import data, model, solver, test
from .node import CONFIG_VERSION, CfgNode

__all__ = ["CONFIG_VERSION", "CfgNode", "get_cfg"]


def get_cfg() -> CfgNode:
    """A fresh copy of the default configuration."""
    cfg = CfgNode()
    cfg.VERSION = CONFIG_VERSION
    # Which module of modist_det/tasks/ wires data, model and evaluators together.
    cfg.TASK = "detection"
    cfg.OUTPUT_DIR = "output"
    # Seeds weights, sampling, augmentation and dropout. The same seed gives the same run.
    cfg.SEED = 0
    # True: only deterministic kernels, an error where there is none (slower on CUDA).
    cfg.DETERMINISTIC = False
    cfg.CUDNN_BENCHMARK = False
    # Iterations between two log lines, metrics.json lines and TensorBoard points.
    cfg.LOG_PERIOD = 20
    # Epochs between pictures in TensorBoard: detections on a few test keyframes, or clips of pretraining; 0: none.
    cfg.PICTURE_PERIOD = 0.0
    # Runs of several processes. Seconds without a sign of life of one of them after which the others end...
    cfg.DISTRIBUTED = CfgNode()
    cfg.DISTRIBUTED.RANK_TIMEOUT = 120.0
    # ... and for one collective operation, as long as all live: one may evaluate while the others wait.
    cfg.DISTRIBUTED.GROUP_TIMEOUT = 1800.0
    cfg.MODEL = model.defaults()
    cfg.INPUT = data.input_defaults()
    cfg.MOTION = data.motion_defaults()
    cfg.DATASETS = data.datasets_defaults()
    cfg.DATALOADER = data.dataloader_defaults()
    cfg.SOLVER = solver.defaults()
    cfg.TEST = test.defaults()
    return cfg
