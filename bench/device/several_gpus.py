"""Data-parallel training over 1, 2 and 4 GPUs of one host: one digest, and how much faster several are than one.

``PYTHONPATH=src:.:/tmp/loom-device-site python3 bench/device/several_gpus.py`` on a machine with GPUs of CUDA. Bars: an
MLP of 4096 and a GPT of 4 blocks, speed of a step to one GPU's: 1.7 with two, 3.0 with four. With one GPU the digests
are compared over that GPU taken several times, and no speed is told. Exits 1 if digests differ.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

import loom
from loom.core.errors import DeviceError

_BARS = {2: 1.7, 4: 3.0}
_STEPS = 8


def mlp(width: int, batch: int) -> tuple[dict[str, Any], Any, Any]:
    """Return the document of three dense layers, and samples."""
    layers = [{"type": "dense", "output_size": width, "activation": "relu"} for _ in range(3)]
    document = {
        "format": "loom/1",
        "input": {"shape": [width]},
        "layers": [*layers, {"type": "dense", "output_size": 10}],
    }
    rng = np.random.default_rng(0)
    return document, rng.normal(size=(batch * _STEPS, width)).astype(np.float32), rng.integers(0, 10, batch * _STEPS)


def gpt(width: int, length: int, batch: int) -> tuple[dict[str, Any], Any, Any]:
    """Return the document of a GPT of 4 blocks, and samples: the next token of each place."""
    inner = {"type": "dense", "output_size": 4 * width, "activation": "gelu_tanh"}
    attention = {"type": "multi_head_attention", "num_heads": 8, "causal": True}
    parts: list[list[dict[str, Any]]] = [[attention], [inner, {"type": "dense", "output_size": width}]]
    layers: list[dict[str, Any]] = [{"type": "embedding", "vocab_size": 256, "embedding_dim": width}]
    layers += [{"type": "residual", "layers": [{"type": "layer_norm"}, *part]} for part in parts * 4]
    layers += [{"type": "dense", "output_size": 256}]
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 256, (batch * _STEPS, length + 1))
    document = {"format": "loom/1", "input": {"shape": [length], "dtype": "i32"}, "layers": layers}
    return document, tokens[:, :-1].astype(np.int32), tokens[:, 1:]


def trained(document: dict[str, Any], x: Any, y: Any, devices: list[str], micro: int) -> tuple[str, float]:
    """Train for two epochs; return the digest, and seconds of a step of the second."""
    network = loom.Network.from_json(document, on=devices[0])
    options: dict[str, Any] = {"batch_size": len(x) // _STEPS, "micro_batch": micro, "optimizer": "sgd", "seed": 1,
                               "progress": False, "devices": devices}  # fmt: skip
    network.train(x, y, epochs=1, **options)
    begun = time.perf_counter()
    network.train(x, y, epochs=1, **options)
    return network.digest(), (time.perf_counter() - begun) / _STEPS


def compared(name: str, work: tuple[dict[str, Any], Any, Any], micro: int, present: list[str]) -> bool:
    """Print figures of a network over 1, 2 and 4 GPUs; tell whether all digests are one."""
    digests, first = set[str](), 0.0
    for count in (1, 2, 4):
        real = count <= len(present)
        devices = present[:count] if real else [present[0]] * count
        digest, seconds = trained(*work, devices, micro)
        digests.add(digest)
        first = first or seconds
        speed = f", {first / seconds:.2f} of one GPU's speed (bar {_BARS[count]})" if count > 1 else ""
        told = speed if real else f", one GPU here taken {count} times: no speed to tell"
        print(f"{name} on {count}: {1e3 * seconds:.2f} ms a step{told}", flush=True)
    print(f"{name}: {'one digest' if len(digests) == 1 else f'WRONG, digests differ: {digests}'}", flush=True)
    return len(digests) == 1


def main(names: list[str]) -> int:
    """Measure on the GPUs present."""
    present = [info.name for info in loom.devices() if info.kind == "cuda" and info.refused is None]
    if not present:
        try:
            loom.device("cuda")
        except DeviceError as error:
            print(error)
        return 2
    print(f"{len(present)} GPU{'s' if len(present) > 1 else ''} here: {', '.join(present)}")
    is_quick = "--quick" in names
    width, batch = (512, 64) if is_quick else (4096, 1024)
    works = {f"MLP {width}": (mlp(width, batch), batch // 8)}
    if not is_quick:
        works["GPT of 4 blocks 256 x 512"] = (gpt(512, 256, 32), 4)
    found = [compared(name, work, micro, present) for name, (work, micro) in works.items()]
    return int(not all(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
