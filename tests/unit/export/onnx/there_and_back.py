"""A model written as ONNX, as Loom and onnxruntime see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import loom
import loom.onnx
from loom.core.numerics import canonical_bits

TOLERANCES = {"f32": 2e-5, "f64": 1e-12, "f16": 2e-2}
"""What onnxruntime's answers may be off by, of numbers about 1 (docs/guide/models/onnx.md)."""


def floats(shape: tuple[int, ...], seed: int, dtype: Any = np.float32) -> Any:
    """Return normally distributed numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def fed_to(net: loom.Network, samples: int, seed: int = 1, ids: int = 5) -> dict[str, Any]:
    """Return numbers for every input of a network."""
    return {
        i.name: floats((samples, *i.shape), seed, i.dtype.numpy) if i.dtype.is_float
        else np.random.default_rng(seed).integers(0, ids, (samples, *i.shape)).astype(i.dtype.numpy)
        for i in net.spec.inputs
    }  # fmt: skip


def forward(net: loom.Network, fed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a network's outputs by name."""
    found = net.forward(dict(fed) if len(fed) > 1 else next(iter(fed.values())))
    return found if isinstance(found, dict) else {net.spec.outputs[0]: found}


def same_bits(wanted: Mapping[str, Any], model: Any, fed: Mapping[str, Any], on: str = "cpu") -> None:
    """See that a model that is loaded again gives the bits."""
    found = loom.onnx.load(model, on=on).run(fed)
    assert list(found) == list(wanted)
    for name, a in wanted.items():
        b = found[name]
        assert (a.shape, a.dtype) == (b.shape, b.dtype), name
        np.testing.assert_array_equal(canonical_bits(a), canonical_bits(b), err_msg=name)


def session(model: Any) -> Any:
    """Return onnxruntime's session of a model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    data = model if isinstance(model, (str, bytes)) else model.SerializeToString()
    return onnxruntime.InferenceSession(data, options)


def near(wanted: Mapping[str, Any], model: Any, fed: Mapping[str, Any], tolerance: float) -> None:
    """See that onnxruntime's answers are near."""
    found = session(model).run(list(wanted), dict(fed))
    for (name, a), b in zip(wanted.items(), found, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), name
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance, err_msg=name)
