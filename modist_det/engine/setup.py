"""Set up a run: log, seeds, device, output folder."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import platform
import random
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .. import __version__
from ..core import CfgNode, Key, Limit, add_section
from ..utils import comm
from ..utils.errors import UserError
from ..utils.files import atomic_path

__all__ = [
    "evaluation_folder",
    "hold_output_dir",
    "machine_line",
    "prepare_run",
    "resolve_device",
    "seed_everything",
    "setup_logger",
    "write_config",
]

logger = logging.getLogger(__name__)

add_section(
    "",
    OUTPUT_DIR="output",
    # Seed of weights, sampling, augmentation and dropout. Runs with the same seed are identical.
    SEED=Key(0, Limit(0, 2**63 - 1)),
    # True: use only deterministic kernels, and fail if there is none (slower on CUDA).
    DETERMINISTIC=False,
    CUDNN_BENCHMARK=False,
)


class _TqdmHandler(logging.StreamHandler):
    """Writes log lines above progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stdout)
        sys.stdout.flush()


def setup_logger(output_dir: str | os.PathLike | None) -> None:
    """Write the package's log to the terminal (main process) and to ``output_dir/log.txt``.

    Other ranks write ``log.rankN.txt``. Another call replaces the handlers.
    """
    package_logger = logging.getLogger("modist_det")
    package_logger.setLevel(logging.INFO)
    package_logger.propagate = False
    for handler in list(package_logger.handlers):
        package_logger.removeHandler(handler)
        handler.close()
    formatter = logging.Formatter("[%(asctime)s] %(levelname)s %(message)s", "%m-%d %H:%M:%S")
    handlers: list[logging.Handler] = []
    rank = comm.get_rank()
    if rank == 0:
        handlers.append(_TqdmHandler())
    if output_dir is not None:
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(folder / ("log.txt" if rank == 0 else f"log.rank{rank}.txt")))
    for handler in handlers:
        handler.setFormatter(formatter)
        package_logger.addHandler(handler)


def resolve_device(name: str) -> torch.device:
    """Resolve ``MODEL.DEVICE``: "auto" is this rank's GPU if there is one, otherwise the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UserError(f"MODEL.DEVICE is {name!r}; use 'auto', 'cpu', 'cuda' or 'cuda:N'")
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError(
                f"MODEL.DEVICE is {name!r}, but no CUDA device is available; use MODEL.DEVICE cpu"
            )
        if device.index is None:
            device = torch.device("cuda", comm.get_local_rank())
        if device.index >= torch.cuda.device_count():
            raise UserError(
                f"{device} does not exist; this machine has {torch.cuda.device_count()} CUDA devices"
            )
        torch.cuda.set_device(device)
    return device


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch equally on all ranks, so that all build the same initial model."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (libraries that draw from the global generator)
    torch.manual_seed(seed)


def machine_line(device: torch.device) -> str:
    """Versions and device in one line."""
    import torchvision

    where = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    )
    return (
        f"modist_det {__version__}, torch {torch.__version__}, torchvision {torchvision.__version__}, "
        f"python {platform.python_version()}, {device} ({where}), {comm.get_world_size()} process(es)"
    )


@contextlib.contextmanager
def hold_output_dir(folder: str | os.PathLike, patience: float = 15.0) -> Iterator[None]:
    """Lock OUTPUT_DIR against other training runs; the lock is released when the process ends.

    Args:
        folder: created if missing; gets a file ``.lock``.
        patience: seconds to wait for the lock, since workers of a killed run hold it a little longer.

    Raises:
        UserError: another run holds the lock, or the folder cannot be written.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        file = (Path(folder) / ".lock").open("a")
    except OSError as error:
        raise UserError(f"OUTPUT_DIR {folder} cannot be written: {error.strerror}") from error
    with file:
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() - began > patience:
                    raise UserError(
                        f"another run is training in {folder}; wait until it ends, or choose another OUTPUT_DIR"
                    ) from None
                time.sleep(0.5)
                continue
            except OSError as error:
                logger.debug("%s cannot be locked on this file system: %s", folder, error)
            break
        yield


def write_config(cfg: CfgNode, folder: str | os.PathLike | None = None) -> None:
    """Write the resolved config as ``config.yaml`` to ``folder`` (main process); default: OUTPUT_DIR."""
    if comm.is_main_process():
        with atomic_path(Path(cfg.OUTPUT_DIR if folder is None else folder) / "config.yaml") as temporary:
            temporary.write_text(cfg.dump(), encoding="utf-8")


def evaluation_folder(cfg: CfgNode) -> Path:
    """The folder of evaluation results and their config."""
    return Path(cfg.OUTPUT_DIR) / "inference"


def prepare_run(cfg: CfgNode, config_folder: str | os.PathLike | None = None) -> torch.device:
    """Set up log, seeds and determinism; returns the device.

    Args:
        config_folder: folder of the config, for the log; default: OUTPUT_DIR.
    """
    output_dir = Path(cfg.OUTPUT_DIR)
    try:
        setup_logger(output_dir)
    except OSError as error:
        raise UserError(f"OUTPUT_DIR {output_dir} cannot be written: {error.strerror}") from error
    device = resolve_device(cfg.MODEL.DEVICE)
    logger.info("%s; config %s", machine_line(device), Path(config_folder or output_dir) / "config.yaml")
    seed_everything(cfg.SEED)
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    if cfg.DETERMINISTIC:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    return device
