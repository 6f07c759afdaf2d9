"""Integer networks: against an oracle in exact integers, floats, and themselves on every device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.ir.frontend.decorator import KernelFunction
from loom.ir.kernel import Instr, walk
from loom.nn.integer import IntegerNetwork
from loom.nn.integer.record import BITS, IntegerPass, Quantity, product
from loom.nn.integer.train import Steps, rate_parts
from loom.nn.spec import parse
from loom.nn.train.datasets import divide, read_samples
from loom.tensor.program import Drafted
from tests.unit.nn.integer.oracle import Oracle

Array = np.ndarray[Any, Any]
_MLP = [{"type": "dense", "output_size": 6, "activation": "relu"}, {"type": "dense", "output_size": 3}]
_MANY = [
    {"type": "conv2d", "filters": 3, "kernel_size": 3, "padding": 1, "activation": "leaky_relu"},
    {"type": "average_pool", "pool_size": 2},
    {"type": "residual", "layers": [{"type": "conv2d", "filters": 3, "kernel_size": 3, "padding": 1,
                                     "activation": "tanh"}]},
    {"type": "max_pool", "pool_size": 2, "stride": 1}, {"type": "flatten"}, {"type": "dropout", "rate": 0.25},
    {"type": "dense", "output_size": 9, "activation": "sigmoid"},
    {"type": "dense", "output_size": 7, "activation": "swish"},
    {"type": "dense", "output_size": 6, "activation": "relu2"},
    {"type": "dense", "output_size": 5, "activation": "scaled_relu"},
    {"type": "dense", "output_size": 3, "activation": "softmax"},
]  # fmt: skip


_FEW = [
    {"type": "conv2d", "filters": 3, "kernel_size": 3, "activation": "relu"}, {"type": "max_pool", "pool_size": 2},
    {"type": "flatten"}, {"type": "dropout", "rate": 0.25},
    {"type": "dense", "output_size": 3, "activation": "softmax"},
]  # fmt: skip


def _document(layers: Any, shape: Any = (5,)) -> dict[str, Any]:
    return {"format": "loom/1", "seed": 4, "input": {"shape": list(shape)}, "layers": layers}


def _samples(shape: Any = (5,), n: int = 12) -> Array:
    return np.random.default_rng(2).normal(size=(n, *shape)).astype(np.float32)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_forward_is_that_of_the_rules(dtype: str, on: str) -> None:
    x = _samples()
    net = IntegerNetwork.from_json(_document(_MLP), dtype, calibration=x[:4], on=on)  # so that some saturate
    oracle = Oracle(net.numbers(), BITS[dtype])
    _, made = oracle.forward(*oracle.door(x * 3))
    q, e = net.forward_integers(x * 3)["layers.1"]
    assert q.dtype == np.int16
    assert (q == made[-1][0]).all()
    assert e == made[-1][1]
    assert (net.forward(x * 3) == made[-1][0] * 2.0**e).all()


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_a_step_is_that_of_the_rules(dtype: str, on: str) -> None:
    x, y = _samples(), np.random.default_rng(3).normal(size=(12, 3)).astype(np.float32)
    net = IntegerNetwork.from_json(_document(_MLP), dtype, calibration=x, on=on)
    oracle = Oracle(net.numbers(), BITS[dtype])
    targets = np.rint(y.astype(np.float64) * 65536).astype(np.int64)
    m, k = rate_parts(0.5 * 2 / 36)
    wanted = oracle.step(*oracle.door(x), targets, (int(m), int(k)))
    net.train(x, y, learning_rate=0.5, batch_size=12, shuffle=False, loss="mse", rounding="nearest")
    found = net.numbers()
    assert len(wanted) == 8
    for name, values in wanted.items():
        assert (found[name] == values).all(), name


@pytest.mark.slow
@pytest.mark.parametrize("layers", [_FEW, _MANY])
def test_int16_is_near_the_floats_and_int8_less(layers: Any) -> None:
    x = _samples((1, 6, 6), 40)
    net = loom.Network.from_json(_document(layers, (1, 6, 6)), on="cpu")
    wanted = net.forward(x)
    assert np.abs(net.quantize("int16", calibration=x).forward(x) - wanted).max() < 1e-4
    assert np.abs(net.quantize("int8", calibration=x).forward(x) - wanted).max() < 0.02


@pytest.mark.parametrize("dtype", ["int8", pytest.param("int16", marks=pytest.mark.slow)])
def test_inference_gives_what_a_step_of_training_sees(dtype: str) -> None:
    layers = [layer for layer in _FEW if layer["type"] != "dropout"]
    x = _samples((1, 6, 6), 7)
    net = IntegerNetwork.from_json(_document(layers, (1, 6, 6)), dtype, calibration=x[:3] * 0.7, on="cpu")
    rec = IntegerPass("train", net.bits, net.quantities(), net.outputs, step=net.step)
    start = tensor.full((), 0, "i32", on="cpu") + net.inputs["input"]
    seen = net.record(rec, {n: Quantity(t, start) for n, t in net.inputs_of(7).items()})["layers.3"]
    program = tensor.compile([seen.q, seen.e + 0 * net.step.astype("i32")], on="cpu")
    most = (1 << net.bits) - 1
    program.run(x0=np.clip(np.rint(x * 2.0 ** -net.inputs["input"]), -most, most).astype(f"i{1 + (net.bits > 7)}"))
    q, e = net.forward_integers(x)["layers.3"]
    assert (program.read()[0] == q).all()
    assert int(program.read()[1]) == e


def _float_gradients(net: Any, x: Array, y: Array) -> dict[str, Array]:
    """Return the gradients of the sum of cross-entropies in f64."""
    loss = tensor.cross_entropy(net.model.apply(tensor.array(x, on="cpu")), tensor.array(y, on="cpu")) * len(y)
    names = list(net.model.parameters)
    return dict(zip(names, [g.numpy() for g in tensor.grad(loss, list(net.model.parameters.values()))], strict=True))


_FUNCTIONS = ["relu", "leaky_relu", "scaled_relu", "relu2", "sigmoid", "tanh", "swish"]


@pytest.mark.slow
@pytest.mark.parametrize("activation", _FUNCTIONS)
def test_gradients_are_near_those_of_floats(activation: str) -> None:
    layers = [
        {"type": "conv2d", "filters": 4, "kernel_size": 3, "stride": 2, "padding": 1, "activation": activation},
        {"type": "residual", "layers": [{"type": "conv2d", "filters": 4, "kernel_size": 3, "padding": 1}]},
        {"type": "max_pool", "pool_size": 3, "stride": 2, "padding": 1}, {"type": "average_pool", "pool_size": 2},
        {"type": "flatten"}, {"type": "dense", "output_size": 6, "activation": activation},
        {"type": "dense", "output_size": 4, "activation": "softmax"}, {"type": "dense", "output_size": 3},
    ]  # fmt: skip
    x, y = _samples((2, 9, 9), 16), np.random.default_rng(1).integers(0, 3, 16)
    net = loom.Network.from_json(_document(layers, (2, 9, 9)), on="cpu")
    wanted = _float_gradients(net, x, y)
    small = net.quantize("int16", calibration=x)
    before = small.weights()
    small.train(x, y, learning_rate=2.0**-6, batch_size=16, rounding="nearest")
    for name, g in wanted.items():
        step = (before[name].astype(np.float64) - small.weights()[name]) * 64 * 16
        lsb = 2.0 ** int(small.exponents[name].item()) * (1 << 15 if "weight" in name else 1) * 64 * 16
        assert np.abs(step - g).max() < 0.02 * np.abs(g).max() + lsb, name


def test_every_device_learns_the_same(on: str) -> None:
    x, y = _samples((1, 6, 6), 8), np.arange(8) % 3
    net = IntegerNetwork.from_json(_document(_FEW, (1, 6, 6)), "int8", calibration=x, on=on)
    history = net.train(x, y, epochs=2, batch_size=4, learning_rate=0.2, optimizer=loom.nn.train.SGD(momentum=0.5))
    assert net.digest() == "60347456d8a1e15d43781b76ab721ce9a7b55c898ff74e0a2baf3256ed45bdbe"
    assert history.loss[0] == pytest.approx(np.log(3), rel=0.6)


def test_threads_and_seeds_and_what_was_saved() -> None:
    x, y = _samples(n=40), np.arange(40) % 3

    def trained(seed: int = 1, **kept: str) -> IntegerNetwork:
        os.environ.update(kept)
        try:
            net = IntegerNetwork.from_json(_document(_MLP), "int16", calibration=x, on="cpu")
            net.train(x, y, epochs=3, batch_size=8, learning_rate=0.1, seed=seed)
            return net
        finally:
            for name in kept:
                del os.environ[name]

    one = trained()
    assert one.digest() == trained().digest() == trained(LOOM_THREADS="1").digest()
    assert one.digest() != trained(seed=2).digest()
    again = IntegerNetwork.load(one.save())
    assert again.digest() == one.digest()
    assert (again.forward(x) == one.forward(x)).all()
    assert (one.predict(x) == one.forward(x)).all()
    for net in (one, again):
        net.train(x, y, epochs=1, batch_size=8, learning_rate=0.1, seed=1)
    assert again.digest() == one.digest()


def _float_operations(net: IntegerNetwork, outputs: Any, updates: Any = ()) -> Iterator[str]:
    """Yield the name of a kernel for each operation on floats, of all that would be dispatched."""
    for recorded in Drafted(outputs, updates, net.device).draft.dispatches:
        ir = recorded.kernel.ir if isinstance(recorded.kernel, KernelFunction) else recorded.kernel.kernel
        for statement in walk(ir.body):
            types = [s.dtype for s in (statement, *statement.args)] if isinstance(statement, Instr) else []
            if any(t is not None and t.scalar.is_float for t in types):
                yield ir.name


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_no_operation_on_floats_occurs(dtype: str) -> None:
    x = _samples((2, 8, 8), 4)
    net = _uncalibrated(_MANY, (2, 8, 8), dtype, x)
    steps = Steps(net, "cross_entropy", 0.9, "stochastic", "int16", 0)
    loss, updates = steps.ends(4, np.zeros(4, np.int32))
    assert len(updates) > 50
    assert not list(_float_operations(net, [loss], updates))
    found = [q.q for q in net.forward_ends(4).values()]
    assert len(set(_float_operations(net, found))) == 1  # the door, which is one kernel


def _uncalibrated(layers: Any, shape: Any, dtype: str, x: Array) -> IntegerNetwork:
    """Return a network whose exponents are guesses, so that nothing is compiled."""
    spec = parse(_document(layers, shape))
    weights = {n: np.ones(s, np.float32) for n, s in spec.parameters().items()}
    net = IntegerNetwork(spec, dtype, weights, {"input": -4}, on="cpu")
    rec = IntegerPass("calibrate", net.bits, net.quantities(), {})
    start = tensor.full((), 0, "i32", on="cpu")
    net.record(rec, {n: Quantity(t, start - 4) for n, t in net.inputs_of(len(x)).items()})
    net.at(dict.fromkeys(rec.needed, -4))
    return net


@pytest.mark.slow  # examples/networks/integer_digits.py does as much
@pytest.mark.parametrize("dtype", ["int16", "int8"])
def test_digits_are_learned(dtype: str) -> None:
    (x, y), held_out = divide(*read_samples("digits", (64,)), 0.2, 0)
    layers = [{"type": "dense", "output_size": 64, "activation": "relu"}, {"type": "dense", "output_size": 10}]
    net = IntegerNetwork.from_json(_document(layers, (64,)), dtype, calibration=x, on="cpu")
    history = net.train(x, y, epochs=8, batch_size=32, learning_rate=0.1, validation=held_out,
                        optimizer=loom.nn.train.SGD(momentum=0.9))  # fmt: skip
    assert history.validation_accuracy[-1] >= 0.95
    assert net.evaluate(*held_out).accuracy == history.validation_accuracy[-1]


def test_sums_at_the_extremes_are_exact(on: str) -> None:
    for kind, k in ((np.int8, 33286), (np.int8, 33287), (np.int16, 300)):
        most = np.iinfo(kind).max
        a, b = np.full((1, k), most, kind), np.stack([np.full(k, s * most, kind) for s in (1, -1)], 1)
        found = product(tensor.array(a, on=on), tensor.array(b, on=on)).numpy()
        assert found.tolist() == [[int(most) ** 2 * k, -(int(most) ** 2) * k]]


def test_small_steps_count_on_average() -> None:
    x, y = np.ones((64, 1), np.float32), np.full((64, 1), 0.5, np.float32)
    layers = [{"type": "dense", "output_size": 1, "bias": False}]
    for rounding, moves in (("nearest", False), ("stochastic", True)):
        net = IntegerNetwork.from_json(_document(layers, (1,)), "int16", calibration=x, on="cpu")
        before = net.numbers()["layers.0.weight"].copy()
        net.train(x, y, epochs=400, batch_size=64, learning_rate=2.0**-32, rounding=rounding)
        assert (net.numbers()["layers.0.weight"] != before).any() == moves
