"""Blueprints: counts against the arrays and programs there are, and formulas of the literature for the work."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError
from tests.unit.nn.layers.cases import CASES


def _network(*layers: Any, shape: tuple[int, ...] = (8,), **more: Any) -> loom.Network:
    return loom.Network.from_json({"format": "loom/1", "input": {"shape": list(shape)}, "layers": [*layers], **more})


@pytest.mark.parametrize("case", CASES[::6], ids=lambda c: c.name)
def test_parameters_are_those_of_the_arrays(case: Any) -> None:
    net = loom.Network.from_json(case.document("f32"))
    found = net.blueprint()
    arrays = net.model.parameters
    assert found.total_parameters == sum(a.size for a in arrays.values()) == sum(v.parameters for v in found.layers)
    assert found.weight_nbytes == sum(a.nbytes for a in (arrays | net.model.state).values())
    for layer in found.walk():
        if layer.shared is None:
            own = [a.size for n, a in arrays.items() if n.startswith(f"{layer.name}.")]
            assert layer.parameters == sum(own), layer.name


def test_shapes_and_dispatches_are_those_of_a_forward_pass() -> None:
    net = _network(
        {"type": "conv2d", "filters": 4, "kernel_size": 3, "padding": 1, "activation": "relu"},
        {"type": "max_pool", "pool_size": 2}, {"type": "flatten"},
        {"type": "dense", "output_size": 5}, {"type": "softmax"}, shape=(2, 8, 6),
    )  # fmt: skip
    found = net.blueprint(3)
    net.forward(np.zeros((3, 2, 8, 6)))
    (program,) = net.model._programs.values()
    assert found.dispatches == program.dispatches
    assert found.layers[-1].output_shape == (5,)
    assert [v.output_shape for v in found.layers] == [tuple(net.spec.shapes()[n.name]) for n in net.spec.nodes]
    assert found.layers[0].multiply_adds == 3 * (8 * 6) * 4 * 2 * 9  # V. Sze and others (2017), section II.B
    assert found.layers[3].multiply_adds == 3 * 48 * 5
    assert found.multiply_adds == sum(v.multiply_adds for v in found.layers)
    assert found.operations >= 2 * found.multiply_adds


def test_layers_within_layers_and_shared_ones() -> None:
    inner = {"type": "sequential", "layers": [{"type": "dense", "output_size": 4}, {"type": "dense", "output_size": 2}]}
    net = _network(
        {"type": "dense", "output_size": 8, "name": "first"},
        {"type": "parallel", "combine_mode": "add", "branches": [{"type": "dense", "output_size": 2}, inner]},
        {"type": "dense", "output_size": 8},
        {"$ref": "first"},
    )  # fmt: skip
    found = net.blueprint()
    names = [v.name for v in found.walk()]
    assert names[1:6] == [f"layers.1{end}" for end in ("", ".branches.0", ".branches.1", ".branches.1.layers.0",
                                                      ".branches.1.layers.1")]  # fmt: skip
    parallel = found.layers[1]
    assert parallel.combine_mode == "add"
    assert parallel.parameters == sum(b.parameters for b in parallel.branches) == 18 + 36 + 10
    assert found.layers[-1].shared == "first"
    assert found.layers[-1].parameters == 0
    assert found.layers[-1].multiply_adds == 64
    assert found.total_parameters == sum(math.prod(s) for s in net.spec.parameters().values())


def test_json_has_the_older_keys_and_a_table_all_layers() -> None:
    net = loom.Network.from_json({
        "grid_rows": 1, "grid_cols": 2, "layers_per_cell": 1, "layers": [
            {"type": "dense", "input_size": 4, "output_size": 3, "activation": "tanh"},
            {"type": "dense", "input_size": 3, "output_size": 2, "activation": "sigmoid"}],
    })  # fmt: skip
    (model,) = json.loads(net.blueprint().to_json())["models"]
    assert {"id", "total_layers", "total_parameters", "layers"} <= set(model)
    first, second = model["layers"]
    assert {"grid_row", "grid_col", "cell_layer", "type", "activation", "parameters", "input_shape", "output_shape",
            "branches", "combine_mode"} <= set(first)  # fmt: skip
    assert (second["grid_row"], second["grid_col"], second["cell_layer"]) == (0, 1, 0)
    assert (first["activation"], second["activation"]) == ("tanh", "sigmoid")
    assert model["total_parameters"] == 4 * 3 + 3 + 3 * 2 + 2
    assert len(str(net.blueprint()).splitlines()) == 1 + 2 + 1


@pytest.mark.parametrize("batch", [0, -1, 1.5, "2", None, True])
def test_no_batch_is_refused(batch: Any) -> None:
    with pytest.raises(ArgumentError):
        _network({"type": "dense", "output_size": 1}).blueprint(batch)
