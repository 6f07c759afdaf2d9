"""Memory for weights: asked for before anything is drawn, and little more than the weights while they are."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError
from loom.nn import network
from loom.nn.base import room
from loom.nn.base.random import normals, uniforms


def large(size: int) -> dict[str, Any]:
    return {"format": "loom/1", "input": {"shape": [size]}, "layers": [{"type": "dense", "output_size": size}]}


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX's")
def test_a_process_with_a_limit_is_told_before_anything_is_drawn() -> None:
    """1.6 GB of weights of 2 GiB, which drawing them needs twice: a MemoryError once."""
    code = (
        "import resource, loom\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        f"try: loom.Network.from_json({large(20000)!r}, on='cpu')\n"
        "except loom.LoomError as error: print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.strip() == (
        "[loom.Network] the weights need more memory than this machine has: expected at most 2147483648 bytes, got "
        f"{20000 * 20001 * 4} bytes, and {20000 * 20000 * 4} while they are drawn. Use smaller layers; nothing was "
        "allocated."
    )


@pytest.mark.parametrize("of", [uniforms, normals])
def test_drawing_takes_little_besides_what_is_drawn(of: Any) -> None:
    of((1 << 19,), 1, 0)  # kernels are compiled
    tracemalloc.start()
    drawn = of((3000, 2000), 1, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.4 * drawn.nbytes


def test_a_part_of_what_is_drawn_is_what_would_be_drawn_of_it() -> None:
    """However many are drawn at once: numbers depend on their place alone."""
    whole = normals((1 << 19,), 7, 3)
    for n in (1, 4, 1000, (1 << 18) + 3):
        assert (normals((n,), 7, 3).view(np.uint32) == whole[:n].view(np.uint32)).all()


def test_a_refusal_of_the_system_is_an_error_of_the_house(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(network, "Model", refused)
    with pytest.raises(ArgumentError, match=r"\[loom.Network\] the weights need more memory than this machine has"):
        loom.Network.from_json(large(4))


def test_a_limit_of_the_group_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(room, "_GROUP", limit)
    limit.write_text("1000\n")
    with pytest.raises(ArgumentError, match=r"expected at most 1000 bytes, got 4224 bytes\. Use"):
        loom.Network.from_json(large(32))
    limit.write_text("max\n")
    loom.Network.from_json(large(4))
