"""A training run: build everything in a config, and train."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..checkpoint import load_weights
from ..checkpoint.checkpointer import Checkpointer
from ..checkpoint.reading import classes_inside
from ..core import COUNT, NOT_NEGATIVE, SHARE, CfgNode, Key, add_section
from ..data.build import BadVideoMonitor, build_train_loader, iterations_per_epoch
from ..data.samplers import training_steps
from ..modeling import PretrainingMethod, build_model
from ..solver import build_lr_schedule, build_optimizer, clip_gradients
from ..structures.class_facts import ClassFacts, check_same_classes
from ..structures.samples import Batch
from ..tasks import Task
from ..utils import comm
from ..utils.errors import UserError
from ..utils.modules import kept_modes
from . import hooks
from .evaluate import (
    build_test_sets,
    checkpoint_folder,
    evaluate,
    place_model,
    start_from_weights,
)
from .loggers import build_loggers
from .metrics import (
    ConsoleWriter,
    JSONWriter,
    NonFiniteError,
    TensorBoardWriter,
    Writer,
    is_evaluation,
    read_metrics,
)
from .precision import autocast_factory, build_grad_scaler, precision_name
from .setup import write_config
from .sharding import gathered, shard_model, shard_optimizer_state, whole
from .trainer import Hook, Trainer, seed_step

__all__ = ["refuse_to_start_over", "train"]

logger = logging.getLogger(__name__)

add_section(
    "",
    # Iterations between two log lines, metrics.json lines and TensorBoard points.
    LOG_PERIOD=Key(20, COUNT),
    # Epochs between images in TensorBoard: detections on some test keyframes, or pretraining clips; 0: none.
    PICTURE_PERIOD=Key(0.0, NOT_NEGATIVE),
)
add_section(
    "SOLVER",
    ACCUMULATION_STEPS=Key(1, COUNT),
    # Epochs between checkpoints (0: only the last) and number of checkpoints to keep (0: all).
    CHECKPOINT_PERIOD=Key(1.0, NOT_NEGATIVE),
    CHECKPOINTS_KEPT=Key(3, NOT_NEGATIVE),
    # Metric of the evaluations by which the best checkpoint is kept as model_best.pth: a name such as mAP or top1, with
    # the test set before it if there are several (puppets_val/mAP); "auto": the first one; "": none is kept.
    BEST_METRIC="",
    # Evaluations in a row without a better BEST_METRIC after which training ends; 0: never.
    PATIENCE=Key(0, NOT_NEGATIVE),
)
add_section(
    "DISTRIBUTED",
    # What several processes share: "ddp", the gradients; "fsdp", also weights and optimizer states, for large models.
    STRATEGY="ddp",
)
# Exponential moving average of the weights, used in evaluation if enabled.
add_section("MODEL.EMA", ENABLED=False, DECAY=Key(0.9999, SHARE))
add_section("TEST", EVAL_PERIOD=Key(0.0, NOT_NEGATIVE))  # epochs between evaluations; 0: only at the end
# Recompute BN statistics over this many training batches before each evaluation and the last checkpoint.
add_section("TEST.PRECISE_BN", ENABLED=False, NUM_ITER=Key(200, COUNT))


@dataclass
class TrainingState:
    """The state of a training run that is saved in checkpoints, and its number of steps."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    averaged: AveragedModel | None
    facts: dict[str, Any]  # must be equal for a resumed run to continue exactly
    classes: ClassFacts | None = None  # classes of the model's outputs
    iteration: int = 0
    sharded: bool = False

    @classmethod
    def build(
        cls, cfg: CfgNode, device: torch.device, num_records: int, classes: ClassFacts | None
    ) -> TrainingState:
        """Build a newly initialized model with its optimizer and averaged weights."""
        model = place_model(cfg, build_model(cfg), device)
        if cfg.MODEL.SYNC_BN and comm.get_world_size() > 1:
            if device.type != "cuda":
                raise UserError(
                    f"MODEL.SYNC_BN needs CUDA, but the model is on {device}; set MODEL.SYNC_BN False"
                )
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        averaged = None
        if cfg.MODEL.EMA.ENABLED:
            averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(cfg.MODEL.EMA.DECAY))
        return cls(
            model=model,
            optimizer=build_optimizer(cfg, model),
            scaler=build_grad_scaler(cfg, device),
            averaged=averaged,
            facts={
                "seed": cfg.SEED,
                "clips a step": cfg.SOLVER.IMS_PER_BATCH,
                "samples": num_records,
                "precision": precision_name(cfg, device),
            },
            classes=classes,
        )

    @property
    def evaluated_model(self) -> nn.Module:
        """The model with averaged weights if enabled, otherwise the trained model."""
        return self.model if self.averaged is None else self.averaged.module

    def shard(self, cfg: CfgNode) -> None:
        """Distribute weights and optimizer state over the processes, after they were loaded."""
        saved = self.optimizer.state_dict()
        for model in (self.model,) if self.averaged is None else (self.model, self.averaged.module):
            shard_model(model)
        self.optimizer = build_optimizer(cfg, self.model)
        self.optimizer.load_state_dict(shard_optimizer_state(saved, self.optimizer))
        self.sharded = True

    def whole_weights(self) -> contextlib.AbstractContextManager:
        """The context in which a process may call :attr:`evaluated_model` as often as it needs."""
        return gathered(self.evaluated_model) if self.sharded else contextlib.nullcontext()

    def state_dict(self, cfg: CfgNode, iteration: int) -> dict[str, Any]:
        """The content of a checkpoint; if the state is sharded, all processes must call this."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "iteration": iteration,
            "config": cfg.dump(),
            "run": self.facts,
        }
        if self.classes is not None:
            state["class_facts"] = self.classes.to_dict()
        if self.averaged is not None:
            state["ema"] = self.averaged.module.state_dict()
            state["ema_updates"] = int(self.averaged.n_averaged)
        return whole(state) if self.sharded else state

    def load(self, state: dict[str, Any], path: Path) -> None:
        """Restore the state from checkpoint ``path``.

        Raises:
            UserError: it has another architecture, optimizer or classes, or is not a checkpoint of a run.
        """
        classes = classes_inside(state, str(path))
        if classes is not None and self.classes is not None:
            check_same_classes(classes, self.classes)
        try:
            self.model.load_state_dict(state["model"])
            _check_same_optimizer(self.optimizer, state["optimizer"])
            self.optimizer.load_state_dict(state["optimizer"])
            if state["scaler"]:  # empty if the run was not in fp16
                self.scaler.load_state_dict(state["scaler"])
            if self.averaged is not None:
                self.averaged.module.load_state_dict(state["ema"])
                self.averaged.n_averaged.fill_(state["ema_updates"])
            run, self.iteration = dict(state["run"]), int(state["iteration"])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = (
                f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:300]
            )
            raise UserError(
                f"{path} does not fit this config ({reason}); resume with the config "
                "OUTPUT_DIR/config.yaml, or start from its weights with MODEL.WEIGHTS"
            ) from error
        for name, value in self.facts.items():
            before = run.get(name, value)  # checkpoints of earlier versions do not have all of them
            if before != value:
                logger.warning(
                    "%s: %s, before %s; the run continues, but not exactly as before", name, value, before
                )


def _check_same_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Torch accepts the state of another optimizer class and would fail in the next step."""
    telling = {"momentum", "betas", "trust"}
    if telling & optimizer.param_groups[0].keys() != telling & saved["param_groups"][0].keys():
        raise ValueError("it was made with another SOLVER.OPTIMIZER")


