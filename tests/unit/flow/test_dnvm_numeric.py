"""The older names of numeric types: files of tensors in any type, the comparison of thirteen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loom.core.errors import DTypeError, FileError
from loom.flow import dnvm

X = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)


def test_tensors_in_any_type_and_any_other(tmp_path: Path) -> None:
    """As the seeds tell it: load, choose another type, save; in memory as well."""
    path = tmp_path / "web.safetensors"
    dnvm.save_safetensors(path, {"w": X, "b": X[0]})
    assert np.array_equal(dnvm.load_safetensors(path)["w"], X)
    for name, near in (("F4", 0.25), ("I8", 0.02), ("BF16", 0.02), ("U16", 1e-4), ("ternary", 2.0)):
        data = dnvm.serialize_safetensors(dnvm.load_safetensors(path), name)
        found = dnvm.load_safetensors_with_shapes(data)
        assert found["w"]["shape"] == [4, 6]
        assert dnvm.numeric.numeric_type(name).name == found["w"]["dtype"]
        assert np.abs(found["w"]["values"] - X.reshape(-1)).max() < near
    dnvm.save_safetensors(path, {"w": X}, "I4", scales="row")
    assert path.stat().st_size < 500


def test_the_thirteen_types() -> None:
    net = dnvm.create_network_from_json({"layers": [
        {"type": "dense", "input_size": 4, "output_size": 3, "activation": "tanh"}]})  # fmt: skip
    found = dnvm.benchmark_numerical_types([[0.5, -1.0, 0.25, 2.0]])
    assert [f["dtype"] for f in found] == [*dnvm.NUMERICAL_TYPES]
    assert set(found[0]) == {
        "dtype", "quality_score", "average_deviation", "memory_bytes", "scale_factor", "trade_off"
    }  # fmt: skip
    assert found[1]["quality_score"] == 100.0
    assert found[1]["memory_bytes"] == 4 * 15
    small = dnvm.convert_network("int8")
    assert small.storage is not None
    assert small.digest() != net.digest()
    assert len(dnvm.forward_simple([0.5, -1.0, 0.25, 2.0])) == 3
    assert len(dnvm.benchmark_numerical_types(dtypes=["f8"])) == 1


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: dnvm.serialize_safetensors([X]), DTypeError),
        (lambda: dnvm.serialize_safetensors({"w": X}, "F5"), DTypeError),
        (lambda: dnvm.load_safetensors("/nonexistent.safetensors"), FileError),
        (lambda: dnvm.save_safetensors("/dev/null/x.safetensors", {"w": X}), FileError),
        (lambda: dnvm.load_safetensors_with_shapes(b"abc"), Exception),
    ],
)
def test_bad_input_is_told(call: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        call()
