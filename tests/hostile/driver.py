"""Starts processes that make hostile calls, and goes on after one that died or hung.

``python -m hostile.driver SEED FIRST COUNT`` prints what was found.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_PROCESS_SECONDS = 900


def found(seed: int, first: int, count: int) -> list[dict[str, Any]]:
    """Return everything wrong with ``count`` calls of a seed from ``first`` on: exceptions, deaths, hangs."""
    end, wrong = first + count, []
    while first < end:
        last, more, done = _one_process(seed, first, end - first)
        wrong += more
        if done:
            break
        first = last + 1
    return wrong


def _one_process(seed: int, first: int, count: int) -> tuple[int, list[dict[str, Any]], bool]:
    import loom

    here, source = Path(__file__).parent.parent, Path(loom.__file__).parent.parent
    with tempfile.TemporaryDirectory() as folder:
        paths = os.pathsep.join(map(str, (here, source)))
        settings = {**os.environ, "PYTHONPATH": paths, "HOSTILE_FOLDER": folder, "LOOM_PROGRESS": "0"}
        done = subprocess.run(
            [sys.executable, "-m", "hostile.calls", *map(str, (seed, first, count))],
            cwd=folder,
            env=settings,
            capture_output=True,
            timeout=_PROCESS_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    lines = done.stdout.decode(errors="replace").splitlines()
    wrong = [json.loads(line) for line in lines if line.startswith("{")]
    told = [line for line in lines if line.startswith("@")]
    if lines and lines[-1] == "done" and done.returncode == 0:
        return first + count, wrong, True
    if not told or (lines and lines[-1] == "done"):
        raise AssertionError(
            f"the process ended with {done.returncode}: {done.stderr.decode(errors='replace')[-2000:]}"
        )
    index, _, call = told[-1][1:].partition(" ")
    stack = done.stderr.decode(errors="replace")[-1500:]
    wrong.append(
        {"index": int(index), "call": call, "kind": f"died or hung ({done.returncode})", "text": stack, "spots": []}
    )
    return int(index), wrong, False


if __name__ == "__main__":
    for each in found(*(int(text) for text in sys.argv[1:4])):
        print(json.dumps(each), flush=True)
