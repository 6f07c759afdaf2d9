"""Hostile calls of everything that an export has, under the sanitizers of addresses and of undefined behaviour."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, InOut, f32
from loom.export import freeze, freeze_kernel
from loom.export.c import platform_of, write_sources
from loom.export.c.kernel import kernel_header, kernel_source
from loom.export.c.levels import compile_levels, objects_of

SMALL: dict[str, Any] = {
    "format": "loom/1", "input": {"shape": [4]},
    "layers": [{"type": "dense", "output_size": 6, "activation": "relu"}, {"type": "dropout", "rate": 0.25},
               {"type": "dense", "output_size": 3}],
}  # fmt: skip
OTHER = {
    "format": "loom/1", "inputs": {"a": {"shape": [2, 2]}, "b": {"shape": [3], "dtype": "i32"}},
    "nodes": {
        "flat": {"type": "flatten", "inputs": ["a"]},
        "table": {"type": "embedding", "vocab_size": 5, "embedding_dim": 2, "inputs": ["b"]},
        "two": {"type": "flatten", "inputs": ["table"]},
        "left": {"type": "dense", "output_size": 1, "inputs": ["flat"]},
        "right": {"type": "dense", "output_size": 2, "inputs": ["two"]},
    },
    "outputs": ["left", "right"],
}  # fmt: skip
SETTINGS: dict[str, Any] = {"optimizer": "adamw", "schedule": "cosine", "batch_size": 16, "seed": 5, "epochs": 50}


@loom.kernel
def axpy(x: In[f32], y: InOut[f32], a: f32):
    i = loom.global_id()
    if i < len(y):
        y[i] = y[i] + a * x[i]


def corpus(net: loom.Network, x: Any, y: Any) -> list[Any]:
    data = [{"input": a.tolist(), "target": int(b)} for a, b in zip(x, y, strict=True)]
    bundle = json.loads(net.save(id="m", training=False))
    return [
        SMALL, OTHER, "small", "other", x[0].tolist(), x[:3].tolist(), y[:3].tolist(),
        {"epochs": 1, "data": data}, {"data": data[:2]}, {"epochs": 1, "learning_rate": 0.01, "data": data},
        {"a": [[1, 2], [3, 4]], "b": [1, 0, 4]}, [{"a": [1, 2, 3, 4], "b": [1, 0, 4]}],
        bundle, {k: v for k, v in bundle.items() if k != "sha256"}, [], {}, "\n", [[[[]]]], x[:40].tolist() * 60,
        {"épée": [True, False, None, 1 << 60], "\U0001f600\t\b\f\r/\\": ""},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed, whose sanitizers look for faults: apt-get install gcc libasan8 libubsan1")
    folder = tmp_path_factory.mktemp("fuzz")
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 4)).astype(np.float32), random.integers(0, 3, 40).astype(np.int32)
    small, other = loom.Network.from_json(SMALL, on="cpu"), loom.Network.from_json(OTHER, on="cpu")
    nets = [freeze(small, name="small", batch=(1, 8), train=SETTINGS, data=(x, y)), freeze(other, name="other")]
    linux = platform_of("x86_64-linux")
    made = write_sources(nets, folder, linux)
    levels = compile_levels(freeze_kernel(axpy), linux, "speed", folder)
    (folder / "axpy.h").write_text(kernel_header(freeze_kernel(axpy)))
    (folder / "kernel_axpy.c").write_text(kernel_source(freeze_kernel(axpy), levels))
    texts = [json.dumps(each, ensure_ascii=plain) for each in corpus(small, x, y) for plain in (True, False)]
    (folder / "corpus").write_text("\n".join(texts) + "\n", encoding="utf-8")
    sources = [*made.sources, folder / "kernel_axpy.c", Path(__file__).with_name("fuzz.c")]
    objects = list(dict.fromkeys([*made.objects, *objects_of(levels)]))
    words = [
        "gcc",
        "-std=gnu99",
        "-g",
        "-O1",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        f"-I{folder}",
    ]
    subprocess.run([*words, *map(str, [*sources, *objects]), "-o", str(folder / "fuzz")], check=True)
    return folder / "fuzz"


@pytest.mark.parametrize("calls", [1500, pytest.param(100_000, marks=pytest.mark.slow)])
def test_hostile_calls_find_nothing(calls: int, program: Path) -> None:
    words = [str(program), str(calls), str(calls), str(program.with_name("corpus"))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=500, check=False)
    assert (done.returncode, done.stdout) == (0, "no finding\n"), done.stderr[-4000:]
