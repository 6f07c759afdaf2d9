"""Long records: work that grows with the length, not with its square; memory planned as the simple way plans it."""

from __future__ import annotations

import cProfile
import pstats
from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.runtime.registry import device
from loom.tensor.record.draft import Draft, DraftBuffer
from loom.tensor.record.memory import plan_memory


def _compiled(tokens: int) -> tuple[int, list[Any]]:
    """Compile a small gated recurrence and its gradients; return how many calls that took, and what it gives."""
    rng = np.random.default_rng(3)
    w, u = (tensor.parameter(rng.normal(size=(4, 8)).astype("f4") * 0.5, on="cpu") for _ in range(2))
    x = tensor.input("x", (tokens, 2, 4))
    h = tensor.zeros((2, 4))
    for t in range(tokens):
        both = x[t] @ w + h @ u
        gate = both[:, :4].sigmoid()
        h = gate * h + (1 - gate) * both[:, 4:].tanh()
    loss = (h * h).sum()
    grads = tensor.grad(loss, [w, u])
    profile = cProfile.Profile()
    program = profile.runcall(tensor.compile, [loss, *grads], [(w, w - grads[0] * 0.1)], on="cpu")
    program.run(x=np.linspace(-1, 1, tokens * 8, dtype="f4").reshape(tokens, 2, 4))
    return pstats.Stats(profile).total_calls, program.read()  # type: ignore[attr-defined]


def test_compiling_a_recurrence_takes_time_linear_in_its_length() -> None:
    _compiled(4)  # what is done once
    short, long = _compiled(30)[0], _compiled(150)[0]
    assert long < 6.5 * short  # five times as long


def test_a_long_recurrence_gives_what_numpy_gives() -> None:
    rng = np.random.default_rng(3)
    w, u = (rng.normal(size=(4, 8)).astype("f4") * 0.5 for _ in range(2))
    x = np.linspace(-1, 1, 60 * 8, dtype="f4").reshape(60, 2, 4).astype("f8")
    h = np.zeros((2, 4))
    for t in range(60):
        both = x[t] @ w + h @ u
        gate = 1 / (1 + np.exp(-both[:, :4]))
        h = gate * h + (1 - gate) * np.tanh(both[:, 4:])
    assert _compiled(60)[1][0] == pytest.approx((h * h).sum(), rel=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_blocks_are_those_of_the_simple_way(seed: int) -> None:
    """For each buffer, the largest first, the smallest block that is free while it lives, else a new one."""
    rng = np.random.default_rng(seed)
    draft = Draft(device("interp"))
    buffers = [DraftBuffer(int(rng.choice([256, 512, 512, 1024, 4096, 5000]))) for _ in range(80)]
    born = {b: int(rng.integers(0, 200)) for b in buffers}
    dies = {b: at + int(rng.choice([0, 1, 5, 40, 150])) for b, at in born.items()}
    for at in range(400):
        draft.dispatch(None, [b for b in buffers if at in (born[b], dies[b])])
    plan = plan_memory(draft)

    def meet(a: DraftBuffer, b: DraftBuffer) -> bool:
        return born[a] <= dies[b] and born[b] <= dies[a]

    blocks: list[tuple[int, list[DraftBuffer]]] = []
    for b in sorted(buffers, key=lambda b: (-b.nbytes // 256, born[b], buffers.index(b))):
        free = [(size, n) for n, (size, users) in enumerate(blocks) if not any(meet(b, o) for o in users)]
        if not free:
            blocks.append((-(-b.nbytes // 256) * 256, []))
        at = min(free)[1] if free else len(blocks) - 1
        blocks[at][1].append(b)
        assert plan.block_of[b] == at
    assert plan.blocks == tuple(size for size, _ in blocks)
