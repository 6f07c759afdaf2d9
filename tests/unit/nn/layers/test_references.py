"""Every layer, forward and backward, against PyTorch and against finite differences, all in f64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from enum import Enum
from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.nn.spec import LAYERS, Activation, ActivationLayer, Layer, parse
from loom.nn.spec.base.fields import value_fields
from loom.nn.spec.base.rules import Choice, Flag
from loom.nn.weights.model import Model
from unit.nn.layers.cases import CASES, Case

_BATCH = 3
_STEP = 1e-5
"""Of the differences: their error is about h^2 + 2^-53 / h = 1e-10, times derivatives of about 10."""


def _model(case: Case, dtype: str) -> Model:
    return Model(parse(case.document(dtype)), "cpu")


def _batch(case: Case) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(11)
    if case.ids:
        return rng.integers(0, case.ids, (_BATCH, *case.shape)).astype(np.int32)
    return rng.normal(size=(_BATCH, *case.shape)).astype(np.float32).astype(np.float64)


def _weights(model: Model) -> dict[str, np.ndarray[Any, Any]]:
    """Return weights without zeros, variances positive, that f32 holds."""
    rng = np.random.default_rng(12)
    found = {name: rng.normal(size=held.shape) for name, held in (model.parameters | model.state).items()}
    found = {name: np.exp(w) if name.endswith("variance") else w for name, w in found.items()}
    return {name: w.astype(np.float32).astype(np.float64) for name, w in found.items()}


class _Derived:
    """A layer's output, and loss = sum(output c) with its gradients, as one program."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.model = _model(case, "f64")
        self.weights = _weights(self.model)
        self.model.load(self.weights)
        self.x = _batch(case)
        dtype = "i32" if case.ids else "f64"
        fed = tensor.input("x", self.x.shape, dtype)
        others = {name: tensor.array(a, "f64", on="cpu") for name, a in case.others.items()}
        y = self.model.apply({"input": fed} | others, training=case.training, step=tensor.array(5, "u32", on="cpu"))
        self.c = np.random.default_rng(13).normal(size=y.shape)
        loss = (y * tensor.array(self.c, "f64", on="cpu")).sum()
        self.wrt = dict(self.model.parameters) | ({} if case.ids else {"x": fed})
        self.program = tensor.compile([y, loss, *tensor.grad(loss, list(self.wrt.values()))])

    def run(self, **given: Any) -> list[np.ndarray[Any, Any]]:
        self.program.run(**({"x": self.x} | given))
        return self.program.read()

    def loss(self, name: str, values: np.ndarray[Any, Any]) -> float:
        if name == "x":
            return float(self.run(x=values)[1])
        self.model.parameters[name].assign(values)
        return float(self.run()[1])


@pytest.fixture(scope="module", params=[pytest.param(case, id=case.name) for case in CASES])
def derived(request: pytest.FixtureRequest) -> _Derived:
    return _Derived(request.param)


def test_cases_left_out_are_known() -> None:
    names = [c.name for c in CASES]
    assert len(set(names)) == len(names)


def _layers(held: Any) -> Iterator[Layer]:
    """Yield all layers of a config's fields, its own first."""
    if isinstance(held, Layer):
        yield held
        for f in fields(held):
            yield from _layers(getattr(held, f.name))
    elif isinstance(held, tuple):
        for each in held:
            yield from _layers(each)


_TOLD = {"frozen", "learning_rate", "epsilon", "momentum", "name"}
"""Fields that no forward pass depends on, or that are a number in one formula."""


def _wanted(config: type[Layer]) -> Iterator[tuple[str, Any]]:
    """Yield the (field, value) that some case must have; of a field that may be left out, whether it is there."""
    for f in value_fields(config):
        if f.name in _TOLD or "if it is to be checked" in f.meaning:
            continue
        if isinstance(f.default, bool):
            yield from ((f.name, True), (f.name, False))
        elif isinstance(f.default, Activation) and config is not ActivationLayer:
            yield from ((f.name, "default"), (f.name, "other"))
        elif isinstance(f.rule, Flag):
            yield from ((f.name, True), (f.name, False), (f.name, "left out"))
        elif isinstance(f.rule, Choice):
            yield from ((f.name, member) for member in f.rule.members)
        elif f.default is None or f.default == ():
            yield from ((f.name, "left out"), (f.name, "given"))


def _found(layer: Layer) -> Iterator[tuple[str, Any]]:
    for f in value_fields(type(layer)):
        value = getattr(layer, f.name)
        yield f.name, value if isinstance(value, (bool, Enum)) else "left out" if value in (None, ()) else "given"
        yield f.name, "default" if value == f.default else "other"


def test_every_layer_and_option_has_a_case() -> None:
    """A new type, variant, mode, function or option without a case fails here."""
    met: dict[type[Layer], set[tuple[str, Any]]] = {config: set() for config in LAYERS.values()}
    seen = set()
    for case in CASES:
        for node in parse(case.document("f64")).nodes:
            for layer in _layers(node.layer):
                seen.add(type(layer))
                met.setdefault(type(layer), set()).update(_found(layer))
    assert [c.kind for c in LAYERS.values() if c not in seen] == []
    missing = [(c.kind, *w) for c in LAYERS.values() for w in _wanted(c) if w not in met[c]]
    assert missing == []


def test_against_pytorch(derived: _Derived) -> None:
    case = derived.case
    if case.reference is None:
        pytest.skip("PyTorch has no such layer")
    torch: Any = pytest.importorskip("torch")
    start = len("layers.0.")
    w = {name[start:]: torch.tensor(values, requires_grad=True) for name, values in derived.weights.items()}
    x = torch.tensor(derived.x, requires_grad=not case.ids)
    expected = case.reference(w, x)
    y, _, *gradients = derived.run()
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-12)
    if not expected.requires_grad:
        return
    (expected * torch.tensor(derived.c)).sum().backward()
    for name, found in zip(derived.wrt, gradients, strict=True):
        g = (x if name == "x" else w[name[start:]]).grad
        wanted = np.zeros(found.shape) if g is None else g.numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10, err_msg=name)


def test_finite_differences(derived: _Derived) -> None:
    gradients = derived.run()[2:]
    for name, found in zip(derived.wrt, gradients, strict=True):
        values = derived.x if name == "x" else derived.weights[name]
        expected = np.empty(values.shape)
        for at in np.ndindex(values.shape):
            moved = values.copy()
            moved[at] += _STEP
            above = derived.loss(name, moved)
            moved[at] = values[at] - _STEP
            expected[at] = (above - derived.loss(name, moved)) / (2 * _STEP)
        derived.loss(name, values)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7, err_msg=name)


def test_f32_is_near_f64(derived: _Derived) -> None:
    """Sums of at most 18 terms of about 1, then functions that make an error at most 30 times as large: 512 x 2^-24."""
    model = _model(derived.case, "f32")
    model.load(derived.weights)
    if derived.case.training:
        pytest.skip("forward is not training")
    y = model.forward({"input": derived.x} | derived.case.others)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, derived.run()[0], rtol=0, atol=2.0**-24 * 512)