def train(
    cfg: CfgNode, task: Task, device: torch.device, resume: bool
) -> tuple[dict[str, dict[str, Any]], int]:
    """Train according to ``cfg``; returns the metrics of the last evaluation and the exit status (see ``run``)."""
    _check_best(cfg)
    sharded = _is_sharded(cfg)
    records, mapper = task.train_data(cfg)
    test_sets = build_test_sets(cfg, task)
    epoch_length = iterations_per_epoch(len(records), cfg.SOLVER.IMS_PER_BATCH)
    total = cfg.SOLVER.MAX_EPOCH * epoch_length
    max_iter = training_steps(len(records), cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.MAX_EPOCH)
    checkpointer = Checkpointer(checkpoint_folder(cfg), keep=cfg.SOLVER.CHECKPOINTS_KEPT)
    state = TrainingState.build(cfg, device, len(records), task.class_facts())
    _fill_from_checkpoint(cfg, state, checkpointer, resume)
    if sharded:
        state.shard(cfg)
    write_config(cfg)  # only after it is known to match the checkpoints in OUTPUT_DIR
    logger.info(
        "%d training samples, %d steps an epoch, %d steps in all, from step %d",
        len(records),
        epoch_length,
        max_iter,
        state.iteration,
    )

    def batches(first_iteration: int) -> Iterator[Batch]:
        loader = build_train_loader(
            records,
            mapper,
            stack=task.collate,
            batch_size=cfg.SOLVER.IMS_PER_BATCH,
            seed=cfg.SEED,
            start_iteration=first_iteration,
            accumulation_steps=cfg.SOLVER.ACCUMULATION_STEPS,
            num_workers=cfg.DATALOADER.NUM_WORKERS,
            prefetch_factor=cfg.DATALOADER.PREFETCH_FACTOR,
            pin_memory=cfg.DATALOADER.PIN_MEMORY,
            shards_at_a_time=cfg.DATALOADER.SHARDS_AT_A_TIME,
            rank=comm.get_rank(),
            world_size=comm.get_world_size(),
        )
        return BadVideoMonitor(cfg.DATALOADER.MAX_BAD_VIDEO_RATE).watch(loader)

    def prepare_evaluation(iteration: int) -> None:
        model = state.evaluated_model
        if cfg.TEST.PRECISE_BN.ENABLED:
            number = min(cfg.TEST.PRECISE_BN.NUM_ITER, epoch_length) * cfg.SOLVER.ACCUMULATION_STEPS
            seed_step(cfg.SEED, iteration, comm.get_rank())  # a resumed run computes the same
            with autocast_factory(cfg, device)():
                _recompute_bn_statistics(model, itertools.islice(batches(iteration), number), number)
        _broadcast_buffers(model)

    def evaluate_now(iteration: int) -> dict[str, dict[str, Any]]:
        with state.whole_weights():
            return evaluate(cfg, test_sets, state.evaluated_model, device, iteration)

    if state.iteration > max_iter:
        logger.info("all %d steps are done: only evaluating", max_iter)
        prepare_evaluation(state.iteration)
        return evaluate_now(state.iteration), 0

    evaluation_period = cfg.TEST.EVAL_PERIOD * epoch_length
    missing = _evaluation_is_missing(cfg, state.iteration, max_iter, evaluation_period)
    writers = _build_writers(cfg, max_iter, state.iteration, missing)
    saving = hooks.CheckpointHook(
        checkpointer,
        lambda trainer: state.state_dict(cfg, trainer.iteration),
        cfg.SOLVER.CHECKPOINT_PERIOD * epoch_length,
    )
    evaluation_hook: Callable[..., hooks.EvaluationHook] = hooks.EvaluationHook
    if cfg.SOLVER.BEST_METRIC:
        evaluation_hook = functools.partial(
            hooks.BestHook,
            metric=cfg.SOLVER.BEST_METRIC,
            patience=cfg.SOLVER.PATIENCE,
            checkpointer=checkpointer,
            state=saving.state,
        )
    evaluation = evaluation_hook(evaluate_now, evaluation_period, writers, missing)
    pictures = _build_picture_hooks(cfg, task, state, device, cfg.PICTURE_PERIOD * epoch_length, writers)
    averaging = [] if state.averaged is None else [hooks.AverageHook(state.averaged, state.model)]
    clip = cfg.SOLVER.CLIP_GRADIENTS
    trainer = Trainer(
        _wrap(cfg, state),
        state.optimizer,
        batches(state.iteration),
        max_iter,
        start_iteration=state.iteration,
        accumulation_steps=cfg.SOLVER.ACCUMULATION_STEPS,
        seed=cfg.SEED,
        autocast=autocast_factory(cfg, device),
        scaler=state.scaler,
        clip=functools.partial(clip_gradients, clip_type=clip.CLIP_TYPE, clip_value=clip.CLIP_VALUE)
        if clip.ENABLED
        else None,
        hooks=[
            hooks.ScheduleHook(build_lr_schedule(cfg), total, state.model),
            *averaging,
            hooks.StopOnSignalHook(),
            hooks.LogHook(cfg.LOG_PERIOD, epoch_length, writers),
            hooks.StatisticsHook(prepare_evaluation, evaluation_period, missing),
            saving,
            *pictures,
            evaluation,
            hooks.ProgressHook(),
        ],
    )
    try:
        trainer.train()
    except NonFiniteError as error:
        raise UserError(f"{error}; last good checkpoint: {checkpointer.last() or 'none yet'}") from error
    except Exception:
        # After too many bad videos, a dead worker or a failed evaluation the steps so far are saved, unless they can
        # only be saved by all processes together.
        if trainer.whole and trainer.iteration > state.iteration and not state.sharded:
            try:
                saving.after_train(trainer)
            except UserError as error:
                logger.error("the steps since the last checkpoint are lost: %s", error)
        raise
    if trainer.stop_requested:
        logger.info("stopped after %d of %d steps; continue with --resume", trainer.iteration, max_iter)
        return {}, 128 + trainer.stop_signal
    return evaluation.results, 0


