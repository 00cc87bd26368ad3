"""Slow and SlowFast R50 8x8 against PySlowFast's own modules, with the same weights in the same process."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...checkpoint import load_weights
from ...model_zoo import get_config
from ...modeling import build_model
from ...utils.errors import UserError
from .machine import describe_machine
from .report import Report, Series

__all__ = ["NETWORKS", "Network", "compare", "pyslowfast_package", "run_pyslowfast"]


class Network(NamedTuple):
    """The same network here and there.

    Attributes:
        config: name in the model zoo.
        theirs: config file below ``configs/`` of PySlowFast.
        frames: of a clip.
        alpha: PySlowFast's slow pathway gets every ``alpha``-th frame of two; 0: there is one pathway.
    """

    config: str
    theirs: str
    frames: int
    alpha: int


NETWORKS = {
    "Slow R50 8x8": Network("pyslowfast/slow_8x8_r50_k400", "Kinetics/SLOW_8x8_R50.yaml", 8, 0),
    "SlowFast R50 8x8": Network("pyslowfast/slowfast_8x8_r50_k400", "Kinetics/SLOWFAST_8x8_R50.yaml", 32, 4),
}
_LABEL = 3


def run_pyslowfast(args: argparse.Namespace) -> Report:
    """``tools/benchmark.py pyslowfast``."""
    if args.threads:
        torch.set_num_threads(args.threads)
    machine = describe_machine(torch.get_num_threads())
    settings: dict[str, Any] = {"batch size": 1, "crop": args.crop}
    series = []
    with pyslowfast_package(args.source) as replaced:
        settings["modules of PySlowFast replaced by empty ones"] = " ".join(replaced)
        for name, network in NETWORKS.items():
            rows, difference = compare(network, Path(args.source), args.crop, repeat=args.repeat)
            settings[f"{name}: relative difference of scores"] = f"{difference:.0e}"
            for row in rows:
                row.name = f"{name}, {row.name}"
            series += rows
    return Report("networks of PySlowFast, here and there", "clip", machine, settings, series)


def compare(network: Network, source: Path, crop: int, *, repeat: int) -> tuple[list[Series], float]:
    """Time forward passes in evaluation and training steps (forward, backward, SGD) of one clip, in pairs.

    Inside :func:`pyslowfast_package`. One pair of each kind goes before the ``repeat`` and is not counted.

    Returns:
        Theirs and ours in evaluation and in training, and the largest difference of scores as a share of the highest.
    """
    torch.manual_seed(0)
    theirs, ours = _their_model(network, source, crop), build_model(get_config(network.config, trained=False))
    for module in theirs.modules():  # initial networks have zeros at the ends of their blocks
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "theirs.pyth"
        torch.save({"model_state": theirs.state_dict()}, weights)
        load_weights(ours, weights).require_complete()
    clip = torch.randn(1, 3, network.frames, crop, crop)
    pathways = [clip]
    if network.alpha:  # as PySlowFast's loader chooses them
        indices = torch.linspace(0, network.frames - 1, network.frames // network.alpha).long()
        pathways = [clip[:, :, indices], clip]
    batch = {"video": clip, "labels": torch.tensor([_LABEL])}

    def their_loss() -> Tensor:
        return nn.functional.cross_entropy(theirs(pathways), batch["labels"])

    series = []
    for model in (theirs, ours):
        model.eval()
    with torch.no_grad():
        scores = theirs(pathways)[0]
        difference = ((scores - ours(batch)[0]["scores"]).abs().max() / scores.max()).item()
        series += _pairs("evaluation", lambda: theirs(pathways), lambda: ours(batch), repeat)
    their_step = _step(theirs.train(), their_loss)
    our_step = _step(ours.train(), lambda: ours(batch)["loss_class"])
    series += _pairs("training step", their_step, our_step, repeat)
    return series, difference


def _pairs(kind: str, theirs: Callable, ours: Callable, repeat: int) -> list[Series]:
    rows = [Series(f"{kind}: PySlowFast"), Series(f"{kind}: modist_det")]
    theirs(), ours()
    for _ in range(repeat):
        for row, work in zip(rows, (theirs, ours), strict=True):
            with row.sample():
                work()
    rows[1].compare(rows[0], "x PySlowFast")
    return rows


def _step(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _their_model(network: Network, source: Path, crop: int) -> nn.Module:
    from slowfast.config.defaults import get_cfg
    from slowfast.models import build_model

    cfg = get_cfg()
    cfg.merge_from_file(str(source / "configs" / network.theirs))
    cfg.NUM_GPUS = 0
    cfg.DATA.TRAIN_CROP_SIZE = cfg.DATA.TEST_CROP_SIZE = crop
    return build_model(cfg)


@contextlib.contextmanager
def pyslowfast_package(source: str | Path) -> Iterator[list[str]]:
    """Make the package ``slowfast`` of a checkout importable.

    The modules that it imports but that are not installed are replaced by empty ones, which is enough for its
    ResNets. Gives their names. Nothing of it can be imported afterwards.

    Raises:
        UserError: ``source`` is no checkout.
    """
    if not (Path(source) / "slowfast" / "models" / "video_model_builder.py").is_file():
        raise UserError(
            f"--source {source} is no checkout of PySlowFast: it has no slowfast/models/video_model_builder.py; "
            "git clone https://github.com/facebookresearch/SlowFast"
        )
    before, replaced = set(sys.modules), []
    sys.path.insert(0, str(source))
    try:
        while True:
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    importlib.import_module("slowfast.models")
                    importlib.import_module("slowfast.config.defaults")
                break
            except ModuleNotFoundError as error:
                if error.name is None or error.name in sys.modules or error.name.startswith("slowfast"):
                    raise
                sys.modules[error.name] = _Empty(error.name)
                replaced.append(error.name)
                for name in [name for name in sys.modules if name.startswith("slowfast")]:
                    del sys.modules[name]  # half imported
        yield replaced
    finally:
        sys.path.remove(str(source))
        for name in set(sys.modules) - before:
            if name.startswith("slowfast") or name in replaced:
                del sys.modules[name]


class _Empty(types.ModuleType):
    """A module in which every name is an empty class."""

    __path__: list[str] = []  # so that it can have submodules

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})
