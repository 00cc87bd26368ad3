"""Describes the machine on which a measurement is made."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["BUSY", "describe_machine", "machine_line"]

# Distributions whose versions matter to the results. Their metadata is read, nothing is imported.
_PACKAGES = ("torch", "torchvision", "numpy", "av", "opencv-python-headless")

# More running processes per core than this before the measurement: the machine is busy with other work.
BUSY = 0.25


def describe_machine(threads: int = 1, device: str = "cpu") -> dict[str, Any]:
    """Facts about hardware, software and current load.

    Args:
        threads: with which the measured code computes.
        device: on which; CUDA devices by their names.
    """
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return {
        "cpu": _cpu_model(),
        "cores": len(affinity(0)) if affinity else os.cpu_count() or 1,
        "threads": threads,
        "device": device,
        "memory_gib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def machine_line(machine: dict[str, Any]) -> str:
    """What :func:`describe_machine` found, in one line; two where other jobs are running."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    line = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']:.0f} GiB, {machine['system']}; "
        f"{machine['device']}, threads {machine['threads']}; {versions}; load {machine['load']:.1f}"
    )
    if machine["load"] > BUSY * machine["cores"]:
        line += "\nother jobs are running: trust ratios and CPU times more than times"
    return line


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