def _is_sharded(cfg: CfgNode) -> bool:
    strategy = cfg.DISTRIBUTED.STRATEGY
    if strategy not in ("ddp", "fsdp"):
        raise UserError(f"DISTRIBUTED.STRATEGY is {strategy!r}; known: 'ddp', 'fsdp'")
    if strategy == "ddp" or comm.get_world_size() == 1:
        return False
    for key, value, off in (
        ("PICTURE_PERIOD", cfg.PICTURE_PERIOD, "0"),
        ("SOLVER.BEST_METRIC", cfg.SOLVER.BEST_METRIC, "''"),
    ):
        if value:
            raise UserError(
                f"{key} is for the main process alone, which with DISTRIBUTED.STRATEGY fsdp does not have all weights: "
                f"set it to {off}"
            )
    return True


def _check_best(cfg: CfgNode) -> None:
    """Raise ``UserError`` if no evaluation could give SOLVER.BEST_METRIC, or count for SOLVER.PATIENCE."""
    if cfg.SOLVER.BEST_METRIC and not cfg.DATASETS.TEST:
        raise UserError(f"SOLVER.BEST_METRIC is {cfg.SOLVER.BEST_METRIC}, but DATASETS.TEST is empty")
    if cfg.SOLVER.PATIENCE and not (cfg.SOLVER.BEST_METRIC and cfg.TEST.EVAL_PERIOD):
        raise UserError(
            "SOLVER.PATIENCE counts evaluations during training: set SOLVER.BEST_METRIC (such as auto) and "
            "TEST.EVAL_PERIOD (in epochs), too"
        )


