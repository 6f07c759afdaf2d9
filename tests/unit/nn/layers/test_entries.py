"""Layers begin with a handle of their own on what they are given: their uses of it join before others'."""

from __future__ import annotations

import numpy as np
import pytest

import loom
from loom import tensor
from loom.nn.layers.registry import LAYERS
from loom.tensor import Tensor
from loom.tensor.record.graph import SAME, ancestors
from tests.unit.nn.layers.cases import CASES

APART = ("merge", "parallel", "sequential", "kmeans", "scale")
"""Those that take several arrays, numbers as they are, or leave their entry to the layers within."""
OF_ONE = [c for c in CASES if not c.others and c.layer["type"] not in APART and not c.ids]


@pytest.mark.parametrize("case", OF_ONE, ids=lambda c: c.name)
def test_a_layer_uses_its_input_once(case) -> None:
    net = loom.Network.from_json(case.document("f32"), on="cpu")
    x = tensor.input("x", (3, *case.shape))
    y = net.model.apply(x, training=True, step=tensor.input("step", (), "u32"))
    users = [node for node in ancestors([y]) if any(each is x for each in node.inputs)]
    moves = LAYERS[type(net.spec.nodes[0].layer)].any_dtype  # as flatten does, whose only use it is
    assert len(users) == 1
    assert moves or users[0].op is SAME


def _sum_text(node: Tensor, names: dict[int, str]) -> str:
    if node.op.name == "add":
        return f"({' + '.join(_sum_text(each, names) for each in node.inputs)})"
    return names.get(id(node.inputs[1].inputs[0]), "?") if node.op.name == "matmul" else "skip"


def test_the_last_user_is_added_first_and_a_layer_joins_its_own() -> None:
    x, a, b, c = (tensor.input(name, (3, 3)) for name in "xabc")
    names = {id(each): name for each, name in ((a, "a"), (b, "b"), (c, "c"))}
    seed = tensor.input("g", (3, 3))

    def use(x: Tensor) -> Tensor:
        return (x @ a) * (x @ b) + (x @ c)

    assert _sum_text(tensor.grad(use(x), [x], seed=seed)[0], names) == "((c + b) + a)"
    assert _sum_text(tensor.grad(x + use(x), [x], seed=seed)[0], names) == "(((skip + c) + b) + a)"
    entry = x.astype("f32")  # as a layer begins
    assert entry is not x
    assert _sum_text(tensor.grad(x + use(entry), [x], seed=seed)[0], names) == "(skip + ((c + b) + a))"


@pytest.mark.parametrize(("rows", "axes_summed"), [(1, [(5 * 143,)]), (2, [(143,), (5,)])], ids=["one row", "two rows"])
def test_axes_of_length_1_part_nothing(rows: int, axes_summed: list[tuple[int]]) -> None:
    x = np.random.default_rng(3).standard_normal((5, 1, 143)).astype(np.float32)
    many = np.repeat(x, rows, 1)
    found = tensor.array(many, on="cpu").sum((0, 2)).numpy()
    by_hand = many.transpose(1, 0, 2).copy()
    for (n,) in axes_summed:
        flat = by_hand.reshape(-1, n)
        by_hand = np.array([tensor.array(row, on="cpu").sum().item() for row in flat], np.float32)
    assert found.view(np.uint32).tolist() == by_hand.view(np.uint32).tolist()
