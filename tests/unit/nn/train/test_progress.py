"""Progress: a bar on a terminal, a line in a notebook, nothing anywhere else."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import loom

DOCUMENT = {"format": "loom/1", "seed": 1, "input": {"shape": [2]}, "layers": [{"type": "dense", "output_size": 1}]}
X = np.ones((8, 2), "f4")


def trained(**options: Any) -> loom.nn.History:
    return loom.Network.from_json(DOCUMENT).train(X, X[:, :1], epochs=3, batch_size=4, **options)


class ZMQInteractiveShell:
    """What a notebook's kernel is called."""


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []

    class Handle:
        def update(self, data: dict[str, str], *, raw: bool) -> None:
            assert raw
            found.append(data["text/plain"])

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        found.append(data["text/plain"])
        return Handle()

    python = types.ModuleType("IPython")
    python.get_ipython = ZMQInteractiveShell  # type: ignore[attr-defined]
    shown = types.ModuleType("IPython.display")
    shown.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", python)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    return found


def test_a_line_in_a_notebook(lines: list[str]) -> None:
    history = trained()
    assert lines[0] == "training"
    assert lines[-1] == f"epoch 3/3  loss {history.loss[-1]:.4g}  100%"


def test_a_notebook_may_be_told_to_be_quiet(lines: list[str]) -> None:
    trained(progress=False)
    assert lines == []


PROGRAM = f"""
import loom, numpy as np
net = loom.Network.from_json({DOCUMENT})
net.train(np.ones((8, 2), "f4"), np.ones((8, 1), "f4"), epochs=3, batch_size=4)
"""


def test_a_bar_on_a_terminal() -> None:
    theirs, ours = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=ours, env=environment) as child:
        os.close(ours)
        told = b"".join(_read_all(theirs))
    assert child.returncode == 0
    assert b"epoch 3/3" in told
    os.close(theirs)


def _read_all(terminal: int) -> Iterator[bytes]:
    """Read while somebody may write: a read gives no more than 4 KiB."""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while part := os.read(terminal, 1 << 16):
            yield part


def test_nothing_anywhere_else(capfd: pytest.CaptureFixture[str]) -> None:
    trained()
    assert capfd.readouterr() == ("", "")
