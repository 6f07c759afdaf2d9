"""Numeric types on digits: one network trained in f32, bf16 and f16, stored in twenty-one types, compared and saved."""

import tempfile
from pathlib import Path
from typing import Any

from sklearn.datasets import load_digits

import loom
from loom.nn.numeric import benchmark_types

DOCUMENT = {
    "format": "loom/1", "seed": 1, "input": {"shape": [64]},
    "layers": [{"type": "dense", "output_size": 32, "activation": "relu"}, {"type": "dense", "output_size": 10}],
}  # fmt: skip

digits: Any = load_digits()
x, y = digits.data.astype("float32") / 16, digits.target
held = x[1500:], y[1500:]

accuracy = {}
for compute in (None, "bf16", "f16"):  # mixed precision: layers in 16 bits, weights in f32
    network = loom.Network.from_json(DOCUMENT)
    settings: dict[str, Any] = {"epochs": 6, "batch_size": 50, "optimizer": "adam", "learning_rate": 0.01}
    history = network.train(x[:1500], y[:1500], compute=compute, **settings)
    accuracy[compute or "f32"] = network.evaluate(*held).accuracy
    if history.skipped:
        print(f"steps skipped in f16 because a gradient was too large: {sum(history.skipped)}")
print("trained in", {name: round(found, 4) for name, found in accuracy.items()})
assert all(abs(found - accuracy["f32"]) <= 0.01 for found in accuracy.values())

report = benchmark_types(network, *held, scales="channel")
for score in report.scores:
    print(
        f"{score.dtype:8} score {score.quality_score:6.2f}  {score.memory_bytes:6} bytes  accuracy {score.accuracy:.4f}"
    )
assert report["i8"].accuracy >= report.accuracy - 0.01
assert report["f4"].accuracy >= report.accuracy - 0.05
assert report["binary"].quality_score < report["i4"].quality_score < report["i8"].quality_score

small = network.convert({"*.bias": "f16", "*.weight": "i4"}, scales="channel")
print(small.storage.table())
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "digits.safetensors"
    small.save(path, training=False)
    again = loom.Network.load(path)
    nbytes = path.stat().st_size
print(f"4 bits a weight: {nbytes} bytes, accuracy {again.evaluate(*held).accuracy:.4f}")
assert again.digest() == small.digest()
assert nbytes < 3500  # 9,640 bytes of f32 weights
