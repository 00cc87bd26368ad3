"""``modist-det doctor``: what a report of a problem should contain."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from pathlib import Path

import av
import torch
from tabulate import tabulate

from .. import __version__
from ..inference.persons.onnx import FastestDet, find_model, model_folders
from ..utils.cache import cache_folder
from .recipe import this_machine

__all__ = ["report"]

_PACKAGES = ("torch", "torchvision", "av", "opencv-python-headless", "numpy", "pyarrow")
_OPTIONAL = ("onnxruntime", "onnx", "safetensors", "pandas", "supervision", "detectron2")
_LITTLE_SHARED = 2**30  # bytes


def report() -> str:
    """A table of facts about this machine and installation."""
    machine = this_machine()
    rows = [
        ("modist_det", f"{__version__} in {Path(__file__).parents[1]}"),
        ("system", f"{platform.platform()}, Python {platform.python_version()}"),
        ("packages", ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)),
        ("optional packages", ", ".join(f"{name} {_version(name)}" for name in _OPTIONAL)),
        (
            "processor",
            f"{machine.cores} cores, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}",
        ),
        ("GPU", _gpus()),
        ("video decoders", _decoders()),
        ("person detector", _person_detector()),
        ("cache", f"{cache_folder()}: {_size(cache_folder())}"),
    ]
    shared = Path("/dev/shm")
    if shared.is_dir():
        free = shutil.disk_usage(shared).free
        remark = "; little for loaders, see --shm-size in INSTALL.md" if free < _LITTLE_SHARED else ""
        rows.append(("free shared memory", f"{free / 2**30:.1f} GiB{remark}"))
    rows.append(("free disk here", f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB"))
    return tabulate(rows, tablefmt="plain", disable_numparse=True)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _gpus() -> str:
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
    return ", ".join(names) or f"none (torch was built {built})"


def _decoders() -> str:
    wanted = ("h264", "hevc", "vp9", "av1", "mpeg4")
    there = [name for name in wanted if name in av.codecs_available]
    missing = [name for name in wanted if name not in there]
    library = ".".join(map(str, av.library_versions["libavcodec"]))
    return f"{', '.join(there)} (libavcodec {library})" + (
        f"; missing: {', '.join(missing)}" if missing else ""
    )


def _person_detector() -> str:
    path = find_model(FastestDet.file_name)
    if path:
        return f"{path}"
    return f"{FastestDet.file_name} is in none of {', '.join(map(str, model_folders()))}; {FastestDet.how_to_get}"


def _size(folder: Path) -> str:
    if not folder.is_dir():
        return "empty"
    total = sum((Path(place) / name).stat().st_size for place, _, names in os.walk(folder) for name in names)
    return f"{total / 2**20:.0f} MiB"
