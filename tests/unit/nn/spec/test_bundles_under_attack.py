"""Bundles that lie, documents that are long: what was taken in silence or took minutes, found by damaging files."""

from __future__ import annotations

import base64
import json
import struct
import time
from typing import Any

import numpy as np
import pytest

from loom.core.errors import ArgumentError, FileError, SpecError
from loom.nn.spec import SavedModel, parse, read_bundle, write_bundle

DENSE = {"type": "dense", "activation": "relu", "width": 1, "height": 1, "input_height": 2, "output_height": 1}
RIGHT = {"kernel": [1.0, 2.0], "biases": [0.5]}


def packed(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def bundle(layers: list[Any], entries: list[Any], weights: Any = None, **inner: Any) -> dict[str, Any]:
    cfg = {"id": "a", "batch_size": 1, "grid_rows": 1, "grid_cols": 1, "layers_per_cell": len(layers), "layers": layers}
    data = packed({"type": "float32", "dtype": "", "layers": entries} | inner)
    model = {"id": "a", "cfg": cfg, "weights": {"fmt": "jsonModelB64", "data": data} | (weights or {})}
    return {"type": "modelhost/bundle", "version": 1, "models": [model]}


def problems(document: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read_bundle(document)
    return [str(p) for p in caught.value.problems]


AT = "$.models[0].weights.data"
LYING: dict[str, tuple[dict[str, Any], str]] = {
    "an entry too many": (bundle([DENSE], [RIGHT, RIGHT]), f"{AT}.layers: there are weights of more layers than the "
                          "network has: expected 1, got 2."),
    "branch weights too many": (
        bundle([{"type": "parallel", "branches": [DENSE]}], [{"branch_weights": [RIGHT, RIGHT]}]),
        f"{AT}.layers[0].branch_weights: there are weights of more layers than the network has: expected 1, got 2.",
    ),
    "branch weights of no branch": (bundle([DENSE], [RIGHT | {"branch_weights": [RIGHT]}]), "expected 0, got 1."),
    "beta of a dense": (bundle([DENSE], [RIGHT | {"beta": [1.0]}]), f"{AT}.layers[0].beta: unknown weight 'beta'."),
    "beta of an rms norm": (
        bundle([{"type": "rms_norm", "norm_size": 1}], [{"gamma": [1.0], "beta": [1.0]}]), "unknown weight 'beta'",
    ),
    "another layer's": (bundle([DENSE], [RIGHT | {"type": "lstm"}]), f"{AT}.layers[0].type: the weights are of another "
                        "layer: expected 'dense', got 'lstm'."),
    "a strange number": (bundle([DENSE], [RIGHT | {"gain": 3}]), f"{AT}.layers[0].gain: unknown weight 'gain'."),
    "a strange key": (bundle([DENSE], [RIGHT], {"extra": 1}), "$.models[0].weights.extra: unknown key 'extra'."),
    "a strange key within": (bundle([DENSE], [RIGHT], None, extra=1), f"{AT}.extra: unknown key 'extra'."),
    "one size that is none": (
        bundle([DENSE], [RIGHT]) | {"models": [bundle([DENSE], [RIGHT])["models"][0] | {"id": "\ud800"}]},
        "$.models[0].id: a text is not Unicode: got '\\ud800'. It has half of a surrogate pair.",
    ),
    "a newer one": ({"type": "loom/bundle", "version": 2, "models": []}, "$.version: unusable version: expected 1, got "
                    "2. A newer Loom wrote it."),
    "no version": ({"type": "modelhost/bundle", "version": True, "models": []}, "version: expected 1, got true"),
}  # fmt: skip


@pytest.mark.parametrize("name", LYING)
def test_bundles_that_lie(name: str) -> None:
    document, wanted = LYING[name]
    assert any(wanted in p for p in problems(document)), problems(document)


def test_what_stands_for_nothing_may_be_there() -> None:
    norm = {"type": "rms_norm", "norm_size": 1}
    entries = [RIGHT | {"conv_bias": [], "type": "dense", "gain": 0}, {"gamma": [2.0], "beta": [0.0]}]
    (model,) = read_bundle(bundle([DENSE, norm], entries))
    assert model.weights["layer1.gamma"].tolist() == [2.0]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("float32", struct.pack("<2f", 1.0, float("nan"))),
        ("float64", struct.pack("<2d", 1.0, 1e300)),
        ("float16", struct.pack("<2e", float("inf"), 1.0)),
        ("bfloat16", bytes([0x80, 0x7F, 0, 0])),
        ("float8", bytes([0x7F, 0])),
    ],
)
@pytest.mark.filterwarnings("error")
def test_packed_weights_that_are_not_finite(kind: str, data: bytes) -> None:
    inner = {"dtype": kind, "layers": [{"kernel": base64.b64encode(data).decode(), "biases": "AAAAAA=="}]}
    document = bundle([DENSE], [], {"fmt": "multiPrecisionB64", "data": packed(inner)})
    assert any(
        "kernel: a number is not finite in float32: expected at most 3.4028235e+38 in size, got 1 of 2 that are not."
        in p for p in problems(document)
    )  # fmt: skip


