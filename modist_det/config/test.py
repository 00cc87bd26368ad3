"""``TEST``: evaluation."""

from __future__ import annotations

from .node import CfgNode

__all__ = ["defaults"]


def defaults() -> CfgNode:
    test = CfgNode()
    test.BATCH_SIZE = 8  # clips per process
    test.EVAL_PERIOD = 0.0  # epochs between evaluations during training; 0: only at the end
    # Recompute BN statistics over this many training batches before each evaluation and the last checkpoint.
    test.PRECISE_BN = CfgNode()
    test.PRECISE_BN.ENABLED = False
    test.PRECISE_BN.NUM_ITER = 200
    test.AVA = CfgNode()
    test.AVA.MODE = "official"  # or "pyslowfast", to compare with its published numbers
    return test
