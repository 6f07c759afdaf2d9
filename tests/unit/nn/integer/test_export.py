"""A step of training in integers, exported to WebAssembly: in node the numbers are those of Loom."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from loom import tensor
from loom.export import export_c, freeze_program
from loom.export.c.build import zig
from loom.nn.base.digests import digest_of
from loom.nn.integer import IntegerNetwork
from loom.nn.integer.train import rate_parts

NODE = shutil.which("node")
_SCRIPT = """
import { readFileSync } from "node:fs";
const module = await WebAssembly.compile(readFileSync("step.wasm"));
const found = (await WebAssembly.instantiate(module, {})).exports;
let free = (found.__heap_base.value + 63) & ~63;
const take = (nbytes) => { const at = free; free = (free + nbytes + 63) & ~63; return at; };
const size = found.step_size(), memory = take(size), handle = take(4), out = take(8), digest = take(32);
const given = ["x0", "rate", "y"].map((name) => [readFileSync(name), take(256)]);
found.memory.grow(Math.ceil(free / 65536) + 1);
for (const [bytes, at] of given) new Uint8Array(found.memory.buffer, at, bytes.length).set(bytes);
const codes = [found.step_open(memory, size, handle)], losses = [];
const step = new DataView(found.memory.buffer).getUint32(handle, true);
for (let i = 0; i < 5; i++) {
  codes.push(found.step_run(step, ...given.map(([, at]) => at), out));
  losses.push(String(new DataView(found.memory.buffer).getBigInt64(out, true)));
}
codes.push(found.step_digest(step, digest));
const bytes = Buffer.from(found.memory.buffer, digest, 32).toString("hex");
console.log(JSON.stringify({ codes, losses, digest: bytes }));
"""


@pytest.mark.slow  # a compiler for C links 65 kernels
@pytest.mark.skipif(NODE is None, reason="node, which runs WebAssembly, is not installed")
def test_a_step_in_node_is_that_of_loom(tmp_path: Path) -> None:
    layers = [{"type": "dense", "output_size": 5, "activation": "relu"}, {"type": "dense", "output_size": 3}]
    document = {"format": "loom/1", "input": {"shape": [4]}, "layers": layers}
    x, y = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32), np.arange(6, dtype=np.int32) % 3
    net = IntegerNetwork.from_json(document, "int8", calibration=x, on="cpu")
    outputs, updates = net.recorded_step(6, seed=3)
    frozen = freeze_program(outputs, updates, name="step")
    export_c(frozen, tmp_path, targets=("wasm32",), optimize="size")
    functions = [f"--export=step_{f}" for f in ("size", "open", "run", "digest")]
    zig("wasm-ld", "--no-entry", "--stack-first", "-z", "stack-size=1048576", "--export=__heap_base", *functions,
        tmp_path / "wasm32" / "libstep.a", "-o",
        tmp_path / "step.wasm")  # fmt: skip
    whole = np.clip(np.rint(x * 2.0 ** -net.inputs["input"]), -127, 127).astype(np.int8)
    rate = rate_parts(0.1 / 6)
    for name, a in (("x0", whole), ("y", y), ("rate", rate)):
        (tmp_path / name).write_bytes(a.tobytes())
    (tmp_path / "main.mjs").write_text(_SCRIPT)
    done = subprocess.run([str(NODE), "main.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    program = tensor.compile(list(outputs.values()), updates, on="cpu")
    losses = []
    for _ in range(5):
        program.run(x0=whole, y=y, rate=rate)
        losses.append(str(int(program.read()[0])))
    told = json.loads(done.stdout)
    assert not any(told["codes"])
    assert told["losses"] == losses
    assert told["digest"] == digest_of(frozen.weights())
