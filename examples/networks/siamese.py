"""Siamese networks: one branch looks at two things, and what is learned is whether they are the same."""

import numpy as np

from loom.nn import structure
from loom.nn.structure import dense, sequential, shared

draw = np.random.default_rng(2)
kinds = draw.normal(0, 1, (40, 12)).astype(np.float32)  # the last ten are never trained with


def pairs(count: int, first: int, last: int) -> tuple[dict, np.ndarray]:
    """Return pairs of noisy things, half of them of one kind, and whether they are."""
    one, same = draw.integers(first, last, count), np.arange(count) % 2
    other = np.where(same, one, first + (one - first + draw.integers(1, last - first, count)) % (last - first))
    noisy = [kinds[k] + draw.normal(0, 0.1, (count, 12)).astype(np.float32) for k in (one, other)]
    return {"left": noisy[0], "right": noisy[1]}, same[:, None]


graph = structure.Graph(seed=1)
left, right = graph.input(12, "left"), graph.input(12, "right")
one = graph.add(sequential([dense(32, activation="tanh"), dense(24, activation="tanh")]), left, name="look")
other = graph.add(shared("look"), right)  # the same weights
net = graph.network((one * other) >> dense(1, activation="sigmoid"))

x, y = pairs(4000, 0, 30)
net.train(x, y, epochs=30, batch_size=100, optimizer="adam", learning_rate=0.01)
found = {}
for name, kind in (("kinds it knows", (0, 30)), ("kinds it has never met", (30, 40))):
    asked, same = pairs(1000, *kind)
    found[name] = float(((net.predict(asked) > 0.5) == same).mean())
    print(f"of {name} it says whether two are the same in {found[name]:.1%} of the pairs")

swapped = {"left": asked["right"], "right": asked["left"]}
assert len(net.weights()) == 6  # two layers that are shared, and the last one
assert (net.predict(asked) == net.predict(swapped)).all()  # to the bit: who stands left does not matter
assert found["kinds it knows"] > 0.97
assert found["kinds it has never met"] > 0.75
