"""Bundles: older ones as section 12 of design/dnvm.md has them, ours bit for bit, and everything wrong with either."""

from __future__ import annotations

import base64
import json
import random
import re
import struct
from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError, DTypeError, ShapeError, SpecError
from loom.nn.spec import Dense, Parallel, SavedModel, parse, read_bundle, write_bundle
from loom.nn.spec.base.problems import Place, Reading
from loom.nn.spec.older.numbers import STORED_TYPES, from_stored

NETWORK = parse(
    {
        "format": "loom/1",
        "input": {"shape": [2, 3]},
        "layers": [{"type": "batch_norm"}, {"type": "flatten"}, {"type": "dense", "output_size": 2}],
    }
)


def encoded(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def old(layers: list[Any], arrays: list[Any], **more: Any) -> dict[str, Any]:
    cfg = {"id": "a", "batch_size": 1, "grid_rows": 1, "grid_cols": 1, "layers_per_cell": len(layers), "layers": layers}
    data = encoded({"type": "float32", "dtype": "", "layers": arrays})
    model = {"id": "a", "cfg": cfg, "weights": {"fmt": "jsonModelB64", "data": data}}
    return {"type": "modelhost/bundle", "version": 1, "models": [model | more]}


def saved_dense(inputs: int, outputs: int, **more: Any) -> dict[str, Any]:
    sizes = {"width": 1, "height": 1, "input_height": inputs, "output_height": outputs}
    return {"type": "dense", "activation": "relu", **sizes, **more}


def problems(document: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read_bundle(document)
    return [str(p) for p in caught.value.problems]


def test_an_older_dense_network() -> None:
    kernel = [0.1, -2.5, 3e-8, 4, 5, 6]
    (model,) = read_bundle(old([saved_dense(3, 2)], [{"kernel": kernel, "biases": [1, 2]}]))
    assert model.id == "a"
    assert isinstance(model.network.nodes[0].layer, Dense)
    assert set(model.weights) == {"layer0.weight", "layer0.bias"}
    weight = model.weights["layer0.weight"]
    assert weight.shape == (3, 2)
    assert weight.dtype == np.float32
    assert weight.tobytes() == struct.pack("<6f", *kernel)


def counting(*shape: int) -> list[float]:
    return [float(i) for i in range(int(np.prod(shape)))]


def test_every_older_layer() -> None:
    gates = "ifgo"
    layers: list[Any] = [
        {"type": "conv2d", "input_channels": 1, "filters": 2, "kernel_size": 2, "input_height": 3, "input_width": 3},
        {"type": "conv1d", "input_channels": 2, "filters": 2, "kernel_size": 1, "input_length": 4},
        {"type": "mha", "d_model": 4, "num_heads": 2, "seq_length": 2},
        {"type": "rnn", "input_size": 4, "hidden_size": 2, "seq_length": 2},
        {"type": "lstm", "input_size": 2, "hidden_size": 2, "seq_length": 2},
        {"type": "layer_norm", "norm_size": 2},
        {"type": "rms_norm", "norm_size": 2},
        {"type": "swiglu", "input_height": 2, "output_height": 3},
        {"type": "softmax"},
        {"type": "parallel", "branches": [saved_dense(4, 2), {"type": "sequential", "branches": [saved_dense(4, 3)]}]},
        {"type": "kmeans", "num_clusters": 2, "branches": [saved_dense(5, 3)]},
    ]
    mha = {f"{x}_weights": counting(4, 4) for x in "qkv"} | {f"{x}_bias": counting(4) for x in "qkv"}
    lstm = {f"weight_{x}{g}": counting(2, 2) for x in "ih" for g in gates} | {f"bias_{g}": counting(2) for g in gates}
    swiglu = {"gate_weights": counting(2, 3), "up_weights": counting(2, 3), "down_weights": counting(3, 2)}
    weights: list[Any] = [
        {"kernel": counting(2, 4), "conv_bias": counting(2)},
        {"kernel": counting(2, 2), "conv_bias": counting(2)},
        mha | {"output_weight": counting(4, 4), "output_bias": counting(4)},
        {"weight_ih": counting(2, 4), "weight_hh": counting(2, 2), "bias_h": counting(2)},
        lstm,
        {"gamma": counting(2), "beta": counting(2)},
        {"gamma": counting(2)},
        swiglu | {"gate_bias": counting(3), "up_bias": counting(3), "down_bias": counting(2)},
        {},
        {"branch_weights": [
            {"kernel": counting(4, 2), "biases": counting(2)},
            {"branch_weights": [{"kernel": counting(4, 3), "biases": counting(3)}]},
        ]},
        {"cluster_centers": counting(2, 3), "branch_weights": [{"kernel": counting(5, 3), "biases": counting(3)}]},
    ]  # fmt: skip
    (model,) = read_bundle(json.dumps(old(layers, weights)))
    wanted = model.network.parameters()
    assert {n: a.shape for n, a in model.weights.items()} == wanted
    assert model.weights["layer2.o_weight"][1, 2] == 6.0
    assert model.weights["layer4.weight_hh_g"].shape == (2, 2)
    assert model.weights["layer9.branches.1.layers.0.weight"].shape == (4, 3)
    assert model.weights["layer10.attached_layer.weight"].shape == (5, 3)
    assert model.warnings == ()


def test_gates_are_not_in_older_files() -> None:
    layer = {
        "type": "parallel",
        "combine_mode": "filter",
        "branches": [saved_dense(4, 2)] * 2,
        "filter_gate": saved_dense(4, 2),
    }
    dense = {"kernel": counting(4, 2), "biases": counting(2)}
    (model,) = read_bundle(old([layer], [{"branch_weights": [dense, dense]}]))
    assert isinstance(model.network.nodes[0].layer, Parallel)
    assert not model.weights["layer0.gate.weight"].any()
    assert [w for w in model.warnings if "layer0.gate.weight" in w]


def test_older_bundles_that_are_wrong() -> None:
    layer, good = saved_dense(3, 2), {"kernel": counting(3, 2), "biases": [1, 2]}
    base = "$.models[0].weights.data.layers[0]"
    assert problems(old([layer], [good | {"kernel": [1, 2]}])) == [
        f"{base}.kernel: the number of weights does not match: expected 6, got 2."
    ]
    assert problems(old([layer], [{"kernel": counting(3, 2)}])) == [
        f"{base}: weight 'biases' is missing: expected 2 numbers."
    ]
    assert problems(old([layer], [])) == [f"{base}: unusable value: expected an object of weights, got null."]
    assert problems(old([layer], [good | {"kernels": [1]}])) == [
        f"{base}.kernels: unknown weight 'kernels'. Did you mean 'kernel'?"
    ]
    assert "too large for float32" in problems(old([layer], [good | {"biases": [1e39, 0]}]))[0]
    assert "a list of numbers" in problems(old([layer], [good | {"biases": ["1", 0]}]))[0]
    assert problems(old([layer], [good], weights={"fmt": "jsonModelB64", "data": "***"})) == [
        "$.models[0].weights.data: not base64: got '***'."
    ]
    assert "unknown format of weights" in problems(old([layer], [good], weights={"fmt": "gob", "data": ""}))[0]
    assert "malformed JSON" in problems(old([layer], [good], weights={"fmt": "jsonModelB64", "data": "e30x"}))[0]
    assert "$.models[0].cfg.layers[0].type: unknown layer type 'x'" in problems(old([{"type": "x"}], [good]))[0]
    assert problems({"type": "other"}) == [
        "$.type: not a bundle: expected 'loom/bundle' or 'modelhost/bundle', got 'other'."
    ]
    double = old([layer], [good])
    double["models"] *= 2
    assert problems(double) == ["$.models[1].id: another model has the id 'a'."]
    with pytest.raises(DTypeError):
        read_bundle(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "data", "values"),
    [
        ("float64", struct.pack("<2d", 0.1, -3.0), [np.float32(0.1), -3.0]),
        ("float32", struct.pack("<2f", 0.1, -3.0), [np.float32(0.1), -3.0]),
        ("float16", struct.pack("<2e", 0.5, -3.0), [0.5, -3.0]),
        ("bfloat16", bytes([0x80, 0x3F, 0x40, 0xC0]), [1.0, -3.0]),
        ("float8", bytes([0x38, 0x7E]), [1.0, 448.0]),  # E4M3, OCP 8-bit formats
        ("float4", bytes([0xF0]), [1.0, -1.0]),
        ("int8", struct.pack("<2b", 127, -127), [1.0, -1.0]),
        ("int16", struct.pack("<2h", 32767, 0), [1.0, 0.0]),
        ("int32", struct.pack("<2i", 2**31 - 1, 0), [1.0, 0.0]),
        ("int64", struct.pack("<2q", 127, 0), [1.0, 0.0]),
        ("uint8", bytes([255, 0]), [1.0, -1.0]),
        ("uint16", struct.pack("<2H", 65535, 0), [1.0, -1.0]),
        ("uint32", struct.pack("<2I", 2**32 - 1, 0), [1.0, -1.0]),
        ("uint64", struct.pack("<2Q", 2**64 - 1, 0), [1.0, -1.0]),
    ],
)
def test_stored_types(kind: str, data: bytes, values: list[float]) -> None:
    reading = Reading()
    made = from_stored(kind, data, 2, Place(reading))
    assert made is not None
    assert made.dtype == np.float32
    assert made.tolist() == [float(v) for v in values]
    assert kind in STORED_TYPES
    assert from_stored(kind, data + b"\0", 2, Place(reading)) is None
    assert "the number of bytes does not match" in reading.problems[0].what


def test_multi_precision() -> None:
    document = old([saved_dense(1, 2)], [])
    inner = {"dtype": "int8", "scale": 127, "layers": [{"kernel": "f4E=", "biases": "AAA="}]}
    document["models"][0]["weights"] = {"fmt": "multiPrecisionB64", "data": encoded(inner)}
    (model,) = read_bundle(document)
    assert model.weights["layer0.weight"].tolist() == [[1.0, -1.0]]
    document["models"][0]["weights"]["data"] = encoded(inner | {"dtype": "int4"})
    assert "unknown element type 'int4'" in problems(document)[0]


def weights(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes = NETWORK.parameters() | NETWORK.state()
    return {n: random.integers(0, 2**32, s, dtype=np.uint32).view(np.float32) for n, s in shapes.items()}


def test_our_own_bit_for_bit() -> None:
    models = [SavedModel(id=str(i), network=NETWORK, weights=weights(i)) for i in range(2)]  # NaN payloads included
    text = write_bundle(models)
    again = read_bundle(text)
    for before, after in zip(models, again, strict=True):
        assert after.network == before.network
        assert after.id == before.id
        for name, array in before.weights.items():
            assert after.weights[name].tobytes() == array.tobytes()
            assert after.weights[name].flags.writeable
    assert write_bundle(again) == text


def test_our_own_in_other_types() -> None:
    made = {n: a.astype(np.float16 if n.endswith("bias") else np.float64) for n, a in weights(3).items()}
    (model,) = read_bundle(write_bundle([SavedModel(id="x", network=NETWORK, weights=made)]))
    assert all(model.weights[n].dtype == a.dtype and model.weights[n].tobytes() == a.tobytes() for n, a in made.items())


def test_what_cannot_be_written() -> None:
    good = weights(0)

    def write(**more: Any) -> None:
        write_bundle([SavedModel(id="x", network=NETWORK, weights=good | more)])

    with pytest.raises(ArgumentError, match=r"unknown weight 'layers.2.wight'. Did you mean 'layers.2.weight'"):
        write(**{"layers.2.wight": good["layers.2.weight"]})
    with pytest.raises(ShapeError, match=r"has another shape: expected \(6, 2\), got \(2, 6\)"):
        write(**{"layers.2.weight": good["layers.2.weight"].T})
    with pytest.raises(DTypeError, match="expected f32, f64, f16, got int64"):
        write(**{"layers.2.bias": np.zeros(2, np.int64)})
    with pytest.raises(ArgumentError, match=r"weight 'layers.0.gamma' is missing: expected shape \(2,\)"):
        write_bundle([SavedModel(id="x", network=NETWORK, weights={})])
    with pytest.raises(ArgumentError, match="two models have the same id"):
        write_bundle([SavedModel(id="x", network=NETWORK, weights=good)] * 2)


def test_our_own_that_is_wrong() -> None:
    document = json.loads(write_bundle([SavedModel(id="x", network=NETWORK, weights=weights(0))]))
    tensors = document["models"][0]["weights"]["tensors"]
    tensors["layers.2.bias"]["shape"] = [3]
    tensors["layers.0.gamma"]["data"] = "AAAA"
    tensors["layers.0.beta"]["dtype"] = "i7"
    tensors["strange"] = tensors.pop("layers.2.weight")
    base = "$.models[0].weights.tensors"
    found = problems(document)
    assert found[0].startswith(f"{base}.strange: unknown weight 'strange'.")
    assert found[1:] == [
        f"{base}['layers.0.gamma'].data: the number of bytes does not match: expected 8, got 3.",
        f"{base}['layers.0.beta'].dtype: unusable value: expected one of f32, f64, f16, got 'i7'.",
        f"{base}: weight 'layers.2.weight' is missing: expected shape (6, 2).",
        f"{base}['layers.2.bias'].shape: the weight has another shape: expected [2], got [3].",
    ]


def test_one_digit_of_a_bundle_that_is_another_is_told() -> None:
    text = write_bundle([SavedModel(id="x", network=NETWORK, weights=weights(0))])
    draw = random.Random(7)
    base64_at = [
        found.start(1) + draw.randrange(len(found[1]) - 4) for found in re.finditer('"data": "(.{6,}?)"', text)
    ]
    wrong = [text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :] for at in base64_at]
    wrong += [text.replace('"epsilon": 1e-05', '"epsilon": 1e-04'), text.replace('"id": "x"', '"id": "y"')]
    assert len(wrong) > 5
    for each in wrong:
        if each != text:
            with pytest.raises(SpecError, match=r"(?s)\$.sha256.*damaged, or was changed.*take out 'sha256'"):
                read_bundle(each)


@pytest.mark.parametrize("layout", [{"indent": None}, {"sort_keys": True}, {"ensure_ascii": False}])
def test_a_digest_is_of_what_is_said_however_it_is_written(layout: dict[str, Any]) -> None:
    text = write_bundle([SavedModel(id="Größe \U0001f40d", network=NETWORK, weights=weights(0))])
    written = json.loads(text)
    for document in (written, json.dumps(written, **layout), text.replace(": 2,", ": 2.0,")):
        (found,) = read_bundle(document)
        assert found.weights["layers.2.weight"].tobytes() == weights(0)["layers.2.weight"].tobytes()
    del written["sha256"]  # as older versions wrote it
    assert read_bundle(written)[0].id == "Größe \U0001f40d"
