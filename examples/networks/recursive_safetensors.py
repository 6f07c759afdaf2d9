"""A deeply nested network, mixture within parallel within sequence, saved as safetensors and read bit for bit."""

import tempfile
from pathlib import Path

import numpy as np

import loom

SHAPE = (8, 6)  # eight tokens of six features
GATE = {"type": "sequential", "layers": [{"type": "flatten"}, {"type": "dense", "output_size": 2}]}
SEQUENCE = [
    {"type": "conv1d", "filters": 4, "kernel_size": 3, "padding": 1, "activation": "tanh"},
    {"type": "rnn", "hidden_size": 5},
    {"type": "flatten"},
    {"type": "dense", "output_size": 6},
]
DENSE = [{"type": "flatten"}, {"type": "dense", "output_size": 6}]
BRANCHES = {  # Parallel -> [Dense, Sequential -> [Conv1D, RNN]]
    "type": "parallel",
    "combine_mode": "add",
    "branches": [{"type": "sequential", "layers": DENSE}, {"type": "sequential", "layers": SEQUENCE}],
}
EXPERT = {"type": "sequential", "layers": [*DENSE[:1], {"type": "dense", "output_size": 6, "activation": "gelu"}]}
MIXTURE = {"type": "parallel", "combine_mode": "filter", "gate": GATE, "branches": [BRANCHES, EXPERT]}

network = loom.Network.from_json(
    {
        "format": "loom/1",
        "seed": 4,
        "input": {"shape": list(SHAPE)},
        "layers": [MIXTURE, {"type": "kmeans", "num_clusters": 3, "temperature": 2.0}],
    }
)
x = np.random.default_rng(2).standard_normal((32, *SHAPE)).astype(np.float32)
network.train(x, (x.sum((1, 2)) > 0).astype(np.int32), epochs=2, optimizer="adam", learning_rate=0.01)

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "nested.safetensors"
    network.save(path)
    again = loom.Network.load(path)
    in_memory = loom.Network.load(path.read_bytes())  # no file: for example what a browser has

names = list(network.weights())
print(f"{len(names)} arrays, the deepest {max(names, key=lambda n: n.count('.'))}")
print(f"largest difference {np.abs(again.predict(x) - network.predict(x)).max():.1f}, digest {again.digest()[:16]}")
assert again.spec == network.spec
assert again.digest() == in_memory.digest() == network.digest()
assert np.array_equal(again.predict(x), network.predict(x))