def _evaluation_is_missing(cfg: CfgNode, iteration: int, max_iter: int, period: float) -> bool:
    """Whether a resumed run must repeat an evaluation that was interrupted after its checkpoint was saved."""
    if not iteration or not (iteration == max_iter or hooks.is_due(iteration, period)):
        return False
    if iteration == max_iter:
        return True  # the run ends with its results
    path = Path(cfg.OUTPUT_DIR) / "metrics.json"
    rows = read_metrics(path) if comm.is_main_process() and path.exists() else []
    return not comm.broadcast_object(any(is_evaluation(row) for row in rows if row["iteration"] == iteration))


def refuse_to_start_over(cfg: CfgNode) -> None:
    """Raise ``UserError`` if OUTPUT_DIR already has checkpoints, which a new run would mix with its own."""
    folder = checkpoint_folder(cfg)
    if Checkpointer(folder).last() is not None:
        raise UserError(
            f"{folder} already holds checkpoints; continue with --resume, or choose another OUTPUT_DIR"
        )


def _fill_from_checkpoint(
    cfg: CfgNode, state: TrainingState, checkpointer: Checkpointer, resume: bool
) -> None:
    """Fill ``state`` from the run's last checkpoint (``resume``) or from ``MODEL.WEIGHTS``."""
    if resume:
        if comm.is_main_process():
            checkpointer.remove_leftovers()
        loaded = checkpointer.load_last()
        if loaded is not None:
            path, content = loaded
            state.load(content, path)
            logger.info("resumed %s after %d steps", path, state.iteration)
            changes = cfg.changes_from(content.get("config", ""), str(path))
            if changes:
                logger.warning("settings changed since the checkpoint: %s", "; ".join(changes))
            return
        logger.info("no checkpoint in %s: starting from step 0", checkpointer.folder)
    if isinstance(state.model, PretrainingMethod):
        _load_further_weights(state.model, cfg)
    if cfg.MODEL.WEIGHTS:
        start_from_weights(state.model, cfg.MODEL.WEIGHTS, cfg, state.classes)
    if state.averaged is not None:
        state.averaged.module.load_state_dict(state.model.state_dict())


