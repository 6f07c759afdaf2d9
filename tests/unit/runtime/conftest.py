"""What the runtime's tests share: whole processes to interrupt, fork and end."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Start = Callable[..., "subprocess.Popen[str]"]


PRELUDE = """
import os, signal, sys, threading, time
import numpy as np
import loom

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored

@loom.kernel(workgroup=1)
def spin(x: loom.InOut[loom.u32], turns: loom.u32):
    for _ in range(turns):
        loom.atomic_add(x, 0, 1)

@loom.kernel(workgroup=1)
def add(x: loom.InOut[loom.u32], k: loom.u32):
    x[loom.global_id()] = x[loom.global_id()] + k

@loom.kernel(workgroup=1)
def refuse(x: loom.InOut[loom.u32], k: loom.u32):
    assert x[0] == k, "not so"

def steps(x, n, turns=1_000_000, on="cpu"):
    \"\"\"A program of n dispatches, each some milliseconds long and waiting for the one before.\"\"\"
    chain = loom.Chain(on)
    with chain.repeat(n):
        chain.dispatch(spin, [x], [turns])
    return chain.build()

x = np.zeros(4, np.uint32)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts Python on the prelude above and a script of a test's own."""
    begun: list[subprocess.Popen[str]] = []

    def begin(script: str, **settings: str) -> subprocess.Popen[str]:
        path = tmp_path / "script.py"
        path.write_text(PRELUDE + textwrap.dedent(script))
        process = subprocess.Popen(
            [sys.executable, str(path)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "LOOM_THREADS": "2", "PYTHONUNBUFFERED": "1", **settings},
        )  # fmt: skip
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def outcome(start: Start) -> Callable[..., str]:
    """Return a function that runs such a script to its end and gives what it printed."""

    def run(script: str, **settings: str) -> str:
        process = start(script, **settings)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        return out

    return run
