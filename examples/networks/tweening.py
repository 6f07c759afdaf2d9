"""Tweening through a task change: a network in use is corrected after every answer, and the task changes under way."""

import numpy as np

import loom

DOCUMENT = {
    "format": "loom/1",
    "seed": 2,
    "input": {"shape": [6]},
    "layers": [
        {"type": "dense", "output_size": 24, "activation": "tanh"},
        {"type": "dense", "output_size": 4},
    ],
}
rng = np.random.default_rng(1)
centers = rng.normal(size=(4, 6)) * 1.5
CHANGE, END = 350, 700


def run(mode: str, rate: float, device: str = "cpu") -> tuple[np.ndarray, str]:
    """Answer and learn sample by sample; from CHANGE on every class has the next one's name."""
    network = loom.Network.from_json(DOCUMENT, on=device)
    state, stream = network.tween(mode=mode), np.random.default_rng(3)
    right = np.zeros(END, bool)
    for t in range(END):
        kind = int(stream.integers(4))
        x = (centers[kind] + 0.5 * stream.normal(size=6)).astype(np.float32)
        wanted = kind if t < CHANGE else (kind + 1) % 4
        right[t] = network.forward(x).argmax() == wanted  # the answer comes first
        state.step(x, wanted, rate)
    return right, network.digest()


print(f"{'mode':<14} before  just after  at the end")
for mode, rate in (("normal", 0.1), ("tween", 3.0), ("tween_chain", 0.1)):
    right, digest = run(mode, rate)
    before, after, end = right[CHANGE - 100 : CHANGE].mean(), right[CHANGE : CHANGE + 40].mean(), right[-100:].mean()
    print(f"{mode:<14} {before:>6.0%}  {after:>10.0%}  {end:>10.0%}")
    assert before > 0.8
    assert after < before
    assert end > 0.8

assert run("tween_chain", 0.1)[1] == digest  # the same bits, every time
network = loom.Network.from_json(DOCUMENT)
state = network.tween(mode="tween_chain")
state.step(centers[0].astype(np.float32), 0, 0.1, watch=True)
print(*(f"{link.name}: link budget {link.budget:.3f}, gap {link.gap:.4f}" for link in state.report.links), sep="\n")
assert 0 <= state.report.depth_barrier <= 1
