"""Networks in types of storage: what is computed with is what was stored, errors are those that arrays have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, EmptyError, NotFinite
from loom.nn import numeric
from loom.nn.numeric import TYPES, benchmark_layers, benchmark_types, error_of, store
from loom.nn.numeric.layers import LAYERS_MEASURED
from loom.nn.spec import LAYERS

DOCUMENT: dict[str, Any] = {
    "format": "loom/1", "seed": 4, "input": {"shape": [1, 6, 6]},
    "layers": [
        {"type": "conv2d", "filters": 3, "kernel_size": 3, "activation": "relu"}, {"type": "flatten"},
        {"type": "dense", "output_size": 5, "activation": "tanh"}, {"type": "dense", "output_size": 3},
    ],
}  # fmt: skip


def _network(**told: Any) -> loom.Network:
    net = loom.Network.from_json({**DOCUMENT, **told})
    draw = np.random.default_rng(0)
    net.load_weights({n: draw.standard_normal(w.shape) * 0.4 for n, w in net.weights().items()})
    return net


def test_a_converted_network_computes_with_what_was_stored() -> None:
    net = _network()
    x = np.random.default_rng(1).standard_normal((4, 1, 6, 6)).astype(np.float32)
    for name in ("f64", "bf16", "f8", "i8", "u4", "binary"):
        made = net.convert(name, scales="channel")
        assert made.storage is not None
        assert made.storage.types == (numeric.numeric_type(name).name,)
        decoded = {n: a.decode().astype(np.float32) for n, a in made.storage.arrays.items()}
        assert all(np.array_equal(decoded[n], w) for n, w in made.weights().items())
        by_hand = _network()
        by_hand.load_weights(decoded)
        assert np.array_equal(made.forward(x), by_hand.forward(x))
        for e in made.storage.errors:
            away = np.abs(net.weights()[e.name].astype(np.float64) - made.storage.arrays[e.name].decode())
            assert (e.max_abs, e.rms) == (away.max(), pytest.approx(np.sqrt(np.mean(away**2))))
            assert e.nbytes == made.storage.arrays[e.name].nbytes
    assert net.storage is None
    assert net.convert("f32").digest() == net.digest() == net.convert("f64").digest()


def test_channels_are_outputs() -> None:
    found = _network().convert("i8", scales="channel").storage
    assert found is not None
    shapes = {n: a.scale.shape for n, a in found.arrays.items() if a.scale is not None}
    assert shapes["layers.0.kernel" if "layers.0.kernel" in shapes else "layers.0.weight"] == (3, 1, 1, 1)
    assert shapes["layers.2.weight"] == (1, 5)
    assert shapes["layers.2.bias"] == ()


def test_types_by_patterns_and_what_is_kept() -> None:
    net = _network()
    found = net.convert("i4", keep=["*.bias"]).storage
    assert found is not None
    assert [n for n in net.weights() if n not in found.arrays] == ["layers.0.bias", "layers.2.bias", "layers.3.bias"]
    assert found.nbytes == sum(a.nbytes for a in found.arrays.values()) + 4 * (3 + 5 + 3)
    mixed = net.convert({"layers.3.*": "f16", "*.weight": "i8"}).storage
    assert mixed is not None
    assert {n: a.dtype.name for n, a in mixed.arrays.items()} == {
        "layers.0.weight": "i8", "layers.2.weight": "i8", "layers.3.weight": "f16", "layers.3.bias": "f16",
    }  # fmt: skip


def test_storage_is_told_as_long_as_it_is_so() -> None:
    layers = [{"type": "dense", "output_size": 2}]
    made = loom.Network.from_json({"format": "loom/1", "input": {"shape": [3]}, "layers": layers}).convert("i8")
    assert made.storage is not None
    assert "i8" in made.storage.table()
    made.train(np.ones((4, 3), np.float32), np.zeros(4, np.int64), learning_rate=0.5)
    assert made.storage is None


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f64"])
def test_networks_of_other_types_are_converted(dtype: str) -> None:
    net = _network(dtype=dtype)
    for name in TYPES:
        made = net.convert(name)
        assert made.spec.dtype.name == dtype
        assert made.storage is not None
    assert net.convert(dtype).digest() == net.digest()


def test_errors_of_a_tensor() -> None:
    x = np.array([0.0, 1.0, -2.0, 100.0], np.float32)
    found = error_of(x, store(x, "i8", scales=0.5), "w")
    assert (found.max_abs, found.max_relative, found.clipped, found.elements) == (36.5, 0.365, 1, 4)
    assert found.rms == pytest.approx(36.5 / 2)
    assert found.bits_lost == pytest.approx(24 - np.log2(np.sqrt((1 + 4 + 1e4) / 4) / (36.5 / 2)))
    exact = error_of(x, store(x, "f32"))
    assert (exact.max_abs, exact.max_relative, exact.rms, exact.bits_lost, exact.clipped) == (0, 0, 0, 0, 0)
    assert error_of(np.array([70000.0]), store(np.array([70000.0]), "f16")).clipped == 1
    sign = error_of(np.array([0.0, 1.0]), store(np.array([0.0, 1.0]), "binary"))
    assert sign.max_relative == np.inf
    assert sign.to_dict()["max_relative"] == 1e9


def test_the_benchmark_orders_types() -> None:
    net = _network()
    x = np.random.default_rng(2).standard_normal((50, 1, 6, 6)).astype(np.float32)
    y = net.predict(x).argmax(1)
    before = net.digest()
    report = benchmark_types(net, x, y)
    assert [s.dtype for s in report.scores] == [*TYPES]
    assert net.digest() == before
    assert report.samples == 50
    assert report.accuracy == 1.0 == report["float32"].accuracy
    for name in ("f64", "f32"):
        assert (report[name].quality_score, report[name].average_deviation) == (100.0, 0.0)
    scores = [report[n].quality_score for n in ("i16", "i8", "i4", "i2")]
    assert scores == sorted(scores, reverse=True)
    assert report["i8"].quality_score > 97 > report["binary"].quality_score
    count = sum(w.size for w in net.weights().values())
    assert report["f32"].memory_bytes == 4 * count
    assert report["i8"].memory_bytes == count + 6 * 4
    assert report["i8"].trade_off == report["i8"].quality_score / 0.01
    assert report.to_dict()["types"][0]["dtype"] == "f64"
    assert len(report.rows()[1]) == 21


def test_the_benchmark_by_hand() -> None:
    """Score and deviation as the older generations define them, computed apart."""
    net = _network()
    x = np.random.default_rng(3).standard_normal((9, 1, 6, 6)).astype(np.float32)
    before, after = net.predict(x).astype(np.float64), net.convert("i4").predict(x).astype(np.float64)
    places = before.argmax(1)
    pairs = [(before[i, p], after[i, p]) for i, p in enumerate(places)]
    far = [abs((a - e) / e) * 100 for e, a in pairs]
    found = benchmark_types(net, x, dtypes=["i4"])["i4"]
    assert found.average_deviation == pytest.approx(np.mean(far))
    assert found.quality_score == pytest.approx(np.mean([max(0, 100 - f) for f in far]))


def test_every_layer_with_weights_is_measured() -> None:
    have = {kind for kind in LAYERS if kind not in ("activation", "softmax", "scale")}
    without = {"flatten", "reshape", "dropout", "max_pool", "average_pool", "merge", "unembedding", "normalize",
               "permute", "token_pool"}  # fmt: skip
    assert have - without == set(LAYERS_MEASURED)
    found = benchmark_layers(dtypes=["f32", "i8", "i4"], kinds=["dense", "rms_norm", "embedding"])
    for kind, report in found.items():
        scores = [s.quality_score for s in report.scores]
        assert scores[0] == 100.0, kind
        assert 100.0 > scores[1] > 98.0, kind
        assert scores[1] > scores[2], kind


@pytest.mark.slow
def test_all_layers_and_types() -> None:
    for report in benchmark_layers().values():
        assert report["i16"].quality_score > 99.9


def test_bad_input_is_told() -> None:
    net = _network()
    for call, error, text in (
        (lambda: net.convert("i9"), DTypeError, "Nearest names: i8"),
        (lambda: net.convert("i8", keep=["*.bios"]), ArgumentError, "no weight is called '*.bios'"),
        (lambda: net.convert("i8", keep="*"), ArgumentError, "no weight is stored"),
        (lambda: net.convert("i8", scales=np.nan), ArgumentError, "layers.0."),
        (lambda: net.convert({"*.wight": "i8"}), ArgumentError, "layers.0.weight"),
        (lambda: net.convert(None), DTypeError, "not a type of storage"),
        (lambda: net.convert("i8", keep=3), ArgumentError, "not names of weights"),
        (lambda: benchmark_types(net, dtypes=[]), EmptyError, "no types"),
        (lambda: benchmark_types(net, None, [1]), ArgumentError, "targets without samples"),
        (lambda: benchmark_types(net, samples=2.5), ArgumentError, "samples"),
        (lambda: benchmark_layers(samples=0), ArgumentError, "samples"),
        (lambda: benchmark_layers(kinds=["dens"]), ArgumentError, "dense"),
    ):
        with pytest.raises(error) as found:
            call()
        assert text in str(found.value)
    weights = net.model.weights()
    weights["layers.2.weight"][0, 1] = np.nan
    net.model.load(weights)
    with pytest.raises(NotFinite, match=r"layers.2.weight.*first at \(0, 1\)"):
        net.convert("i8")


@pytest.mark.parametrize("dtype", [np.float32(1.0), np.int64(2), np.zeros(3)])
def test_a_number_is_no_type(dtype: Any) -> None:
    with pytest.raises(DTypeError, match="not a type of storage"):
        _network().convert(dtype)


def test_a_truth_is_no_scale() -> None:
    for scales in (True, np.True_, [True]):
        with pytest.raises(ArgumentError, match="neither a rule nor numbers"):
            _network().convert("i8", scales=scales)


@pytest.mark.parametrize("scales", ["auto", "channel"])
def test_what_is_stored_already_is_not_rounded_twice(scales: str) -> None:
    net = _network()
    for name in TYPES:
        once = net.convert(name, scales=scales)
        twice = once.convert(name, scales=scales)
        assert twice.digest() == once.digest(), name
        assert once.storage is not None
        assert twice.storage is not None
        for n, a in once.storage.arrays.items():
            assert (a.data, np.all(a.scale == twice.storage.arrays[n].scale)) == (twice.storage.arrays[n].data, True)
    halves = net.convert("i8", scales=0.5).convert("i8")  # another scale is meant
    assert halves.storage is not None
    assert all(a.scale != 0.5 for a in halves.storage.arrays.values())
    powers = net.convert("i2").convert("i2", power_of_two=True)
    assert powers.storage is not None
    assert all(np.frexp(a.scale)[0] == 0.5 for a in powers.storage.arrays.values())
