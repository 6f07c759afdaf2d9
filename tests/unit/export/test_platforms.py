"""Kernels, programs and JSON texts for other machines: run under qemu where that is, linked for all others."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import loom
from loom import In, InOut, f32, tensor
from loom.export import FrozenFunction, FrozenKernel, export_c, freeze, freeze_kernel, freeze_program

pytestmark = pytest.mark.slow
_EMULATED = {
    "aarch64-linux": ("aarch64-linux-musl", "qemu-aarch64-static"),
    "armv7-linux": ("arm-linux-musleabihf", "qemu-arm-static"),
}
_LINKED = ["x86_64-windows", "aarch64-macos", "x86_64-macos", "aarch64-android"]
DOCUMENT = {"format": "loom/1", "input": {"shape": [4]}, "layers": [{"type": "dense", "output_size": 3}]}
SETTINGS = {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 16, "seed": 5, "epochs": 2}

_MAIN = """
#include <stdio.h>
#include "loom_json.h"
int main(void) {
  static char line[1 << 20];
  puts(CreateLoomNetwork("net"));
  if (fgets(line, sizeof line, stdin)) puts(LoomForward(line));
  if (fgets(line, sizeof line, stdin)) puts(LoomTrain(line));
  puts(LoomLoadModel(LoomSaveModel("m"), "m"));
  return 0;
}
"""


@loom.kernel
def axpy(x: In[f32], y: InOut[f32], a: f32 = 2.0):
    i = loom.global_id()
    if i < len(y):
        y[i] = y[i] + a * x[i]


def function() -> FrozenFunction:
    w, x = tensor.parameter([0.5, 1.5], name="w", on="cpu"), tensor.input("x", (2,))
    return freeze_program({"y": (w * tensor.exp(x))}, [(w, w - x * 0.25)], name="step")


def emulated(target: str, folder: Path, source: Path, library: str, given: str = "") -> list[str]:
    """Return the lines that a program prints, built for a target with a static library."""
    zig, emulator = _EMULATED[target]
    if shutil.which(emulator) is None:
        pytest.skip(
            f"{emulator} is not installed, so nothing can be run for {target}: apt-get install qemu-user-static"
        )
    command = ["cc", "-target", zig, "-static", f"-I{folder}", source, folder / target / library, "-o", folder / "main"]
    subprocess.run([sys.executable, "-m", "ziglang", *map(str, command)], check=True)
    words = [emulator, str(folder / "main")]
    return subprocess.run(words, input=given, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize("target", _EMULATED)
def test_json_texts_train_to_the_digest_of_loom(target: str, tmp_path: Path) -> None:
    net, values = loom.Network.from_json(DOCUMENT, on="cpu"), np.random.default_rng(0)
    x, y = values.normal(size=(40, 4)).astype(np.float32), values.integers(0, 3, 40).astype(np.int32)
    export_c(freeze(net, train=SETTINGS, data=(x, y)), tmp_path, [target])
    (tmp_path / "json.c").write_text(_MAIN)
    data = [{"input": a.tolist(), "target": int(b)} for a, b in zip(x, y, strict=True)]
    given = f"{json.dumps(x[:3].tolist())}\n{json.dumps({'epochs': 2, 'data': data})}\n"
    created, forward, trained, loaded = map(
        json.loads, emulated(target, tmp_path, tmp_path / "json.c", "libnet.a", given)
    )
    assert created["digest"] == net.digest()
    assert np.array(forward, np.float32).tobytes() == net.predict(x[:3]).tobytes()
    history = net.train(x, y, progress=False, **SETTINGS)
    assert (trained["digest"], trained["loss"]) == (net.digest(), history.loss[-1])
    assert (loaded["digest"], loaded["training"]) == (net.digest(), "goes on")


@pytest.mark.parametrize("target", _EMULATED)
@pytest.mark.parametrize("kind", ["kernel", "program"])
def test_examples_print_what_they_print_here(kind: str, target: str, tmp_path: Path) -> None:
    frozen: FrozenKernel | FrozenFunction = freeze_kernel(axpy) if kind == "kernel" else function()
    export_c(frozen, tmp_path, [target, "x86_64-linux"])
    subprocess.run(["cc", "-I.", "main.c", f"x86_64-linux/lib{frozen.name}.a", "-o", "here"], cwd=tmp_path, check=True)
    here = subprocess.run(["./here"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
    assert here
    assert emulated(target, tmp_path, tmp_path / "main.c", f"lib{frozen.name}.a") == here


@pytest.mark.parametrize("target", _LINKED)
@pytest.mark.parametrize("kind", ["network", "kernel", "program"])
def test_what_cannot_be_run_here_is_linked(kind: str, target: str, tmp_path: Path) -> None:
    net = loom.Network.from_json(DOCUMENT, on="cpu")
    frozen = {"network": lambda: [freeze(net, name="a"), freeze(net, name="b")], "kernel": lambda: freeze_kernel(axpy),
              "program": function}[kind]()  # fmt: skip
    made = export_c(frozen, tmp_path, [target])
    shared = [path for path in made.files if path.suffix in (".so", ".dll", ".dylib")]
    assert len(shared) == 1
    names = {"network": b"CreateLoomNetwork", "kernel": b"axpy_run", "program": b"step_run"}
    assert names[kind] in shared[0].read_bytes()  # functions that are seen from outside
    if target == "aarch64-android":
        return
    lines = [t for t in (tmp_path / "main.c").read_text().splitlines() if t.startswith(" *   python -m ziglang")]
    words = lines[0][5:].split()[3:]
    subprocess.run([sys.executable, "-m", "ziglang", *words], cwd=tmp_path, check=True)
