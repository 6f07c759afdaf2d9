"""The precision of a network's products: of its document, of a training, everywhere a product is, on every device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, CheckpointError, DTypeError
from loom.kernels.precisions import NAMES
from loom.nn.spec import ProductPrecision, parse, to_json
from unit.patterns.canonical import same_bits

LAYERS = [
    {"type": "conv2d", "filters": 4, "kernel_size": 6, "activation": "relu"},
    {"type": "reshape", "shape": [9, 4]},
    {"type": "multi_head_attention", "num_heads": 2},
    {"type": "lstm", "hidden_size": 5, "output": "last"},
    {"type": "dense", "output_size": 3},
]


def network(precision: str | None, on: str = "cpu", dtype: str = "f32") -> loom.Network:
    document: dict[str, Any] = {"format": "loom/1", "seed": 3, "dtype": dtype, "input": {"shape": [1, 8, 8]}}
    document |= {"layers": LAYERS} | ({} if precision is None else {"precision": precision})
    return loom.Network.from_json(document, on=on)


def samples() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((24, 1, 8, 8)).astype(np.float32), rng.integers(0, 3, 24)


def test_names_are_those_of_products() -> None:
    assert tuple(p.value for p in ProductPrecision) == NAMES


def test_a_document_keeps_it() -> None:
    net = network("q12")
    assert json.loads(to_json(net.spec))["precision"] == "q12"
    assert parse(to_json(net.spec)) == net.spec
    assert loom.Network.load(net.save()).spec.precision is ProductPrecision.Q12
    assert "precision" not in json.loads(to_json(network("full").spec))


@pytest.mark.parametrize("name", ["q12", *(pytest.param(n, marks=pytest.mark.slow) for n in ("x12", "q8", "q24"))])
def test_forward_and_training_take_it(on: str, name: str) -> None:
    x, y = samples()
    told, plain = network(name, on), network(None, on)
    assert not same_bits(told.forward(x), plain.forward(x))
    assert np.abs(told.forward(x) - plain.forward(x)).max() < 0.1
    told.train(x, y, epochs=2, batch_size=8, progress=False)
    trained = network(None, on)
    history = trained.train(x, y, epochs=2, batch_size=8, precision=name, progress=False)
    assert trained.digest() == told.digest()  # of the document or of the training: the same steps
    plain.train(x, y, epochs=2, batch_size=8, progress=False)
    assert plain.digest() != trained.digest()
    assert history.loss[-1] < history.loss[0] + 0.5
    if on != "cpu":
        there = network(name)
        there.train(x, y, epochs=2, batch_size=8, progress=False)
        assert there.digest() == told.digest()


def test_a_training_may_ask_for_more_than_the_document() -> None:
    x, y = samples()
    full, asked = network(None), network("q8")
    full.train(x, y, epochs=1, progress=False)
    asked.train(x, y, epochs=1, precision="full", progress=False)
    assert asked.digest() == full.digest()


def test_what_is_in_force_outside_changes_no_network() -> None:
    x, _ = samples()
    with loom.precision("q8"):
        inside = network(None).forward(x)
    assert same_bits(inside, network(None).forward(x))


def test_types_that_it_cannot_be_of_are_refused() -> None:
    with pytest.raises(loom.core.errors.SpecError, match=r"operands of f64 are not rounded to q12"):
        network("q12", dtype="f64")
    with pytest.raises(loom.core.errors.SpecError, match=r"operands of bf16 are not rounded to x12"):
        network("x12", dtype="bf16")
    assert network("q12", dtype="bf16").forward(samples()[0]).shape == (24, 3)
    x, y = samples()
    with pytest.raises(ArgumentError, match="Did you mean 'q12'"):
        network(None).train(x, y, precision="q13", progress=False)
    with pytest.raises(DTypeError, match="operands of f32 or f16 or bf16"):
        network(None, dtype="f64").train(x.astype(np.float64), y, precision="q8", progress=False)
    with pytest.raises(DTypeError, match="x12 rounds operands of f32"):
        network(None).train(x, y, precision="x12", compute="bf16", progress=False)


def _small(precision: str | None) -> loom.Network:
    document: dict[str, Any] = {"format": "loom/1", "seed": 3, "input": {"shape": [9]}}
    document |= {"layers": [{"type": "dense", "output_size": 3}]} | (
        {} if precision is None else {"precision": precision}
    )
    return loom.Network.from_json(document, on="cpu")


def test_a_training_goes_on_in_its_own_precision_alone(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).standard_normal((16, 9)).astype(np.float32), np.arange(16) % 3
    settings: dict[str, Any] = {"checkpoint": tmp_path, "progress": False}
    _small(None).train(x, y, epochs=1, precision="q8", **settings)
    for net, given in ((_small(None), {}), (_small(None), {"precision": "q12"}), (_small("q8"), {"precision": "full"})):
        with pytest.raises(CheckpointError, match="another precision"):
            net.train(x, y, epochs=2, resume=True, **settings, **given)
    rest, whole = _small("q8"), _small("q8")
    rest.train(x, y, epochs=2, resume=True, **settings)
    whole.train(x, y, epochs=2, progress=False)
    assert rest.digest() == whole.digest()


def test_tweening_takes_that_of_the_document_whatever_is_in_force() -> None:
    x, y = np.random.default_rng(0).standard_normal((16, 9)).astype(np.float32), np.arange(16) % 3

    def tweened(own: str | None, around: str | None) -> str:
        net = _small(own)
        with loom.precision(around):
            net.tween("tween_chain").step(x, y, 0.1)
        return net.digest()

    assert tweened(None, "q8") == tweened(None, None) != tweened("q8", None) == tweened("q8", "q12")
