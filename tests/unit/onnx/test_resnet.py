"""A ResNet-18 of random weights: the numbers of onnxruntime, to 1e-4 of the largest."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import loom.onnx


@pytest.mark.parametrize(
    ("width", "size"), [(8, 48), pytest.param(64, 224, marks=pytest.mark.slow)], ids=["narrow", "whole"]
)
def test_a_resnet_gives_the_numbers_of_onnxruntime_for_any_batch(width: int, size: int) -> None:
    from bench.learning.resnet import resnet18  # which loads onnx

    runtime = pytest.importorskip("onnxruntime")
    proto = resnet18(width, 10)
    onnx.checker.check_model(proto)
    session = runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    model = loom.onnx.load(proto)
    for n in (1, 3):
        image = np.random.default_rng(n).normal(size=(n, 3, size, size)).astype("float32")
        (expected,) = session.run(None, {"image": image})
        (found,) = model.run({"image": image}).values()
        assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    assert model.specialised == frozenset()
