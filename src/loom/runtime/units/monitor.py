"""What a running process shows to ``loom monitor``: a small file, written anew every half second, gone with it.

Layer: runtime. Nothing is shown unless asked for, by ``LOOM_MONITOR=1`` or ``loom.publish()``. Each process has a file
of its own, in the folder ``monitor`` beside the compiled kernels, so that there is no server, no port and no lock.
Invariant: showing changes no result, and a process that cannot write its file runs on.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from loom.core import options
from loom.core.errors import StateError
from loom.runtime.port.budget import LEDGER
from loom.runtime.port.cache import cache_folder
from loom.storage.atomic import replace_file

__all__ = ["document", "list_processes", "publish", "publish_if_asked"]

_QUERY, _STILL_ACTIVE = 0x1000, 259
"""PROCESS_QUERY_LIMITED_INFORMATION, and the exit code of what has not ended, of Windows."""
_INTERVAL_SECONDS = 0.5
_STALE_SECONDS = 15.0
"""A file this old belongs to a process that hangs, is stopped, or whose number another has now."""
_started: set[int] = set()
_begun = time.time()


def document() -> dict[str, Any]:
    """Return what this process shows: JSON with its devices, units, memory, runs and paces (microseconds)."""
    units = [found for unit in LEDGER.units() if (found := _unit(unit)) is not None]
    devices: dict[str, dict[str, Any]] = {}
    for unit in units:
        entry = devices.setdefault(
            unit["device"], {"name": unit["device"], "units": 0, "nbytes": 0, "submissions": 0, "in_flight": 0}
        )
        entry["units"] += 1
        for key in ("nbytes", "submissions", "in_flight"):
            entry[key] += unit[key]
    return {
        "pid": os.getpid(), "command": " ".join(sys.argv) or "python", "begun": _begun, "written": time.time(),
        "nbytes": LEDGER.nbytes, "budget_nbytes": LEDGER.most_nbytes, "devices": list(devices.values()), "units": units,
    }  # fmt: skip


def _unit(unit: Any) -> dict[str, Any] | None:
    """Return what a unit shows, None if it was shut down meanwhile."""
    with contextlib.suppress(StateError):
        status = unit.status()
        return {
            "name": unit.name, "device": unit.device.name, "nbytes": unit.nbytes, "recorded": unit.recorded,
            "parked": unit.is_parked, "submissions": status.submissions, "in_flight": status.in_flight,
            "mode": status.mode, "baseline_us": status.baseline, "last_us": status.last, "pace_us": status.pace,
            "programs": [
                {"dispatches": p.dispatches, "baseline_us": p.baseline, "last_us": p.last, "pace_us": p.pace}
                for p in status.programs
            ],
        }  # fmt: skip
    return None


def publish() -> None:
    """Show this process to ``loom monitor`` from now on; calling it again does nothing.

    >>> import loom
    >>> loom.publish()
    """
    process = os.getpid()  # a fork has no thread of its parent's, and publishes for itself
    if process in _started:
        return
    _started.add(process)
    _write()
    threading.Thread(target=_keep_writing, name="loom monitor", daemon=True).start()
    atexit.register(_withdraw)


def publish_if_asked() -> None:
    """Show this process if ``LOOM_MONITOR=1`` says so."""
    if options.monitor_wanted():
        publish()


def _keep_writing() -> None:
    while os.getpid() in _started:
        time.sleep(_INTERVAL_SECONDS)
        if os.getpid() in _started:
            _write()


def _write() -> None:
    with contextlib.suppress(OSError):
        replace_file(_path(os.getpid()), json.dumps(document()).encode())


def _withdraw() -> None:
    _started.discard(os.getpid())
    _path(os.getpid()).unlink(missing_ok=True)


def _path(process: int) -> Path:
    return cache_folder() / "monitor" / f"{process}.json"


def list_processes() -> list[dict[str, Any]]:
    """Return what the processes of this user show now, the oldest first; files of those that died are removed."""
    found: list[dict[str, Any]] = []
    folder = cache_folder() / "monitor"
    for path in folder.glob("*.json") if folder.is_dir() else ():
        if not path.stem.isdecimal() or not _is_alive(int(path.stem)):
            path.unlink(missing_ok=True)
            continue
        with contextlib.suppress(OSError, ValueError):
            shown = json.loads(path.read_bytes())
            if time.time() - shown["written"] <= _STALE_SECONDS:
                found.append(shown)
    return sorted(found, key=lambda shown: shown["begun"])


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # there os.kill sends whatever it is given
        kernel: Any = ctypes.WinDLL("kernel32")
        handle, code = kernel.OpenProcess(_QUERY, False, process), ctypes.c_ulong()
        kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel.CloseHandle(handle)
        return bool(handle) and code.value == _STILL_ACTIVE
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
