"""Generated networks are sound, keep their budget, run, train, and survive being saved; searches are repeatable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, LoomError, NotFinite, ShapeError
from loom.core.philox import philox
from loom.nn.spec import parse, to_document
from loom.nn.structure import ArchitectureSpace, generate, search, space_for
from loom.nn.structure.searching import rounds_of
from loom.nn.structure.space import GENERATED, Draws

_SPACES: list[tuple[Any, Any, dict[str, Any]]] = [
    ((8,), 3, {"parameters": 400, "widths": (3, 7)}), ((10, 6), 4, {"depth": (2, 5)}), ((1, 9, 9), 10, {}),
    ((7,), 5, {"vocab_size": 30}), ((6, 4), (6, 2), {"scale": True}), ((3, 8, 8), (2, 4, 4), {"parameters": 3000}),
    ((4,), 2, {"types": GENERATED, "depth": (3, 8), "dtype": "f64"}),
]  # fmt: skip


def _data(space: ArchitectureSpace, n: int = 4) -> tuple[Any, Any]:
    draw = np.random.default_rng(1)
    x = draw.standard_normal((n, *space.input)).astype(np.float32)
    if space.vocab_size is not None:
        x = draw.integers(0, space.vocab_size, x.shape).astype(np.float32)
    return x, draw.standard_normal((n, *space.output)).astype(np.float32)


def _live(number: int, on: str) -> None:
    """Draw a network of one of the spaces, run it, train it for a step, and save and load it."""
    shape, out, keys = _SPACES[number % len(_SPACES)]
    space = ArchitectureSpace(shape, out, **keys)
    net = loom.Network.from_json(generate(space, 11, number), on=on)
    x, y = _data(space)
    assert np.isfinite(net.forward(x)).all()
    assert net.forward(x).shape == y.shape
    net.train(x, y, epochs=1, batch_size=4, learning_rate=0.001)
    again = loom.Network.load(net.save(), on=on)
    assert again.digest() == net.digest()
    assert again.forward(x).tobytes() == net.forward(x).tobytes()


def test_a_network_lives() -> None:
    _live(0, "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(70))
def test_many_networks_live(number: int, on: str) -> None:
    _live(number, on)


def test_networks_keep_to_their_space() -> None:
    seen: set[str] = set()
    for shape, out, keys in _SPACES:
        space = ArchitectureSpace(shape, out, **keys)
        made = [generate(space, 5, number) for number in range(12)]
        assert len({str(d) for d in made}) >= 10
        for document in made:
            spec = parse(document)
            assert to_document(spec) == document
            assert spec.shapes()[spec.outputs[0]] == space.output
            assert sum(int(np.prod(s)) for s in spec.parameters().values()) <= space.parameters
            types = [node.layer.kind for node in spec.nodes]
            given = [t for t in types if t not in ("scale", "embedding", "flatten", "reshape")]
            assert space.depth[0] <= len(given) - 1 <= space.depth[1]
            assert set(given[:-1]) <= set(space.types)
            seen |= set(types)
    assert seen >= {"conv2d", "dense", "lstm", "multi_head_attention", "parallel", "residual", "swiglu"}


def test_the_same_seed_is_the_same_document() -> None:
    space = ArchitectureSpace((4,), 2, types=["dense"], depth=(1, 1), widths=(2, 3), activations=["relu", "tanh"])
    words = [int(philox(np.array([i], np.uint64), 5, 0, 0x4C570020, 9)[0][0]) for i in range(8)]
    draws = Draws(9, 5)
    assert [draws.word() for _ in range(8)] == words
    assert generate(space, 9, 5) == generate(space, 9, 5)
    assert generate(space, 9, 5) != generate(space, 9, 6)
    drawn = {str(generate(space, 1, k)["layers"]) for k in range(40)}
    assert len(drawn) == 4  # two widths, two activations


def test_rounds_share_the_budget() -> None:
    assert rounds_of(9, 27, 3) == ((9, 1), (3, 4), (1, 13))
    assert rounds_of(1, 5, 3) == ((1, 5),)
    assert rounds_of(4, 24, 2) == ((4, 2), (2, 6), (1, 14))


X = np.random.default_rng(3).standard_normal((60, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0.5)


def test_a_search_ranks_and_repeats() -> None:
    space = space_for(X, Y, types=["dense", "layer_norm"], depth=(1, 2), parameters=200)
    assert space.output == (3,)
    seen: list[tuple[int, int]] = []
    first, again = (
        search(X, Y, space, candidates=3, budget=60, seed=4, on="cpu", learning_rate=0.02, batch_size=15,
               report=lambda number, c: seen.append((number, c.number)))
        for _ in range(2)
    )  # fmt: skip
    assert first.to_dict() == again.to_dict()
    assert seen[:3] == [(0, 0), (0, 1), (0, 2)]
    assert [c.epochs for c in first.ranking] == [40, 10, 10]
    best, losers = first.ranking[0], first.ranking[1:]
    assert best.accuracy is not None
    assert best.accuracy >= 0.8
    assert losers[0].accuracy is not None
    assert losers[1].accuracy is not None
    assert (-losers[0].accuracy, losers[0].loss) <= (-losers[1].accuracy, losers[1].loss)
    alone = loom.Network.from_json(best.document, on="cpu")
    assert alone.spec == first.best.spec
    assert all(c.parameters <= 200 for c in first.ranking)


def test_who_diverges_is_last_and_what_is_wrong_with_samples_is_told() -> None:
    space = ArchitectureSpace((3,), 3, types=["dense"], depth=(0, 1), widths=(4,))
    found = search(X, Y, space, candidates=4, budget=12, optimizer="sgd", learning_rate=1e30, on="cpu")
    failed = [bool(c.failed) for c in found.ranking]
    assert failed == sorted(failed)
    assert 0 < sum(failed) < 4
    bad = np.where(np.arange(60)[:, None] == 3, np.nan, X)
    with pytest.raises(NotFinite, match="NaN in the data: x, sample 3") as told:
        search(bad, Y, space, candidates=2, budget=4, validation=(X, Y), on="cpu")
    assert "diverged" not in str(told.value)
    assert generate(ArchitectureSpace((3,), 3, dtype=loom.f64), 1) == generate(
        ArchitectureSpace((3,), 3, dtype="f64"), 1
    )


@pytest.mark.parametrize(("make", "error", "text"), [
    (lambda: ArchitectureSpace((4,), 2, dtype="f99"), ArgumentError, "bf16"),
    (lambda: ArchitectureSpace((4,), 2, scale="yes"), LoomError, "scale"),
    (lambda: search(X[:3], Y[:3]), ArgumentError, "0.25 of 3"),
    (lambda: search(X, Y, validation=(X, Y), hold_out=0.5), ArgumentError, "has no effect beside validation"),
    (lambda: search(X, Y, report="x"), ArgumentError, "not a function"),
    (lambda: ArchitectureSpace((4,), 2, types=["danse"]), ArgumentError, "Did you mean 'dense'"),
    (lambda: ArchitectureSpace((4,), 2, types=[]), ArgumentError, "at least one name"),
    (lambda: ArchitectureSpace((4,), 2, activations="rellu"), ArgumentError, "relu"),
    (lambda: ArchitectureSpace((4, 0), 2), ArgumentError, "sizes from 1"),
    (lambda: ArchitectureSpace((4,), 2, depth=(3, 1)), ArgumentError, "least, most"),
    (lambda: ArchitectureSpace((4,), 2, widths=[0]), ArgumentError, "integers from 1"),
    (lambda: ArchitectureSpace((4,), 2, parameters=0), ArgumentError, "an integer from 1"),
    (lambda: ArchitectureSpace((4,), 2, vocab_size=3, scale=True), ArgumentError, "no scale"),
    (lambda: generate(ArchitectureSpace((784,), 10, parameters=100, types=["dense"])), ArgumentError, "no room"),
    (lambda: generate(ArchitectureSpace((4,), 2), seed=-1), ArgumentError, "out of range"),
    (lambda: search(X, Y, budget=3), ArgumentError, "at least 27"),
    (lambda: search(X, Y, epochs=3), ArgumentError, "budget="),
    (lambda: search(X, Y, candidates=0), ArgumentError, "from 1"),
    (lambda: search(X, Y, hold_out=0.0), ArgumentError, "nothing is held out"),
    (lambda: search(X, Y[:5]), ShapeError, "samples and their targets"),
    (lambda: search(X, X[:, 0]), ShapeError, "expand_dims"),
])  # fmt: skip
def test_what_is_wrong_is_told(make: Any, error: type[LoomError], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


@pytest.mark.slow
def test_a_search_in_which_all_diverge_is_told() -> None:
    with pytest.raises(NotFinite, match="finite"):
        search(X * 1e30, X, candidates=1, budget=1, learning_rate=1e30)
