"""Documents, bundles and safetensors files, damaged in keys, values and bytes: read as they are, or told.

The generator knows only what the guide shows: examples of each format, and that JSON has values of six kinds.
"""

from __future__ import annotations

import base64
import copy
import json
import random
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from loom.core.errors import LoomError
from loom.nn.files.persistence import is_bundle, read_safetensors
from loom.nn.spec import SavedModel, convert, parse, read_bundle, to_json, write_bundle, write_older_bundle

LONGEST_SECONDS = 20
"""Of processor time for one file of some kilobytes; most take a few milliseconds."""

OURS: list[dict[str, Any]] = [
    {"format": "loom/1", "seed": 7, "classes": ["a", "b"], "input": {"shape": [1, 6, 6]}, "layers": [
        {"type": "scale"}, {"type": "conv2d", "filters": 2, "kernel_size": [3, 2], "padding": 1, "activation": "relu"},
        {"type": "max_pool", "pool_size": 2}, {"type": "flatten"}, {"type": "dropout", "rate": 0.25},
        {"type": "dense", "output_size": 2, "name": "head"}], "metadata": {"by": "me"}},
    {"format": "loom/1", "inputs": {"tokens": {"shape": [4], "dtype": "i32"}, "seen": {"shape": [4]}}, "nodes": {
        "embed": {"type": "embedding", "vocab_size": 9, "embedding_dim": 4, "inputs": ["tokens"]},
        "attend": {"type": "multi_head_attention", "num_heads": 2, "padding_mask": "seen", "inputs": ["embed"]},
        "sum": {"type": "merge", "combine_mode": "add", "inputs": ["embed", "attend"]},
        "again": {"$ref": "attend", "inputs": ["sum"]},
        "out": {"type": "softmax", "variant": "grid", "rows": 2, "cols": 2, "inputs": ["again"]}}},
    {"format": "loom/1", "input": {"shape": [6]}, "grid": {"rows": 1, "cols": 1, "layers": 2}, "layers": [
        {"type": "parallel", "combine_mode": "filter", "branches": [{"type": "dense", "output_size": 3}] * 2,
         "gate": {"type": "dense", "output_size": 2}, "cell": {"row": 0, "col": 0, "layer": 1}},
        {"type": "kmeans", "num_clusters": 2, "attached_layer": {"type": "residual", "layers": [{"type": "stitch",
         "output_size": 3}]}, "learning_rate": 0.5}]},
]  # fmt: skip
DENSE = {"type": "dense", "input_size": 6, "output_size": 4, "activation": "tanh"}
OLDER: list[dict[str, Any]] = [
    {"id": "x", "batch_size": 1, "grid_rows": 1, "grid_cols": 2, "layers_per_cell": 2, "layers": [
        DENSE, {"type": "parallel", "combine_mode": "grid_scatter", "grid_output_rows": 1, "grid_output_cols": 2,
                "grid_output_layers": 1, "branches": [{"type": "dense", "output_size": 3, "activation": "relu"}] * 2,
                "grid_positions": [{"branch_index": 1}, {"branch_index": 0, "target_col": 1}]},
        {"type": "lstm", "input_size": 3, "hidden_size": 2, "seq_length": 2},
        {"type": "softmax", "softmax_variant": "masked", "mask": [True, False, True, True], "temperature": 2}]},
    {"layers": [{"type": "rms_norm", "norm_size": 8}, {"type": "mha", "d_model": 8, "num_heads": 2, "seq_length": 3},
                {"type": "swiglu", "input_size": 8, "output_size": 5}, {"type": "kmeans", "num_clusters": 2}]},
    {"depth": 1, "rows": 1, "cols": 1, "layers_per_cell": 2, "layers": [
        {"type": "CNN2", "z": 0, "y": 0, "x": 0, "l": 0, "input_channels": 1, "filters": 2, "kernel_size": 2,
         "stride": 1, "input_height": 4, "input_width": 4, "activation": "gelu"},
        {"type": "dense", "l": 1, "input_height": 18, "output_height": 2, "dtype": 1}]},
]  # fmt: skip

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 1 << 31, 1 << 70, 10**400, 0.5, -0.0, 1e308, 1e-320, float("nan"),
    float("inf"), "", "relu", "dense", "head", "$ref", "\ud800", "ä" * 300, "layers.0", "0", [], {}, [[]],
    [None], [0, 1], [{}], [True] * 9, {"type": "dense"}, {"$ref": "layers.0"}, [{"type": "softmax"}] * 3,
    {"a": {"a": {"a": 1}}},
)  # fmt: skip


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (object or list, key or index) of everything within a value."""
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def damaged(document: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """Return a copy with some values replaced, moved, doubled, misspelt or left out."""
    made = copy.deepcopy(document)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        there = list(places(made))
        if not there:
            break
        (held, key), (other, theirs) = draw.choice(there), draw.choice(there)
        what = draw.randrange(6)
        if what == 0 and isinstance(held, dict):
            held[str(key) + draw.choice("sx_ ")] = held.pop(key)
        elif what == 1:
            del held[key]
        elif what == 2:
            held[key] = copy.deepcopy(other[theirs])
        elif what == 3 and isinstance(held, list):
            held += copy.deepcopy(held)
        elif what == 4 and isinstance(held, dict):
            held[draw.choice(("type", "layers", "inputs", "seed", "input_size", "axis", "mask"))] = copy.deepcopy(
                draw.choice(VALUES)
            )
        else:
            held[key] = copy.deepcopy(draw.choice(VALUES))
    return made


def bytes_damaged(data: bytes, draw: random.Random) -> bytes:
    """Return bytes with some changed, cut off, doubled or put in."""
    made = bytearray(data)
    for _ in range(draw.choice((1, 1, 3))):
        at = draw.randrange(len(made) + 1)
        what = draw.randrange(4)
        if what == 0:
            made[at : at + 1] = bytes([draw.randrange(256)])
        elif what == 1:
            del made[at : at + draw.choice((1, 1, 9, len(made)))]
        elif what == 2:
            made[at:at] = made[max(0, at - 20) : at]
        else:
            made[at:at] = draw.choice((b"\0", b'"', b"{", b"[", b"1e999", b"\xff", b"\\ud800", b"-"))
    return bytes(made)


def weighted(document: dict[str, Any]) -> SavedModel:
    network = convert(document).network
    draw = np.random.default_rng(1)
    shapes = network.parameters() | network.state()
    weights = {n: draw.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    return SavedModel(id="m", network=network, weights=weights)


def old_bundle_damaged(text: str, draw: random.Random) -> dict[str, Any]:
    """Return a bundle of the first generation damaged outside or within its packed weights."""
    bundle = json.loads(text)
    weights = bundle["models"][0]["weights"]
    if draw.random() < 0.5:
        return damaged(bundle, draw)
    inner = damaged(json.loads(base64.b64decode(weights["data"])), draw)
    if draw.random() < 0.3:
        inner = {
            "dtype": draw.choice(("int8", "float64", "bfloat16", "float4", "int4")),
            "scale": copy.deepcopy(draw.choice(VALUES)),
        } | inner
        weights["fmt"] = "multiPrecisionB64"
    weights["data"] = base64.b64encode(json.dumps(inner).encode()).decode()
    return bundle


def read(call: Callable[[], Any], what: str) -> bool:
    """Tell whether it is read; every error is the house's, none takes long, and nothing is warned of besides."""
    start, told = time.process_time(), ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            call()
    except LoomError as error:
        told = str(error)
    assert not told or told.encode().startswith(b"["), what
    assert time.process_time() - start < LONGEST_SECONDS, what
    return not told


