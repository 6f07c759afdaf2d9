"""The machine and the versions that figures were taken with, and the number of threads all sides use."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench.harness import THREADS

__all__ = ["load_average", "machine_facts", "use_threads"]

_THREAD_SETTINGS = ("LOOM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Some machines set them, and OpenBLAS then runs kernels of another processor."""


def use_threads() -> None:
    """Give libraries, here and in child processes, ``THREADS`` threads and their own choice of kernels.

    Call it before importing them.
    """
    for name in _THREAD_SETTINGS:
        os.environ[name] = str(THREADS)
    for name in _SLOWING:
        os.environ.pop(name, None)


def load_average() -> list[float]:
    """Return the load averages over 1, 5 and 15 minutes, none where the system has none."""
    return [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else []


def machine_facts() -> dict[str, Any]:
    """Return processor, cores, system and versions."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": THREADS,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "openblas": _openblas_kernel(),
        "versions": _versions(),
    }


def _openblas_kernel() -> str:
    """Return which processor's kernels numpy's OpenBLAS runs."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "unknown, threadpoolctl is not installed"
    found = {str(i["architecture"]) for i in threadpool_info() if i.get("internal_api") == "openblas"}
    return ", ".join(sorted(found)) or "none loaded"


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    from loom.core.version import __version__

    found = {"python": platform.python_version(), "loom": __version__}
    for package in ("numpy", "llvmlite", "torch"):
        if package in sys.modules or package == "llvmlite":
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                continue
    return found
