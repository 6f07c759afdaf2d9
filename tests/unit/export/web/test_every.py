"""Every layer, loss, optimiser, schedule and type as WebAssembly in node: outputs, losses and weights are Loom's."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.export import export_npm, freeze
from unit.export.every import EVERY, SETTINGS

NODE = shutil.which("node")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NODE is None, reason="node, which runs WebAssembly, is not installed"),
]


def _arrays(given: Any, names: list[str]) -> list[Any]:
    return [given[name] for name in names] if isinstance(given, dict) else [given]


def _bits(made: Any, frozen: Any) -> list[str]:
    """Return what JavaScript has of outputs: 16-bit floats are their bits."""
    found = []
    for array, (_, dtype, _) in zip(made.values() if isinstance(made, dict) else [made], frozen.outputs, strict=True):
        plain = (array.view(np.uint32) >> 16).astype(np.uint16) if dtype.name == "bf16" else array
        found.append(np.ascontiguousarray(plain).tobytes().hex())
    return found


@pytest.mark.parametrize("name", EVERY)
def test_it_computes_and_trains_to_the_bits_of_loom(name: str, tmp_path: Path) -> None:
    case = EVERY[name]
    net = loom.Network.from_json(case.document, on="cpu")
    x, y = case.samples(np.random.default_rng(7))
    settings = {key: value for key, value in (SETTINGS | case.settings).items() if value is not None}
    frozen = freeze(net, batch=(1, 8), train=settings, data=(x, y))
    export_npm(frozen, tmp_path, optimize="size")
    for i, array in enumerate(_arrays(x, [i.name for i in net.spec.inputs])):
        (tmp_path / f"x{i}").write_bytes(np.ascontiguousarray(array).tobytes())
    for i, (array, (_, dtype)) in enumerate(zip(_arrays(y, list(net.spec.outputs)), frozen.targets, strict=True)):
        (tmp_path / f"y{i}").write_bytes(np.ascontiguousarray(array, dtype.numpy).tobytes())
    (tmp_path / "asked.json").write_text(json.dumps({"epochs": settings["epochs"]}))
    words = [str(NODE), str(Path(__file__).with_name("every.mjs")), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["first"] == told["reset"] == frozen.digest()
    if name != "scale":  # which learns of the samples, here when it is frozen
        assert told["before"] == _bits(net.predict(x), frozen)
    history = net.train(x, y, progress=False, **settings)
    assert told["losses"] == list(history.loss)
    assert told["digest"] == told["cloned"] == net.digest()
    assert told["after"] == _bits(net.predict(x), frozen)
    done = subprocess.run([str(NODE), "--test"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
