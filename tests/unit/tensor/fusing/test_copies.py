"""Packed copies of views: made once for several kernels, and by what makes their base where nobody else reads that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.core.caps import Caps
from loom.schedules import matmul
from loom.tensor import Tensor
from loom.tensor.fusing.copies import through
from loom.tensor.record.layout import StridedLayout, row_major
from unit.tensor.fusing.drafts import GPU, computed

BATCH, TOKENS, HEADS, SIZE = 2, 6, 3, 4
WIDTH = HEADS * SIZE


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=s).astype(np.float32) for s in shapes]


def heads(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    made = tensor.reshape(x @ weight + bias, (BATCH, TOKENS, HEADS, SIZE))
    return tensor.permute(made, (0, 2, 1, 3))


def attention(x: Tensor, weights: list[Tensor], each: Any = lambda t: t) -> list[Tensor]:
    """Return heads joined, and the gradients of all; ``each`` sees what is copied."""
    q, k, v = (each(heads(x, w, b)) for w, b in zip(weights[::2], weights[1::2], strict=True))
    found = tensor.matmul(each(tensor.softmax(tensor.matmul(q, k, transpose_b=True))), v)
    joined = tensor.reshape(each(tensor.permute(found, (0, 2, 1, 3))), (BATCH, TOKENS, WIDTH))
    return [joined, *tensor.grad((joined * joined).sum(), [x, *weights])]


@pytest.mark.parametrize("caps", [None, GPU], ids=["cpu", "gpu"])
def test_heads_have_the_bits_of_operations_one_by_one(caps: Caps | None) -> None:
    arrays = drawn(1, (BATCH, TOKENS, WIDTH), *((WIDTH, WIDTH), (WIDTH,)) * 3)
    x, *weights = (tensor.array(a, on="cpu") for a in arrays)

    def apart(t: Tensor) -> Tensor:
        return (t + 0).evaluate()

    q, k, v = (apart(heads(apart(x @ w).reshape(x.shape), tensor.eye(WIDTH), b) * 0 + heads(x, w, b))
               for w, b in zip(weights[::2], weights[1::2], strict=True))  # fmt: skip
    chances = apart(tensor.softmax(apart(tensor.matmul(q, apart(k.transpose(-1, -2))))))
    expected = apart(tensor.permute(apart(tensor.matmul(chances, v)), (0, 2, 1, 3))).reshape(x.shape)
    found, _ = computed(attention(x, weights)[:1], caps)
    assert found == [expected.numpy().tobytes()]


def test_a_gpu_copies_each_operand_once_forwards_and_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = drawn(2, (BATCH, TOKENS, WIDTH), *((WIDTH, WIDTH), (WIDTH,)) * 3)
    x, *weights = (tensor.array(a, on="cpu") for a in arrays)
    once = computed(attention(x, weights), GPU)
    monkeypatch.setattr(matmul, "reads_both_ways", lambda _caps: False)
    twice = computed(attention(x, weights), GPU)
    assert once[0] == twice[0]
    # backwards q, k and v are read turned, so that nobody else reads what they are copied of: they are made in place
    assert twice[1].count("tensor_copy") - once[1].count("tensor_copy") == 6


def test_a_base_that_others_read_is_made_as_well() -> None:
    a, b, c = (tensor.array(t, on="cpu") for t in drawn(3, (4, 5), (5, 6), (4, 3)))
    made = a @ b + 1
    turned = tensor.reshape(tensor.transpose(made), (2, 12))
    both = [tensor.matmul(tensor.transpose(tensor.reshape(made, (2, 2, 6)), 0, 1).reshape(4, 6).T, c), made, turned]
    for outputs in (both, both[:1], both[2:]):
        found = computed(outputs, GPU)[0]
        assert found == computed(outputs, None)[0] == [t.evaluate().numpy().tobytes() for t in outputs]


def test_parameters_are_copied_as_they_were() -> None:
    weights, gradients = drawn(4, (3, 4, 5), (3, 5, 4))
    after: list[bytes] = []
    for caps in (GPU, None):
        w = tensor.parameter(weights, on="cpu")
        g = tensor.array(gradients, on="cpu")
        turned = tensor.permute(w, (1, 0, 2))
        outputs = [tensor.matmul(turned, turned, transpose_a=True), tensor.matmul(turned, tensor.ones((5, 2)))]
        found, _ = computed(outputs, caps, [(w, w - tensor.permute(g, (0, 2, 1)))])
        after += [b"".join(found) + w.numpy().tobytes()]
    assert after[0] == after[1]
    assert after[0].endswith((weights - gradients.transpose(0, 2, 1)).tobytes())


def test_what_a_view_makes_of_an_operand() -> None:
    view = StridedLayout((2, 3, 6, 4), (72, 4, 12, 1))  # heads of (2, 6, 12)
    assert through(row_major((2, 6, 12)), view) == view
    assert through(StridedLayout((2, 6, 12), (0, 0, 1)), view) == StridedLayout((2, 3, 6, 4), (0, 4, 0, 1))
    assert through(StridedLayout((2, 6, 12), (1, 24, 2), 5), view) == StridedLayout((2, 3, 6, 4), (1, 8, 24, 2), 5)
    assert through(row_major((2, 6, 12)), StridedLayout((2, 6, 6), (72, 12, 1))) is None, "not all of it"
    assert through(row_major((6,)), StridedLayout((2, 6), (0, 1))) is None, "some of it twice"
    assert through(StridedLayout((4, 6), (1, 4)), StridedLayout((3, 8), (1, 3))) is None, "steps that are not even"
