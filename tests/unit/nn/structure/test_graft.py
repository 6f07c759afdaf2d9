"""Grafts compute what their donors compute, and weights are copied or shared as asked."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, LoomError, SpecError, StateError
from loom.nn import structure
from loom.nn.structure import conv2d, dense, graft, lstm, mixture, parallel, scale, shared, softmax, stitched

X = np.random.default_rng(5).standard_normal((24, 4)).astype(np.float32)
Y = np.arange(24) % 3


def _pair() -> tuple[loom.Network, loom.Network]:
    one = structure.network([dense(6, activation="relu"), dense(3)], input=4, seed=1, on="cpu", classes=[*"abc"])
    other = structure.network([("h", dense(4)), shared("h"), dense(3)], input=4, seed=2, on="cpu", classes=[*"abc"])
    return one, other


def _references() -> dict[str, Any]:
    one, other = (net.forward(X) for net in _pair())
    return {
        "concat": np.concatenate([one, other], 1), "add": one + other, "avg": (one + other) * np.float32(0.5),
        "multiply": one * other, "grid_scatter": np.concatenate([one, other], 1),
    }  # fmt: skip


def test_every_mode_computes_of_its_donors() -> None:
    one, other = _pair()
    for mode, expected in _references().items():
        made = graft([one, other], mode)
        assert made.forward(X).tobytes() == expected.tobytes(), mode
        again = loom.Network.load(made.save())
        assert again.digest() == made.digest()
        assert again.forward(X).tobytes() == expected.tobytes()
    mixed = graft([one, other], "filter", softmax="sparse", temperature=0.5)
    gate = mixed.weights()
    z = (X.astype(np.float64) @ gate["layers.0.gate.weight"] + gate["layers.0.gate.bias"]) / 0.5
    first = np.clip((z[:, 0] - z[:, 1] + 1) / 2, 0, 1)[:, None]  # sparsemax of two
    expected = first * one.forward(X) + (1 - first) * other.forward(X)
    assert np.allclose(mixed.forward(X), expected, atol=1e-5)
    assert mixed.spec.classes == ("a", "b", "c")


def test_graphs_and_scaled_networks_are_joined_as_graphs() -> None:
    scaled = structure.network([scale(), dense(3)], input=4, seed=3, on="cpu")
    scaled.train(X, Y, epochs=1)
    graph = structure.Graph(seed=4)
    x = graph.input(4)
    branched = graph.network((x >> dense(3)) * (x >> dense(3, activation="tanh")), on="cpu")
    made = graft([scaled, branched, scaled], "concat", head=[dense(2)])
    joined = np.concatenate([scaled.forward(X), branched.forward(X), scaled.forward(X)], 1)
    weights = made.weights()
    expected = joined.astype(np.float64) @ weights["head_0.weight"] + weights["head_0.bias"]
    assert np.allclose(made.forward(X), expected, atol=1e-5)
    with pytest.raises(ArgumentError, match="cannot be joined by 'filter'"):
        graft([scaled, branched], "filter")


def test_layers_are_stitched_to_one_width() -> None:
    one, other = _pair()
    made = graft([one, other], "add", layers=0, stitch=True, head=[dense(3)], seed=9)
    kept = made.weights()
    assert kept["layers.0.branches.1.layers.1.weight"].shape == (4, 6)
    assert kept["layers.0.branches.0.layers.0.weight"].tobytes() == one.weights()["layers.0.weight"].tobytes()
    assert made.forward(X).shape == (24, 3)
    assert graft([one, other], "concat", layers=(0, 1), stitch=10).forward(X).shape == (24, 20)


def test_branches_of_parallel_layers_are_unfolded() -> None:
    nets = [
        structure.network([dense(4), parallel([dense(2), dense(3)], combine_mode="concat")], input=4, seed=s, on="cpu")
        for s in (1, 2)
    ]
    made = graft([*nets], "grid_scatter", layers=1, unfold=True)
    layer: Any = made.spec.nodes[0].layer
    assert [(c.row, c.col) for c in layer.grid_positions] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    expected = np.concatenate([X @ n.weights()[f"layers.1.branches.{b}.weight"] for n in nets for b in (0, 1)], 1)
    assert np.allclose(made.forward(X), expected, atol=1e-5)


def test_only_the_gate_learns_of_frozen_experts() -> None:
    made = graft(_pair(), "filter", frozen=True)
    before = made.weights()
    made.train(X, Y, epochs=2, optimizer="adamw")
    after = made.weights()
    changed = {n for n in before if before[n].tobytes() != after[n].tobytes()}
    assert changed == {"layers.0.gate.weight", "layers.0.gate.bias"}


def test_shared_weights_are_one() -> None:
    one, other = _pair()
    made = graft([one, other], "avg", share=True)
    made.train(X, Y, epochs=1)
    assert made.weights()["layers.0.branches.0.layers.0.weight"].tobytes() == one.weights()["layers.0.weight"].tobytes()
    other.train(X, Y, epochs=1)
    mean = (one.forward(X) + other.forward(X)) * np.float32(0.5)
    assert made.forward(X).tobytes() == mean.tobytes()
    for act in (lambda: one.to("interp"), lambda: made.train(X, Y, epochs=2, resume=True)):
        with pytest.raises(StateError, match="another's too"):
            act()
    with made.model.alone("a test"), pytest.raises(StateError, match="being trained"):
        one.train(X, Y)
    with one.model.alone("a test"), pytest.raises(StateError, match="being trained"):
        made.train(X, Y)
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda n=n: answers.append(bool((n.forward(X) == n.forward(X)).all())))
               for n in (one, other, made)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 3


def test_images_and_sequences_have_gates_that_fit() -> None:
    images = [structure.network([conv2d(2, 3), structure.flatten(), dense(3)], input=(1, 5, 5), seed=s) for s in (1, 2)]
    assert graft(images, "filter").forward(np.zeros((2, 1, 5, 5), np.float32)).shape == (2, 3)
    tokens = [structure.network([lstm(4)], input=(6, 3), seed=s) for s in (1, 2)]
    made = graft(tokens, "filter")
    assert made.forward(np.zeros((2, 6, 3), np.float32)).shape == (2, 6, 4)
    assert made.weights()["layers.0.gate.weight"].shape == (3, 2)


@pytest.mark.parametrize(("make", "error", "text"), [
    (lambda: graft([_pair()[0]]), ArgumentError, "at least 2"),
    (lambda: graft([1, 2]), ArgumentError, "not networks"),  # type: ignore[list-item]
    (lambda: graft(_pair(), "filtre"), ArgumentError, "Did you mean 'filter'"),
    (lambda: graft(_pair(), "add", temperature=2.0), ArgumentError, "the mode 'filter'"),
    (lambda: graft(_pair(), "add", layers=0), SpecError, "unequal shapes"),
    (lambda: graft(_pair(), layers=7), ArgumentError, "a number from 0"),
    (lambda: graft(_pair(), layers=(2, 1)), ArgumentError, "no layer 2|after the last"),
    (lambda: graft(_pair(), layers=1), ArgumentError, "another input|not taken"),
    (lambda: graft([_pair()[0]] * 2, share=True), ArgumentError, "twice"),
    (lambda: graft([_pair()[0], structure.network([dense(3)], input=5)]), ArgumentError, "takes another input"),
    (lambda: graft([_pair()[0], structure.network([dense(3)], input=4, dtype="f64")]), ArgumentError, "several types"),
    (lambda: graft(_pair(), share=True, on="interp"), ArgumentError, "several devices"),
    (lambda: mixture([]), ArgumentError, "no experts"),
    (lambda: mixture([dense(2)], temprature=2), TypeError, "temprature"),
    (lambda: mixture([dense(2)], softmax="sprase"), SpecError, "Did you mean 'sparse'"),
])  # fmt: skip
def test_what_is_wrong_is_told(make: Any, error: type[LoomError], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def test_experts_of_other_widths_are_stitched() -> None:
    layer = mixture([dense(5), stitched(dense(7), 10)], softmax=softmax("entmax", alpha=1.2), width=10)
    net = structure.network([layer], input=4, on="cpu")
    assert net.forward(X).shape == (24, 10)


def test_ensembles_by_coverage() -> None:
    masks = {
        "a": np.array([1, 1, 0, 0, 0], bool),
        "b": np.array([0, 1, 1, 1, 0], bool), "c": np.array([0, 0, 1, 1, 1], bool),
    }  # fmt: skip
    found = structure.match_ensembles(masks, 0.5)
    assert [(m.model_a, m.model_b, m.coverage, m.overlap) for m in found] == [
        ("a", "c", 1.0, 0.0), ("a", "b", 0.8, 0.2), ("b", "c", 0.8, 0.4),
    ]  # fmt: skip
    assert found[0].to_dict() == {"ModelA": "a", "ModelB": "c", "Coverage": 1.0, "Overlap": 0.0}
    assert structure.match_ensembles(masks, 0.9) == found[:1]
    assert structure.cover(masks) == ["b", "a", "c"]
    assert structure.cover(masks, 1) == ["b"]
    with pytest.raises(ArgumentError, match="not a mask as the others"):
        structure.cover({"a": masks["a"], "b": [True]})


def test_an_ensemble_says_the_mean_of_probabilities() -> None:
    nets = _pair()
    made = structure.ensemble({"one": nets[0], "other": nets[1]}, softmax=True)
    z = np.stack([net.forward(X).astype(np.float64) for net in nets])
    p = np.exp(z - z.max(-1, keepdims=True))
    expected = (p / p.sum(-1, keepdims=True)).mean(0)
    assert np.allclose(made.predict(X), expected, atol=1e-6)
    assert made.gives_probabilities
    right = structure.correct_mask(made, X, Y)
    assert right.tolist() == (expected.argmax(1) == Y).tolist()


def test_precision_and_batches_of_the_donors_are_kept() -> None:
    one, other = (
        structure.network([dense(3)], input=40, seed=s, precision="x12", batch_size=8, on="cpu") for s in (1, 2)
    )
    x = np.random.default_rng(3).standard_normal((5, 40)).astype(np.float32)
    full = structure.network([dense(3)], input=40, seed=1, on="cpu")
    both = graft([one, other])
    assert both.forward(x)[:, :3].tobytes() == one.forward(x).tobytes() != full.forward(x).tobytes()
    assert both.spec.batch_size == 8
    with pytest.raises(ArgumentError, match="several precisions"):
        graft([one, full])
