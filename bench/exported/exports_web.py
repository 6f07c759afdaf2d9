"""Networks exported to WebAssembly, in node: a step beside TensorFlow.js's own WebAssembly, sizes, time to open.

npm fetches TensorFlow.js into Loom's cache once; where it cannot, Loom's side alone is measured. Both sides use one
thread; a run whose losses differ is a failed one.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import loom
from bench.harness import Timings
from bench.report import Bar, Family, Row, main
from loom.export import export_wasm, freeze
from loom.runtime.port.cache import cache_folder

SPEED, OPEN_S = 0.5, 0.001
BATCH, FEATURES, CLASSES, RATE = 64, 784, 10, 0.01
PEERS = ("@tensorflow/tfjs@4.22.0", "@tensorflow/tfjs-backend-wasm@4.22.0")
BLOCK: list[dict[str, Any]] = [
    {"type": "multi_head_attention", "num_heads": 4}, {"type": "layer_norm"}, {"type": "swiglu", "inner_size": 64},
    {"type": "layer_norm"}, {"type": "flatten"}, {"type": "dense", "output_size": CLASSES},
]  # fmt: skip


def run(family: Family) -> None:
    """Measure the step of an MLP, then sizes of modules without their weights."""
    if shutil.which("node") is None:
        family.notes.append("node is not installed: nothing was measured")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "package.json").write_text('{"type": "module"}')
        _export(_mlp(392), (FEATURES,), folder)
        family.rows.append(_steps(folder, family))
        limits = (("MLP 784-32-10", _mlp(32), (FEATURES,), 100_000, 30_000),
                  ("transformer of one block, 16 x 32", BLOCK, (16, 32), 300_000, None))  # fmt: skip
        family.rows += [_size(*about, folder) for about in limits]


def _mlp(hidden: int) -> list[dict[str, Any]]:
    return [{"type": "dense", "output_size": hidden, "activation": "relu"}, {"type": "dense", "output_size": CLASSES}]


def _export(layers: list[dict[str, Any]], shape: tuple[int, ...], folder: Path) -> loom.Network:
    net = loom.Network.from_json({"format": "loom/1", "input": {"shape": list(shape)}, "layers": layers}, on="cpu")
    data = np.zeros((640, *shape), np.float32), np.zeros(640, np.int32)
    settings = {"optimizer": "sgd", "learning_rate": RATE, "batch_size": BATCH, "epochs": 3}
    export_wasm(freeze(net, batch=(1, BATCH), train=settings, data=data), folder)
    return net


def _peers() -> Path | None:
    """Return a folder where npm has installed TensorFlow.js, None where it cannot."""
    folder = cache_folder() / "bench-npm"
    if not (folder / "node_modules" / "@tensorflow" / "tfjs-backend-wasm").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}')
        done = subprocess.run(["npm", "install", "--silent", *PEERS], cwd=folder, check=False, capture_output=True)
        if done.returncode:
            return None
    return folder


def _steps(folder: Path, family: Family) -> Row:
    peers = _peers()
    about = {"folder": str(folder), "peers": str(peers) if peers else None, "blocks": 7, "calls": 15, "batch": BATCH,
             "features": FEATURES, "hidden": 392, "classes": CLASSES, "rate": RATE}  # fmt: skip
    (folder / "about.json").write_text(json.dumps(about))
    words = ["node", str(Path(__file__).parent / "web" / "steps.mjs"), str(folder / "about.json")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    timings, losses, ratio = Timings(told["blocks"]), told["losses"], None
    measured: dict[str, float | int | str] = {f"{n}_ms": timings.median(n) * 1e3 for n in timings.blocks}
    measured |= {
        "first_load_ms": told["loaded"] * 1e3,
        "first_open_ms": told["opened"][0] * 1e3,
        "open_ms": min(told["opened"]) * 1e3,
        "runs": timings.runs("loom_step"),
    }
    if peers is None:
        family.notes.append("npm could not install TensorFlow.js: Loom's side alone was measured")
    else:
        assert abs(losses["loom"] - losses["tfjs"]) < 1e-4, f"the sides compute different losses: {losses}"
        ratio = timings.median_of_ratios("loom_step", "tfjs_step")
        forward = timings.median_of_ratios("loom_forward", "tfjs_forward")
        measured |= {"time_to_tfjs": ratio, "forward_to_tfjs": forward}
    family.notes += told["notes"]
    bars = (Bar(f"a step in at most {SPEED} of the time of TensorFlow.js, wasm", SPEED, ratio),
            Bar("open another net and answer in at most 1 ms", OPEN_S, min(told["opened"])))  # fmt: skip
    return Row(f"MLP {FEATURES}-392-{CLASSES}, batch {BATCH}, wasm in node", measured, bars)


def _size(what: str, layers: list[dict[str, Any]], shape: tuple[int, ...], limit: int, packed: int | None,
          folder: Path) -> Row:  # fmt: skip
    net = _export(layers, shape, folder)
    module = (folder / "net.wasm").read_bytes()
    bare = module
    for weight in net.weights().values():
        bare = bare.replace(weight.tobytes(), b"")
    zipped = len(gzip.compress(bare, 9))
    measured: dict[str, float | int | str] = {
        "module_bytes": len(module), "without_weights_bytes": len(bare), "gzip_bytes": zipped,
    }  # fmt: skip
    bars = [Bar(f"at most {limit:,} bytes without weights", limit, len(bare))]
    if packed is not None:
        bars.append(Bar(f"at most {packed:,} bytes of them with gzip", packed, zipped))
    return Row(f"{what}, with training", measured, tuple(bars))


if __name__ == "__main__":
    main("exports_web", run)
