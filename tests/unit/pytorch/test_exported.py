"""Models that came from PyTorch as ONNX: names, free lengths and numbers stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError
from loom.core.optional import has
from loom.export import to_onnx
from unit.pytorch import traced_modules

if not (has("torch") and has("onnx")):
    pytest.skip("PyTorch or onnx is not installed", allow_module_level=True)

import torch
from torch import nn

runtime: Any = pytest.importorskip("onnxruntime")


def _session(proto: Any) -> Any:
    return runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])


def _shapes(values: Any) -> dict[str, list[Any]]:
    return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


def test_a_model_is_exported_by_its_own_inputs() -> None:
    torch.manual_seed(0)
    model = loom.from_torch(traced_modules.Two(), (torch.randn(2, 5, 8), torch.randn(2, 7, 8)), on="cpu")
    proto = to_onnx(model)
    assert _shapes(proto.graph.input) == {"query": ["batch", 5, 8], "memory": ["batch", 7, 8]}
    assert _shapes(proto.graph.output) == {"mixed": ["batch", 5, 8], "total": []}
    rng = np.random.default_rng(0)
    given = {"query": rng.normal(size=(5, 5, 8)).astype("f4"), "memory": rng.normal(size=(5, 7, 8)).astype("f4")}
    mixed, total = _session(proto).run(None, given)
    made = model(**given)
    assert np.allclose(made["mixed"], mixed, atol=1e-6)
    assert np.allclose(made["total"], total, atol=1e-4)


def test_inputs_may_be_told_otherwise() -> None:
    model = loom.from_torch(nn.Linear(4, 3), torch.zeros(2, 4), on="cpu")
    proto = to_onnx(model, inputs={"input": (7, 4)}, name="head")
    assert (proto.graph.name, _shapes(proto.graph.input)) == ("head", {"input": [7, 4]})
    with pytest.raises(ArgumentError, match="has no effect with an imported model"):
        to_onnx(model, outputs="y")


def test_a_compiled_model_keeps_the_names_of_its_inputs() -> None:
    model = loom.from_torch(nn.Linear(4, 3), torch.zeros(2, 4), on="cpu")
    program = model.compile({"input": (3, 4)})
    assert list(program.inputs) == ["input"]
    assert _shapes(to_onnx(program).graph.input) == {"input": [3, 4]}


def test_names_that_weights_have_are_counted() -> None:
    model = loom.from_torch(traced_modules.Scaling(), torch.zeros(2, 3), on="cpu")
    assert list(model.compile({"x": (2, 3)}).inputs) == ["x0"]
    proto = to_onnx(model)
    x = np.arange(6, dtype="f4").reshape(2, 3)
    assert np.array_equal(_session(proto).run(None, {proto.graph.input[0].name: x})[0], x)
