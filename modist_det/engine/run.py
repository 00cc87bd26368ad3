"""A whole run, from a config to the table of results."""

from __future__ import annotations

import contextlib
import logging

from ..core import CfgNode
from ..evaluation.report import results_table
from ..tasks import build_task
from ..utils import comm
from ..utils.plugins import import_modules
from .evaluate import evaluate_only
from .setup import evaluation_folder, hold_output_dir, prepare_run
from .train import refuse_to_start_over, train

__all__ = ["run"]

logger = logging.getLogger(__name__)


def run(cfg: CfgNode, *, resume: bool = False, eval_only: bool = False) -> int:
    """Train and evaluate, or only evaluate, according to ``cfg``. Returns the exit status.

    0: success. 128 + N: training was stopped by signal N, after saving a checkpoint.

    Raises:
        UserError: the config, the data or the weights cannot be used; the loss became NaN or infinite.
    """
    import_modules(cfg.IMPORTS, "IMPORTS")  # a spawned process has not imported them yet
    task = build_task(cfg)
    task.complete_config(cfg)
    cfg.freeze()
    with contextlib.ExitStack() as held:
        if not eval_only:
            if comm.is_main_process():
                held.enter_context(hold_output_dir(cfg.OUTPUT_DIR))
            if not resume:
                refuse_to_start_over(cfg)  # before the log and config in OUTPUT_DIR are changed
        device = prepare_run(cfg, evaluation_folder(cfg) if eval_only else None)
        if eval_only:
            results = evaluate_only(cfg, task, device)
            status = 0
        else:
            results, status = train(cfg, task, device, resume)
    if comm.is_main_process() and results:
        logger.info("results\n%s", results_table(results))
    logger.info("output is in %s", cfg.OUTPUT_DIR)
    return status