def _load_further_weights(method: PretrainingMethod, cfg: CfgNode) -> None:
    for prefix, path in method.further_weights(cfg).items():
        part = prefix.rstrip(".")
        logger.info("%s: %s", part, load_weights(method.get_submodule(part), path, part=prefix))
        method.weights_loaded()


def _build_writers(cfg: CfgNode, max_iter: int, start_iteration: int, evaluates: bool) -> list[Writer]:
    if not comm.is_main_process():
        return []
    output_dir = Path(cfg.OUTPUT_DIR)
    return [
        ConsoleWriter(max_iter),
        JSONWriter(output_dir / "metrics.json", start_iteration, evaluates),
        TensorBoardWriter(output_dir / "tensorboard", start_iteration),
        *build_loggers(cfg),
    ]


def _build_picture_hooks(
    cfg: CfgNode,
    task: Task,
    state: TrainingState,
    device: torch.device,
    period: float,
    writers: list[Writer],
) -> list[Hook]:
    """The main process's image hook, if PICTURE_PERIOD is set."""
    if cfg.PICTURE_PERIOD == 0:
        return []
    boards = [writer for writer in writers if isinstance(writer, TensorBoardWriter)]
    if not boards:
        return []
    pictures = task.pictures(cfg)
    if pictures is None:
        raise UserError(
            f"PICTURE_PERIOD is {cfg.PICTURE_PERIOD}, but TASK {cfg.TASK} has no images to draw; set it to 0"
        )

    def draw(iteration: int) -> dict[str, Any]:
        with autocast_factory(cfg, device)():
            return pictures(state.evaluated_model, iteration)

    return [hooks.PictureHook(draw, period, boards[0])]


def _wrap(cfg: CfgNode, state: TrainingState) -> nn.Module:
    model = state.model
    if cfg.MODEL.COMPILE:
        model.compile()  # in place: parameter names stay the same
    if comm.get_world_size() > 1 and not state.sharded:
        # The model moves its batches itself; BN statistics are broadcast before each evaluation.
        return DistributedDataParallel(model, broadcast_buffers=False)
    return model


def _recompute_bn_statistics(model: nn.Module, batches: Iterator[Batch], number: int) -> None:
    """Replace the running averages of BN statistics by exact averages over ``number`` training batches.

    Nothing else in the model changes. If this fails, nothing changes, because the model may then be saved.
    """
    # Imported here because fvcore.nn prints a deprecation warning of torch.
    from fvcore.nn.precise_bn import update_bn_stats

    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    done = False
    with kept_modes(model), torch.no_grad():
        model.train()
        try:
            update_bn_stats(model, batches, number)
            done = True
        finally:
            for name, tensor in model.state_dict().items():
                if not done or not name.endswith(("running_mean", "running_var")):
                    tensor.copy_(before[name])


def _broadcast_buffers(model: nn.Module) -> None:
    """Broadcast the main process's BN statistics, so that all ranks evaluate the same model."""
    if comm.get_world_size() > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, 0)
