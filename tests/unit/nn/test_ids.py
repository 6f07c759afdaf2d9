"""Ids that no row of an embedding is for are refused wherever samples are taken, in place of zeros in silence."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError
from loom.core.optional import has

EMBEDDING = {"type": "embedding", "vocab_size": 5, "embedding_dim": 2}
DENSE = {"type": "dense", "output_size": 5}
GOOD = [[0, 4, 1]]


def net(*layers: Any, dtype: str = "i32") -> loom.Network:
    document = {
        "format": "loom/1",
        "input": {"shape": [3], "dtype": dtype},
        "layers": list(layers or (EMBEDDING, DENSE)),
    }
    return loom.Network.from_json(document, on="interp")


def text(got: Any, sample: int = 0, name: str = "x", most: int = 4) -> str:
    return re.escape(
        f"an id out of range: {name}, sample {sample}: expected whole numbers from 0 to {most}, the rows of the "
        f"embedding, got {got}. Check which tokenizer made them, or give the embedding a row for each id."
    )


WAYS: dict[str, Callable[[loom.Network, Any], Any]] = {
    "train": lambda n, x: n.train(x, [[1, 2, 3]] * len(x), epochs=1),
    "validation": lambda n, x: n.train(GOOD, [[1, 2, 3]], validation=(x, [[1, 2, 3]] * len(x)), epochs=1),
    "evaluate": lambda n, x: n.evaluate(x, [[1, 2, 3]] * len(x)),
    "forward": lambda n, x: n.forward(x),
    "predict": lambda n, x: n.predict(x),
    "a step": lambda n, x: n.step(batch=len(x)).set_input(x),
    "a step, plain": lambda n, x: n.step(batch=len(x)).set_input(np.array(x, np.int32)),
    "a buffer": lambda n, x: n.step(batch=len(x)).set_buffer("input", x),
    "a tween": lambda n, x: n.tween("normal").record(x, [[1, 2, 3]] * len(x)),
}


@pytest.mark.parametrize("way", WAYS)
def test_ids_outside_the_table_are_refused(way: str) -> None:
    call = WAYS[way]
    name = "'input'" if way in ("a step", "a step, plain", "a buffer") else "x"
    before = net().digest()
    for x, got, sample in ([[9, 1, 2]], 9, 0), ([[0, 1, 2], [0, -1, 2]], -1, 1), ([[1, 2, 5]], 5, 0):
        made = net()
        with pytest.raises(ArgumentError, match=text(got, sample, name)):
            call(made, x)
        assert made.digest() == before
    call(net(), GOOD)


def test_ids_among_floats_are_whole() -> None:
    made = net(dtype="f32")
    with pytest.raises(ArgumentError, match=text("0.5")):
        made.forward([[0.5, 1, 2]])
    assert np.array_equal(made.forward([[0.0, 4.0, 1.0]]), net().forward(GOOD))


HOLDERS: dict[str, Any] = {
    "sequential": [{"type": "sequential", "layers": [EMBEDDING, DENSE]}],
    "behind shapes": [
        {"type": "reshape", "shape": [3, 1]},
        {"type": "permute", "axes": [1, 0]},
        {"type": "flatten"},
        EMBEDDING,
    ],
    "branches": [{"type": "parallel", "branches": [EMBEDDING, {"type": "sequential", "layers": [EMBEDDING]}]}],
    "kmeans": [{"type": "kmeans", "num_clusters": 2, "attached_layer": EMBEDDING}],
}


@pytest.mark.parametrize("name", HOLDERS)
def test_tables_are_met_within_layers(name: str) -> None:
    made = net(*HOLDERS[name])
    with pytest.raises(ArgumentError, match=text(7)):
        made.forward([[0, 7, 1]])
    made.forward(GOOD)


def test_of_two_tables_the_smaller_says_what_fits() -> None:
    small = {**EMBEDDING, "vocab_size": 3}
    made = net({"type": "parallel", "branches": [EMBEDDING, small]})
    with pytest.raises(ArgumentError, match=text(3, most=2)):
        made.forward([[0, 3, 1]])


def test_numbers_that_are_no_ids_are_free() -> None:
    made = net({"type": "dense", "output_size": 2}, dtype="f32")
    assert made.forward([[-3.5, 9.0, 1e6]]).shape == (1, 2)


@pytest.mark.skipif(not has("torch"), reason="PyTorch is not installed")
def test_ids_of_imported_modules_too() -> None:
    import torch

    module = torch.nn.Sequential(torch.nn.Embedding(5, 2), torch.nn.Flatten(), torch.nn.Linear(6, 2))
    model = loom.from_torch(module, torch.zeros((2, 3), dtype=torch.long), on="interp")
    with pytest.raises(IndexError):
        module(torch.tensor([[0, 9, 1]]))
    for x, got in ([[0, 9, 1]], 9), ([[0, -2, 1]], -2):
        with pytest.raises(ArgumentError, match=text(got, name="'input'")):
            model(np.array(x))
        with pytest.raises(ArgumentError, match=text(got)):
            model.train(np.array(x), np.array([1]), loss="cross_entropy")
    assert np.allclose(model(np.array(GOOD)), module(torch.tensor(GOOD)).detach().numpy(), atol=1e-6)
