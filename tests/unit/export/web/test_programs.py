"""Programs of tensors exported to WebAssembly, in node: a tick that learns has Loom's bits, tick after tick."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import loom
from loom.export import export_wasm, freeze_program

NODE = shutil.which("node")
TICKS = 5
SCRIPT = """
import { Program } from "./tick.js";
const program = await Program.open();
const first = program.digest();
const told = { ticks: [], first, same: first === program.manifest.digest };
const go = (on, n) => {
  const { y, loss } = on.run({ x: [[n / 4, 0.5, -n], [1, n, 0.25]], t: [[0.5], [-0.5]], rate: 0.125 });
  return [...new Uint8Array(y.buffer), ...new Uint8Array(loss.buffer)];
};
for (let n = 0; n < 5; n++) told.ticks.push(go(program, n));
told.digest = program.digest();
told.weight = Array.from(program.read("layers.0.weight"));
const saved = program.save(), next = go(program.clone(), 9);
program.reset();
told.reset = program.digest() === first;
program.load(saved);
told.goesOn = String(next) === String(go(program, 9));
told.refused = [{}, { x: [1], t: [[0.5], [-0.5]], rate: 1 }, { x: 1, y: 2 }].map((given) => {
  try { return String(program.run(given)); } catch (error) { return error.message; }
});
console.log(JSON.stringify(told));
"""


def network() -> loom.Network:
    layers = [{"type": "dense", "output_size": 4, "activation": "tanh"}, {"type": "dense", "output_size": 1}]
    return loom.Network.from_json({"format": "loom/1", "seed": 3, "input": {"shape": [3]}, "layers": layers}, on="cpu")


@pytest.mark.skipif(NODE is None, reason="node, which runs WebAssembly, is not installed")
def test_ticks_that_learn_in_node(tmp_path: Path) -> None:
    target = np.array([[0.5], [-0.5]], np.float32)
    export_wasm(freeze_program(*network().step(batch=2).record(target), name="tick"), tmp_path, optimize="size")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "main.js").write_text(SCRIPT)
    done = subprocess.run([str(NODE), "main.js"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    net = network()
    state = net.step(batch=2)
    for n, made in zip(range(TICKS), told["ticks"], strict=True):
        loss = state.learn([[n / 4, 0.5, -n], [1, n, 0.25]], target, 0.125)
        assert bytes(made) == state.get_output().tobytes() + np.float32(loss).tobytes()
    assert told["weight"] == net.weights()["layers.0.weight"].reshape(-1).tolist()
    assert (told["same"], told["reset"], told["goesOn"]) == (True, True, True)
    assert told["digest"] != told["first"]
    assert told["refused"] == [
        "ARGUMENT: argument t is missing",
        "ARGUMENT: argument x has 1 numbers, not 6 (2 x 3)",
        "ARGUMENT: there is no argument y, but t, x, rate",
    ]


TWEEN_SCRIPT = """
import { Program } from "./tween.js";
const program = await Program.open();
const losses = [];
for (let n = 0; n < 6; n++) {
  const { loss } = program.run({ x0: [[n / 4, 0.5, -n], [1, n, 0.25]], y0: [2, n % 3], rate: 0.125 });
  losses.push([...new Uint8Array(loss.buffer)]);
}
console.log(JSON.stringify({ losses, weight: [...program.read("layers.0.weight")], digest: program.digest() }));
"""


@pytest.mark.skipif(NODE is None, reason="node, which runs WebAssembly, is not installed")
@pytest.mark.parametrize("mode", ["step_tween_chain", pytest.param("tween", marks=pytest.mark.slow)])
def test_updates_of_tweening_in_node(tmp_path: Path, mode: str) -> None:
    layers = [{"type": "dense", "output_size": 4, "activation": "tanh"}, {"type": "dense", "output_size": 3}]
    document = {"format": "loom/1", "seed": 3, "input": {"shape": [3]}, "layers": layers}
    nets = [loom.Network.from_json(document, on="cpu") for _ in range(2)]
    states = [net.tween(mode=mode) for net in nets]
    first = np.zeros((2, 3), np.float32)
    export_wasm(freeze_program(*states[0].record(first, [0, 1]), name="tween"), tmp_path, optimize="size")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "main.js").write_text(TWEEN_SCRIPT)
    done = subprocess.run([str(NODE), "main.js"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for n, made in enumerate(told["losses"]):
        loss = states[1].step([[n / 4, 0.5, -n], [1, n, 0.25]], [2, n % 3], 0.125)
        assert bytes(made) == np.float32(loss).tobytes()
    assert told["weight"] == nets[1].weights()["layers.0.weight"].reshape(-1).tolist()