def round_trip(document: Any) -> None:
    network = convert(document).network
    assert parse(to_json(network)) == network


def attack(seed: int, count: int) -> tuple[int, int]:
    """Damage ``count`` files of each kind; return how many were read, and how many told."""
    draw = random.Random(seed)
    bundles = [write_bundle([weighted(d)]) for d in OURS]
    old = [
        write_older_bundle(
            weighted({"layers": [DENSE, {"type": "parallel", "branches": [DENSE | {"input_size": 4}] * 2}]})
        )
    ]
    results = []
    for i in range(count):
        for document in (damaged(draw.choice(OURS), draw), damaged(draw.choice(OLDER), draw)):
            results.append(read(lambda d=document: round_trip(d), repr(document)))
            is_bundle(document)
        text = bytes_damaged(json.dumps(draw.choice(OURS + OLDER)).encode(), draw)
        results.append(read(lambda t=text: round_trip(t), repr(text)))
        bundle = damaged(json.loads(draw.choice(bundles)), draw)
        results.append(read(lambda b=bundle: read_bundle(b), repr(bundle)[:2000]))
        older = old_bundle_damaged(draw.choice(old), draw)
        results.append(read(lambda b=older: read_bundle(b), f"{seed}, {i}: {older!r}"[:2000]))
        torn = bytes_damaged(draw.choice(bundles + old).encode(), draw)
        results.append(read(lambda b=torn: read_bundle(b), f"{seed}, {i}"))
    return sum(results), len(results) - sum(results)


def test_damaged_documents_and_bundles() -> None:
    good, told = attack(1, 60)
    assert told > good > 10  # the generator damages, and does not damage everything


def attack_tensors(seed: int, count: int) -> None:
    library = pytest.importorskip("safetensors.numpy")
    from loom.nn.files.persistence import of_elsewhere

    model, draw = weighted(OURS[0]), random.Random(seed)
    data = library.save(dict(model.weights), metadata={"loom.network": to_json(model.network), "loom.training": "{}"})
    length = int.from_bytes(data[:8], "little")
    for i in range(count):
        if i % 2:
            torn = bytes_damaged(data, draw)
        else:
            header = json.dumps(damaged(json.loads(data[8 : 8 + length]), draw)).encode()
            torn = len(header).to_bytes(8, "little") + header + data[8 + length :]
        read(lambda t=torn: read_safetensors(t), f"{seed}, {i}")
        read(lambda t=torn: of_elsewhere(t, model.network, None, "torch"), f"{seed}, {i}")


def test_damaged_safetensors() -> None:
    attack_tensors(2, 100)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 20))
def test_many_damaged_files(seed: int) -> None:
    attack(seed, 400)
    attack_tensors(seed, 1000)
