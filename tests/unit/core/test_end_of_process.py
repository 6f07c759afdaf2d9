"""What finalizers call at the very end of a process, when Python imports nothing, ends in an error of Loom."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_SOURCE = """
import builtins, os, sys
import numpy as np
import loom
from loom import tensor

@loom.kernel
def double(x: loom.In[loom.f32], out: loom.Out[loom.f32]):
    i = loom.global_id()
    out[i] = x[i] * 2

x, out = np.ones(4, np.float32), np.zeros(4, np.float32)
calls = [lambda: double(x, out), lambda: loom.gpu_sum(x), lambda: loom.array(x), lambda: tensor.exp(x)]
calls += [lambda: loom.Network]
if sys.argv[1] == "warm":
    double(x, out)

class Last:
    def __del__(self):
        for call in self.calls:
            try:
                call()
                self.write(1, b"answered\\n")
            except BaseException as error:
                self.write(1, f"{type(error).__name__} {error}\\n".encode())

last = builtins.last = Last()
last.calls, last.write, last.itself = calls, os.write, last
"""


@pytest.mark.parametrize("state", ["cold", "warm"])
def test_a_call_at_the_end_is_refused_in_words(state: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _SOURCE, state]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    lines = found.stdout.splitlines()
    assert len(lines) == 5
    for line in lines:
        assert line == "answered" or line.startswith("StateError ["), line
        assert line == "answered" or "the process is at its end" in line
        assert line == "answered" or "atexit.register" in line
    assert lines[-1] != "answered"
