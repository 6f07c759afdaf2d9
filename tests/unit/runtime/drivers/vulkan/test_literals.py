"""Numbers written in lambdas, kernels and tensor expressions: the interpreter's bits, signs of zeros and NaN too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.numerics import canonical_bits
from loom.proof import attestation
from loom.proof.cases import cases_of
from loom.runtime.drivers.vulkan import VulkanDevice
from loom.targets.base.opaque_values import Knowledge

VALUES = [0.0, -0.0, 1.0, 2.0, -2.0, 1e-310, -1e-40, 1e30, np.inf, -np.inf, np.nan]
LAMBDAS: dict[str, Callable[[Any], Any]] = {
    "v * 0": lambda v: v * 0.0, "0 / v": lambda v: 0.0 / v, "v / 0": lambda v: v / 0.0, "v + 0": lambda v: v + 0.0,
    "0 - v": lambda v: 0.0 - v, "v * 0 + 1": lambda v: v * 0.0 + 1.0, "v + v * 0": lambda v: v + v * 0.0,
    "-1 or 0": lambda v: loom.select(v < 0, -1.0, 0.0), "0 or -1": lambda v: loom.select(v < 0, 0.0, -1.0),
    "1 or -0": lambda v: loom.select(v < 0, 1.0, -0.0), "-0 or 1": lambda v: loom.select(v < 0, -0.0, 1.0),
    "-1 or -0": lambda v: loom.select(v < 0, -1.0, -0.0), "v * inf": lambda v: v * float("inf"),
    "v / nan": lambda v: v / float("nan"), "v - tiny": lambda v: v - 1e-38, "less": lambda v: min(v, -0.0),
}  # fmt: skip
OF_F32: dict[str, Callable[[Any], Any]] = {
    "a cleared word": lambda v: v * loom.bitcast(loom.f32, loom.u32(v) & 0),
    "a sum with a cleared word": lambda v: v + loom.bitcast(loom.f32, loom.u32(v) & 0),
    "a zero made a float": lambda v: v * loom.f32(loom.i32(0)),
    "the opposite of a bool": lambda v: -loom.f32(v < 0),
    "words chosen": lambda v: loom.bitcast(loom.f32, loom.select(v < 0, loom.u32(0xBF800000), loom.u32(0))),
}


@loom.kernel(workgroup=1)
def summed(x: loom.In[loom.f32], out: loom.Out[loom.f32]) -> None:
    i = loom.global_id()
    total, product, kept = loom.f32(0.0), loom.f32(1.0), loom.private(loom.f32, 3)
    for n in range(3):
        total = total + x[i]
        product = product * (x[i] * loom.f32(n))
    chosen = loom.f32(-0.0)
    if x[i] < 0.0:
        chosen = loom.f32(1.0)
    out[4 * i] = total
    out[4 * i + 1] = product
    out[4 * i + 2] = x[i] * kept[2]
    out[4 * i + 3] = chosen


def _values(dtype: str) -> np.ndarray[Any, Any]:
    with np.errstate(over="ignore"):
        return np.array(VALUES).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_lambdas(vulkan: Any, dtype: str) -> None:
    if dtype != "float32" and "f64" not in vulkan.features.types:
        pytest.skip("the device has 32-bit types only")
    x, wrong = _values(dtype), []
    for name, fn in (LAMBDAS | (OF_F32 if dtype == "float32" else {})).items():
        got, expected = (canonical_bits(loom.gpu_map(x, fn, on=on)) for on in (vulkan, "interp"))
        if not np.array_equal(got, expected):
            wrong.append(f"{name}: {got} not {expected}")
    assert not wrong, "\n".join(wrong)


def test_kernels(vulkan: Any) -> None:
    x, found = _values("float32"), []
    for on in (vulkan, loom.device("interp")):
        storages = [on.allocate(x.nbytes), on.allocate(4 * x.nbytes)]
        storages[0].write(0, x.view(np.uint8))
        chain = loom.Chain(on)
        chain.dispatch(summed, storages, [], len(x))
        chain.build().run()
        found.append(canonical_bits(storages[1].read(0, 4 * x.nbytes).view(np.float32)))
    assert np.array_equal(*found)


def test_tensors_and_gradients(vulkan: Any) -> None:
    def computed(on: Any) -> list[np.ndarray[Any, Any]]:
        t = tensor.parameter(_values("float32"), on=on)
        kinks = [abs(t), -tensor.relu(t), -tensor.clip(t, -1.0, 1.0)]
        slopes = [tensor.grad(kink.sum(), [t])[0] for kink in kinks]
        whole = [t * 0.0, t + 0.0, 0.0 - t, tensor.where(t < 0, -1.0, 0.0), tensor.where(t < 0, 1.0, -0.0), *slopes]
        return [canonical_bits(x.numpy()) for x in whole]

    for got, expected in zip(computed(vulkan), computed("interp"), strict=True):
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("case", ["literals: mul f32", "literals: zeros worked out f64", "literals: select f16"])
def test_the_proof_is_red_where_a_driver_folds(
    case: str, vulkan: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The fault of Mesa's drivers, which its rung puts right: without the rung it is seen."""
    if vulkan.features.exact_literals:
        pytest.skip("this driver folds no literals")
    monkeypatch.setenv("LOOM_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(Knowledge, "may_be_one", lambda *_: False)
    folding = VulkanDevice(vulkan.adapter, "folding", tested=False)
    folding.use(replace(vulkan.features, exact_literals=True))
    monkeypatch.setattr(attestation, "cases_of", lambda layer: [c for c in cases_of(layer) if c.name == case])
    found = attestation.verify(folding, layers=[1], fresh=True)
    folding.close()
    assert [d.split(": expected")[0] for d in found.differing] == [case]