def test_a_scale_of_ones_own_is_told() -> None:
    inner = {"dtype": "int8", "scale": 0.02, "layers": [{"kernel": "f4E=", "biases": "AA=="}]}
    (model,) = read_bundle(bundle([DENSE], [], {"fmt": "multiPrecisionB64", "data": packed(inner)}))
    assert model.warnings == (f"{AT}: 'scale' 0.02 is not used: numbers of int8 have a scale of their own",)


def test_many_problems_are_told_in_time_that_grows_with_them() -> None:
    document = {"layers": [{"type": "softmax", "softmax_variant": "masked", "mask": [2] * 60000}]}
    start = time.process_time()
    with pytest.raises(SpecError) as caught:
        parse(document)
    assert len(caught.value.problems) >= 60000
    assert time.process_time() - start < 20  # over 120 s when each problem was compared with all before it


def test_one_problem_is_told_once() -> None:
    with pytest.raises(SpecError) as caught:
        parse({"grid_rows": -1, "grid_cols": 1, "layers_per_cell": 1, "layers": [DENSE | {"width": 2, "height": 1}]})
    assert [str(p) for p in caught.value.problems] == [
        "$.grid_rows: unusable value: expected an integer from 0 to 10000, got -1."
    ]


def test_texts_that_are_not_unicode() -> None:
    layer = {"type": "dense", "output_size": 1}
    good = {"format": "loom/1", "input": {"shape": [2]}, "layers": [layer]}
    for more in ({"metadata": {"by": "\udfff"}}, {"metadata": {"\ud800": 1}}, {"name": "a\ud834b"}):
        with pytest.raises(SpecError, match="is not Unicode"):
            parse(good | more)
    assert parse(good | {"name": "\U0001d11e"}).name == "\U0001d11e"


def test_ids_that_cannot_be_written() -> None:
    network = parse({"format": "loom/1", "input": {"shape": [2]}, "layers": [{"type": "dense", "output_size": 1}]})
    weights = {n: np.zeros(s, np.float32) for n, s in network.parameters().items()}
    for name in ("\ud800", 3, None, "x" * 2000):
        with pytest.raises(ArgumentError, match="unusable id of a model: expected a text of at most 1000 characters"):
            write_bundle([SavedModel(id=name, network=network, weights=weights)])  # type: ignore[arg-type]


def test_our_bundles_say_what_they_are_and_those_before_them_are_read() -> None:
    network = parse({"format": "loom/1", "input": {"shape": [2]}, "layers": [{"type": "dense", "output_size": 1}]})
    weights = {n: np.ones(s, np.float32) for n, s in network.parameters().items()}
    written = json.loads(write_bundle([SavedModel(id="a", network=network, weights=weights)]))
    assert (written["type"], written["version"]) == ("loom/bundle", 1)
    del written["sha256"]
    (before,) = read_bundle(written | {"type": "modelhost/bundle"})
    assert before.network == network
    written["models"][0]["weights"]["more"] = 1
    with pytest.raises(SpecError, match="unknown key 'more'"):
        read_bundle(written)


def test_files_that_cannot_be_read(tmp_path: Any) -> None:
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(FileError, match=r"the file cannot be read \("):
            parse(path)
