"""Models of ONNX exported to C and WebAssembly: the bits of Loom's own run, and weights by their names."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import loom.onnx
from loom import tensor
from loom.cli.main import app
from loom.core.errors import LoomError
from loom.export import export_c, export_wasm, freeze_onnx, freeze_program
from tests.unit.onnx.test_training import small

NODE = shutil.which("node")


def convolution() -> Any:
    """Return a model whose names are none in C."""
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 2, 6, 6] x) => (float[n, 3] y)'
        " <float[3] b = {0.5, -0.5, 0}>"
        " { c = Conv <pads = [1, 1, 1, 1]> (x, w, b)  r = Relu (c)  p = GlobalAveragePool (r)  y = Flatten (p) }"
    )
    w = np.random.default_rng(3).normal(size=(3, 2, 3, 3)).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = [{"x": "in.x", "y": "out/y", "w": '1"w\\'}.get(n, n) for n in names]
    proto.graph.input[0].name, proto.graph.output[0].name = "in.x", "out/y"
    proto.graph.initializer[1].name = '1"w\\'
    return proto


class Exported:
    """A library as C sees it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.library, self.name = ctypes.CDLL(str(folder / "x86_64-linux" / f"lib{name}.so")), name
        self("size").restype = ctypes.c_size_t
        self("manifest").restype = ctypes.c_char_p
        self.memory, self.at = ctypes.create_string_buffer(self("size")()), ctypes.c_void_p()
        assert self("open")(self.memory, ctypes.c_size_t(len(self.memory)), ctypes.byref(self.at)) == 0

    def __call__(self, function: str) -> Any:
        return getattr(self.library, f"{self.name}_{function}")

    def run(self, *arrays: np.ndarray[Any, Any]) -> None:
        assert self("run")(self.at, *(a.ctypes.data_as(ctypes.c_void_p) for a in arrays)) == 0


def test_c_has_the_bits_of_a_run_and_weights_by_their_names(tmp_path: Path) -> None:
    model = loom.onnx.load(convolution())
    frozen = freeze_onnx(model, batch=2, name="net")
    assert [a.name for a in frozen.arguments] == ["in_x", "out_y"]
    export_c(frozen, tmp_path, optimize="size")
    found, x = Exported(tmp_path, "net"), np.random.default_rng(0).normal(size=(2, 2, 6, 6)).astype(np.float32)
    y = np.zeros((2, 3), np.float32)
    found.run(x, y)
    assert y.tobytes() == model.run({"in.x": x})["out/y"].tobytes()
    told = json.loads(found("manifest")())
    assert sorted(t["name"] for t in told["tensors"]) == ['1"w\\', "b"]
    b = np.zeros(3, np.float32)
    assert found("read")(found.at, b"b", b.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(12)) == 0
    assert b.tolist() == [0.5, -0.5, 0]


@pytest.mark.slow
def test_a_step_of_training_is_exported_with_the_model(tmp_path: Path) -> None:
    model = loom.onnx.load(small())
    x, truth = tensor.input("x", (4, 3)), tensor.input("truth", (4,), loom.i32)
    loss = tensor.cross_entropy(model.record({"x": x})["y"], truth)
    held = model.parameters
    grads = tensor.grad(loss, list(held.values()))
    updates = [(w, w - g * 0.1) for w, g in zip(held.values(), grads, strict=True)]
    frozen = freeze_program({"loss": loss}, updates, name="step")
    export_c(frozen, tmp_path, optimize="size")
    found = Exported(tmp_path, "step")
    given, classes = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32), np.array([0, 1, 1, 0], np.int32)
    losses: list[float] = []
    for _ in range(3):
        passed = {"x": given, "truth": classes, "loss": np.zeros((), np.float32)}
        found.run(*(passed[a.name] for a in frozen.arguments))
        losses.append(float(passed["loss"]))
    history = model.train(given, classes, learning_rate=0.1, epochs=3, batch_size=4, shuffle=False)
    assert losses == history.loss
    w = np.zeros((3, 4), np.float32)
    assert found("read")(found.at, b"w1", w.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(48)) == 0
    assert w.tobytes() == model.weights()["w1"].tobytes()


@pytest.mark.slow
@pytest.mark.skipif(NODE is None, reason="node, which runs WebAssembly, is not installed")
def test_wasm_has_the_bits_of_a_run(tmp_path: Path) -> None:
    model = loom.onnx.load(small())
    export_wasm(freeze_onnx(model, {"x": (2, 3)}, name="net"), tmp_path, optimize="size")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "main.js").write_text(
        'import { Program } from "./net.js";\nconst net = await Program.open();\n'
        "const { y } = net.run({ x: [[1, 0.5, -2], [0.25, 3, 1]] });\n"
        "console.log(JSON.stringify([...new Uint8Array(y.buffer, y.byteOffset, y.byteLength)]));\n"
    )
    done = subprocess.run([str(NODE), "main.js"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = model.run({"x": np.array([[1, 0.5, -2], [0.25, 3, 1]], np.float32)})["y"]
    assert bytes(json.loads(done.stdout)) == expected.tobytes()


def test_the_command_writes_a_model(tmp_path: Path) -> None:
    path = tmp_path / "small net.onnx"
    onnx.save(small(), path)
    run = CliRunner().invoke
    done = run(
        app, ["export", str(path), "--to", "c", "--shape", "x=2x3", "--out", str(tmp_path / "b"), "--optimize", "size"]
    )
    assert done.exit_code == 0, done.output
    found, x = Exported(tmp_path / "b", "small_net"), np.ones((2, 3), np.float32)
    y = np.zeros((2, 2), np.float32)
    found.run(x, y)
    assert y.tobytes() == loom.onnx.load(path).run({"x": x})["y"].tobytes()
    for bad in (["--shape", "x=2x"], ["--shape", "z=2x3"], ["--shape", "x=2x4"], ["--to", "rust"], ["--epochs", "3"]):
        assert run(app, ["export", str(path), "--out", str(tmp_path / "c"), *bad]).exit_code != 0


def test_shapes_that_are_open_and_inputs_without_effect_are_told() -> None:
    open_ended = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n, m] x, float[k] z) => (float[n, m] y) { y = Relu (x) }'
    )
    model = loom.onnx.load(open_ended)
    for shapes in ({}, {"x": (2, 2)}, {"x": (2,)}, {"nobody": (2,)}, {"x": (2, 2), "z": (3,)}):
        with pytest.raises(LoomError):
            freeze_onnx(model, shapes)
    frozen = freeze_onnx(model, {"x": (2, 2)}, values={"z": np.zeros(3, np.float32)})
    assert [a.name for a in frozen.arguments] == ["x", "y"]
