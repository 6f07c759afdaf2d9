"""Integer networks at their ends: rates that diverge, kinds of targets, sums that could wrap, parts of trainings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.core.errors import NotFinite
from loom.nn.integer import IntegerNetwork
from loom.nn.integer.record import IntegerPass
from loom.nn.integer.weights import to_float

Array = np.ndarray[Any, Any]
_X = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
_CLASSES = np.arange(8) % 3


def _network(activation: str = "linear", outputs: int = 3, dtype: str = "int16") -> IntegerNetwork:
    layers = [{"type": "dense", "output_size": outputs, "activation": activation}]
    return IntegerNetwork.from_json({"format": "loom/1", "seed": 4, "input": {"shape": [4]}, "layers": layers}, dtype,
                                    calibration=_X, on="cpu")  # fmt: skip


@pytest.mark.parametrize(("activation", "loss", "told", "meant"), [
    ("linear", "mse", 100 * np.eye(3, dtype=np.int64)[_CLASSES], 100 * np.eye(3)[_CLASSES]),
    ("sigmoid", "binary_cross_entropy", _CLASSES, np.eye(3)[_CLASSES]),
])  # fmt: skip
def test_targets_of_integers_mean_their_numbers(activation: str, loss: str, told: Array, meant: Array) -> None:
    one, other = _network(activation), _network(activation)
    first = one.train(_X, told, loss=loss, learning_rate=0.01)
    assert first.loss == other.train(_X, meant.astype(np.float32), loss=loss, learning_rate=0.01).loss
    assert one.digest() == other.digest()
    assert loss != "mse" or first.loss[0] == pytest.approx(10000 / 3, rel=0.1)


def test_a_training_that_diverges_is_an_error_and_changes_nothing() -> None:
    net = _network()
    truths = np.eye(3, dtype=np.float32)[_CLASSES]
    net.train(_X, truths, learning_rate=0.1)
    before, lost, step = net.digest(), net.lost(), int(net.step.item())
    with pytest.raises(NotFinite, match="larger than the weights they change") as caught:
        net.train(_X, truths, epochs=40, learning_rate=1e6)
    assert caught.value.step >= 28
    assert (net.digest(), net.lost(), int(net.step.item())) == (before, lost, step)


def test_losses_of_far_logits_do_not_wrap() -> None:
    net = _network()
    net.at({"layers.0": 60})
    for e in net.exponents.values():
        e.assign(np.array(40, np.int32))
    history = net.train(_X, _CLASSES, batch_size=8, learning_rate=0.0, seed=1)
    assert 0 < history.loss[0] < 2**14


def test_a_training_in_parts_is_the_whole_one_also_of_saved_networks() -> None:
    whole = _network()
    parts = whole
    for k in range(3):  # 72 steps: exponents fall after 64 of them
        scale = np.float32(4 if k == 0 else 0.05)
        for net in {id(n): n for n in (whole, parts)}.values():
            net.train(_X * scale, _CLASSES, epochs=6, batch_size=2, learning_rate=2.0, seed=1)
        parts = IntegerNetwork.load(parts.save(), on="cpu")
    assert parts.digest() == whole.digest()
    assert parts.lost() == whole.lost()
    assert {n: int(e.item()) for n, e in parts.peaks.items()} == {n: int(e.item()) for n, e in whole.peaks.items()}


def test_outputs_have_16_bits_and_what_joins_them_keeps_these() -> None:
    document = {
        "format": "loom/1", "seed": 2, "inputs": {"x": {"shape": [4]}}, "outputs": ["wide", "both"], "nodes": {
            "low": {"type": "dense", "output_size": 3, "inputs": ["x"]},
            "wide": {"type": "dense", "output_size": 3, "activation": "tanh", "inputs": ["x"]},
            "both": {"type": "merge", "combine_mode": "concat", "inputs": ["low", "wide"]},
        },
    }  # fmt: skip
    net = IntegerNetwork.from_json(document, "int8", calibration=_X, on="cpu")
    for name in ("low.weight", "low.bias"):  # so that the other's exponent is the larger
        net.exponents[name].assign(net.exponents[name].numpy() - np.int32(16))
    net.outputs["low"].assign(np.array(-24, np.int32))
    net.version += 1
    found = net.forward_integers(_X)
    (wide, e), (both, top) = found["wide"], found["both"]
    assert wide.dtype == both.dtype == np.int16
    assert e == top == -15
    assert np.abs(wide).max() > 127
    assert (both[:, 3:] == wide).all()


def test_gradients_of_very_many_products_leave_room_for_the_rate() -> None:
    rec = IntegerPass("train", 15, {}, {})
    exact = np.array([2**61 + 2**20, -(2**61), 3], np.int64)
    rec.give("w", tensor.array(exact, on="cpu"), tensor.full((), 0, "i32", on="cpu"), addends=2**31)
    q, e = rec.gradients["w"].q.numpy(), int(rec.gradients["w"].e.item())  # type: ignore[union-attr]
    assert e == 12
    assert q.tolist() == [2**49 + 2**8, -(2**49), 0]
    assert np.abs(q).max() * 4096 < 2**62


def test_what_is_shown_overflows_as_f32_does() -> None:
    found = to_float(np.array([0, 1, -32767], np.int16), 130)
    assert found.tolist() == [0.0, np.inf, -np.inf]
    assert to_float(np.array([1 << 14], np.int16), -160).tolist() == [2.0**-146]
