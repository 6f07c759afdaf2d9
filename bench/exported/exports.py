"""Networks exported to C: a step beside Loom's own, both on one thread; time to export and to open; sizes.

Both sides of the step train with the same batch; a run whose weights differ is a failed one. Sizes are those of the
shared library for x86-64 Linux, with training, less the weights in it.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import loom
from bench.harness import Side, alternate
from bench.report import Bar, Family, Row, main
from loom.cli.demos.demo_digits import document, has_digits
from loom.export import export_c, freeze
from loom.export.c.levels import Optimize
from loom.nn.train.loop.trainer import Trainer
from loom.nn.train.samples import Samples

STEP, EXPORT_S, OPEN_S = 1.1, 10.0, 0.001
BATCH, FEATURES, CLASSES, RATE = 64, 784, 10, 0.01
_SETTINGS: dict[str, Any] = {"optimizer": "adam", "learning_rate": RATE, "batch_size": BATCH}
_BLOCK: list[dict[str, Any]] = [
    {"type": "residual", "layers": [{"type": "layer_norm"}, {"type": "multi_head_attention", "num_heads": 4}]},
    {"type": "residual", "layers": [{"type": "layer_norm"}, {"type": "dense", "output_size": 128, "activation": "gelu"},
                                    {"type": "dense", "output_size": 64}]},
]  # fmt: skip
TRANSFORMER = [*_BLOCK, *_BLOCK, {"type": "layer_norm"}, {"type": "flatten"},
               {"type": "dense", "output_size": CLASSES}]  # fmt: skip


def run(family: Family) -> None:
    """Measure the step of an MLP, opening it, exporting the demo's network, and sizes."""
    os.environ["LOOM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        family.rows += _steps(folder)
        family.rows += [
            _size("MLP 784-32-10", _mlp(32), (FEATURES,), 150_000, folder),
            _size("transformer, 2 blocks of 64", TRANSFORMER, (16, 64), 300_000, folder),
        ]
        if has_digits():
            family.rows.append(_export_time(folder))
        else:
            family.notes.append("scikit-learn, which has the demo's samples, is not installed")


def _mlp(hidden: int) -> list[dict[str, Any]]:
    return [{"type": "dense", "output_size": hidden, "activation": "relu"}, {"type": "dense", "output_size": CLASSES}]


def _network(layers: list[dict[str, Any]], shape: tuple[int, ...]) -> loom.Network:
    return loom.Network.from_json({"format": "loom/1", "input": {"shape": list(shape)}, "layers": layers}, on="cpu")


def _export(net: loom.Network, shape: tuple[int, ...], folder: Path, optimize: Optimize) -> Path:
    data = np.zeros((640, *shape), np.float32), np.zeros(640, np.int32)
    export_c(freeze(net, train=_SETTINGS, data=data), folder, optimize=optimize)
    return folder / "x86_64-linux" / "libnet.so"


def _steps(folder: Path) -> list[Row]:
    net = _network(_mlp(392), (FEATURES,))
    library = ctypes.CDLL(str(_export(net, (FEATURES,), folder, "speed")))
    library.net_size.restype = ctypes.c_size_t
    memory, opened = ctypes.create_string_buffer(library.net_size()), ctypes.c_void_p()
    random = np.random.default_rng(0)
    x, y = random.random((BATCH, FEATURES), np.float32), random.integers(0, CLASSES, BATCH).astype(np.int32)
    out, loss = np.zeros(CLASSES, np.float32), ctypes.c_double()
    given = [ctypes.c_void_p(a.ctypes.data) for a in (x, y)]

    def answer() -> None:
        assert library.net_open(memory, ctypes.c_size_t(len(memory)), ctypes.byref(opened)) == 0
        assert library.net_forward(opened, given[0], ctypes.c_void_p(out.ctypes.data), 1) == 0

    weights = [np.zeros_like(w) for w in net.weights().values()]
    openings = alternate([Side("open", answer), Side("copy", lambda: _copy(net, weights))], blocks=5, calls=20)
    config, data = net.read_training(x, y, "bench", "adam", None, {k: v for k, v in _SETTINGS.items() if k[0] != "o"})
    trainer = Trainer(net.model, config)
    timings = alternate(
        [Side("loom", lambda: trainer.programs.train(data, RATE)),
         Side("c", lambda: library.net_step(opened, *given, BATCH, ctypes.byref(loss)))],
        blocks=9, calls=30,
    )  # fmt: skip
    _require_same(library, memory, opened, given, data, net)
    ratio, beside = timings.median_of_ratios("c", "loom"), openings.median("open") - openings.median("copy")
    step = {f"{n}_ms": timings.median(n) * 1e3 for n in ("c", "loom")} | {"ratio": ratio}
    opening = {f"{n}_ms": openings.median(n) * 1e3 for n in ("open", "copy")}
    what = f"MLP {FEATURES}-392-{CLASSES}"
    return [
        Row(f"step of {what}, batch {BATCH}, one thread", step, (Bar("at most 1.1 of Loom's own", STEP, ratio),)),
        Row(f"open {what} and answer", opening, (Bar("1 ms beside the copy of weights", OPEN_S, beside),)),
    ]


def _copy(net: loom.Network, there: list[Any]) -> None:
    for array, parameter in zip(there, net.model.parameters.values(), strict=True):
        np.copyto(array, parameter.numpy())


def _require_same(library: Any, memory: Any, opened: Any, given: list[Any], data: Samples, net: loom.Network) -> None:
    """Assert that a few steps from the first weights on end in the same ones."""
    fresh = _network(_mlp(392), (FEATURES,))
    config, _ = net.read_training(data.x[0], data.y[0], "bench", "adam", None, {"learning_rate": RATE})
    trainer = Trainer(fresh.model, config)
    assert library.net_reset(opened) == 0
    for _ in range(3):
        trainer.programs.train(data, RATE)
        assert library.net_step(opened, *given, BATCH, None) == 0
    digest = (ctypes.c_uint8 * 32)()
    assert library.net_digest(opened, digest) == 0
    assert bytes(digest).hex() == fresh.digest(), "the sides come to different weights"
    assert memory is not None


def _size(what: str, layers: list[dict[str, Any]], shape: tuple[int, ...], limit: int, folder: Path) -> Row:
    net, measured = _network(layers, shape), dict[str, float | int | str]()
    sides: tuple[Optimize, ...] = ("size", "speed")
    for optimize in sides:
        content = _export(net, shape, folder, optimize).read_bytes()
        bare = content
        for weight in net.weights().values():
            bare = bare.replace(weight.tobytes(), b"") if weight.any() else bare
        measured |= {f"{optimize}_bytes": len(content), f"{optimize}_without_weights_bytes": len(bare)}
    bar = Bar(
        f"at most {limit:,} bytes without weights, --optimize size", limit, measured["size_without_weights_bytes"]
    )
    return Row(f"{what}, with training, shared library", measured, (bar,))


def _export_time(folder: Path) -> Row:
    (folder / "digits.json").write_text(document())
    words = [sys.executable, "-m", "loom", "export", "digits.json", "--data", "digits", "--optimizer", "adamw",
             "--schedule", "cosine", "--rate", "0.003", "--epochs", "20", "--batch", "1,32"]  # fmt: skip
    seconds: list[float] = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(words, cwd=folder, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    warm = min(seconds[1:])
    bar = Bar("at most 10 s with warm caches", EXPORT_S, warm)
    return Row("loom export of the demo's network", {"first_s": seconds[0], "warm_s": warm}, (bar,))


if __name__ == "__main__":
    main("exports", run)
