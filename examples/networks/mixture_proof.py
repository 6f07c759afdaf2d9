"""Grid softmax is a mixture of experts' gate: the proof, by bits and against the formula, and experts that learn."""

import numpy as np

from loom import Network
from loom.nn import structure
from loom.nn.structure import dense, mixture, softmax

draw = np.random.default_rng(1)
x = draw.normal(0, 1, (256, 6)).astype(np.float32)
experts = [dense(8, activation="tanh"), dense(8), dense(8, activation="gelu"), dense(8, activation="relu")]


def weights_of(net: Network, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a dense layer's weight and bias."""
    held = net.weights()
    return held[f"{name}.weight"].astype(np.float64), held[f"{name}.bias"].astype(np.float64)


# 1. A grid softmax of one row is the gate of a mixture: the same bits
plain = structure.network([mixture(experts)], input=6, seed=5)
grid = structure.network([mixture(experts, softmax=softmax("grid", rows=1, cols=4))], input=6, seed=5)
assert plain.predict(x).tobytes() == grid.predict(x).tobytes()

# 2. Both are the formula: sum of softmax(x G + b)_k expert_k(x)
w, b = weights_of(grid, "layers.0.gate")
logits = x @ w + b
gate = np.exp(logits - logits.max(1, keepdims=True))
gate /= gate.sum(1, keepdims=True)
linear = weights_of(grid, "layers.0.branches.1")
alone = [structure.network([each], input=6) for each in experts]
for k, one in enumerate(alone):
    one.load_weights({f"layers.0.{n}": grid.weights()[f"layers.0.branches.{k}.{n}"] for n in ("weight", "bias")})
mixed = sum(gate[:, [k]] * one.predict(x) for k, one in enumerate(alone))
away = float(np.abs(grid.predict(x) - mixed).max())
print(f"grid softmax and the formula of a mixture differ by {away:.1e} at most")
assert away < 1e-6
assert np.allclose(alone[1].predict(x), x @ linear[0] + linear[1], atol=1e-5)

# 3. A grid of several rows is as many gates in one layer, each a softmax of its own: the same bits
rows = structure.network([dense(12), softmax("grid", rows=3, cols=4)], input=6, seed=7)
w, b = (rows.weights()[f"layers.0.{n}"] for n in ("weight", "bias"))
for row in range(3):
    part = structure.network([dense(4), softmax()], input=6)
    part.load_weights({"layers.0.weight": w[:, row * 4 : row * 4 + 4], "layers.0.bias": b[row * 4 : row * 4 + 4]})
    assert part.predict(x).tobytes() == rows.predict(x)[:, row * 4 : row * 4 + 4].tobytes()

# 4. And it learns what one linear expert cannot: another linear map for each of four regions
maps = draw.normal(0, 1, (4, 6, 2)).astype(np.float32)
region = (x[:, 0] > 0) * 2 + (x[:, 1] > 0)
y = np.einsum("ni,nio->no", x, maps[region])
gate = structure.sequential([dense(32, activation="relu"), dense(4)])
net = structure.network([mixture([dense(2)] * 4, gate, softmax=softmax("grid", rows=1, cols=4))], input=6, seed=2)
loss = net.train(x, y, epochs=400, batch_size=32, optimizer="adam", learning_rate=0.03, schedule="cosine").loss
print(f"the loss falls from {loss[0]:.3f} to {loss[-1]:.4f}: by {1 - loss[-1] / loss[0]:.1%}")
assert loss[-1] < 0.029 * loss[0]  # the reduction of 97.1% that the seeds claim
