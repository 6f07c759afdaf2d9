"""Maps over tensors: recorded, fused into one kernel, the same bits as one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import gpu_map
from loom.core.errors import ArgumentError, DTypeError, KernelError, LoomError, ShapeError
from loom.runtime.chain.kept import Kept
from unit.patterns.canonical import same_bits

X = np.random.default_rng(1).normal(size=3000).astype(np.float32)
Y = np.random.default_rng(2).normal(size=3000).astype(np.float32)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of every kernel that was run."""
    ran: list[str] = []

    def counted(run: Callable[..., None]) -> Callable[..., None]:
        def counting(kept: Any, *memory: Any, **numbers: Any) -> None:
            if run.__name__ == "run" or kept._is_plain:  # else it is run by ``run``
                ran.extend(dispatch.kernel.name for dispatch, _, _ in kept._program.plan.in_order())
            run(kept, *memory, **numbers)

        return counting

    for name in ("run", "run_over"):
        monkeypatch.setattr(Kept, name, counted(getattr(Kept, name)))
    return ran


def _five(x: Any, y: Any) -> Any:
    x = gpu_map(x, "mul", 2.0)
    x = gpu_map(x, lambda v, w: v * w + 1, y)
    x = gpu_map(x, "abs")
    x = gpu_map(x, "sqrt")
    return gpu_map(x, "sub", y)


@pytest.mark.parametrize("place", ["cpu", "interp"])
def test_five_maps_are_one_kernel(place: str, kernels: list[str]) -> None:
    expected = _five(X, Y)
    kernels.clear()
    result = _five(loom.array(X, on=place), loom.array(Y, on=place))
    assert result.data is None
    assert kernels == []
    assert same_bits(result.numpy(), expected)
    assert kernels == ["tensor_abs_sqrt_sub"]
    assert same_bits(result.numpy(), np.sqrt(np.abs(X * np.float32(2) * Y + np.float32(1))) - Y)
    assert len(kernels) == 1, "it is computed once"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_rounded_after_every_map(dtype: str) -> None:
    import ml_dtypes

    x = X.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    fused = gpu_map(gpu_map(loom.array(x), "mul", loom.array(x)), "add", 1.0)
    alone = gpu_map(gpu_map(x, "mul", x), "add", 1.0)
    assert fused.numpy().dtype == x.dtype
    assert same_bits(fused.numpy(), alone)
    at_once = gpu_map(x, lambda v: v * v + 1.0)
    assert not same_bits(alone, at_once), "rounding after every map cannot be seen"


def test_types_change_on_the_way() -> None:
    positive = gpu_map(loom.array(X), "gt", 0.0)
    assert positive.dtype == loom.bool_
    count = gpu_map(gpu_map(positive, lambda p: loom.select(p, 3, 4)), "add", 1)
    assert count.dtype == loom.i32
    assert same_bits(count.numpy(), np.where(X > 0, 4, 5).astype(np.int32))
    assert same_bits(loom.gpu_cast(gpu_map(loom.array(X), "mul", 100.0), loom.i16).numpy(), (X * 100).astype(np.int16))


def test_what_two_maps_use_is_computed_once(kernels: list[str]) -> None:
    shared = gpu_map(loom.array(X), "mul", 3.0)
    one, two = gpu_map(shared, "add", 1.0), gpu_map(shared, "sub", 1.0)
    assert kernels == ["tensor_mul"]
    assert same_bits(one.numpy(), X * np.float32(3) + np.float32(1))
    assert same_bits(two.numpy(), X * np.float32(3) - np.float32(1))
    assert sorted(kernels) == ["tensor_add", "tensor_mul", "tensor_sub"]


def test_an_operand_twice_is_read_once(kernels: list[str]) -> None:
    doubled = gpu_map(loom.array(X), "mul", 2.0)
    assert same_bits(gpu_map(doubled, "mul", doubled).numpy(), X * 2 * (X * 2))
    assert kernels == ["tensor_mul_mul"]


def test_long_and_wide_chains_are_cut(kernels: list[str]) -> None:
    x, reference = loom.array(X), X
    for _ in range(100):
        x, reference = gpu_map(x, "mul", 1.001), reference * np.float32(1.001)
    assert same_bits(x.numpy(), reference)
    assert 1 <= len(kernels) <= 5
    total, sum_ = loom.array(X), X
    for n in range(20):
        total, sum_ = gpu_map(total, "add", loom.array(Y * n)), sum_ + (Y * n).astype(np.float32)
    assert same_bits(total.numpy(), sum_)


def test_arrays_of_the_host_are_copied_when_the_map_is_recorded() -> None:
    y = Y.copy()
    result = gpu_map(loom.array(X), "add", y)
    y[:] = 0
    assert same_bits(result.numpy(), X + Y)
    assert same_bits(gpu_map(Y, "sub", loom.array(X)).numpy(), Y - X)


def test_other_patterns_take_pending_arrays() -> None:
    assert loom.gpu_sum(gpu_map(loom.array(X), "mul", 2.0)).item() == loom.gpu_sum(X * 2)


def test_no_elements() -> None:
    assert gpu_map(loom.array(np.empty(0, np.float32)), "add", 1.0).tolist() == []


WRONG: dict[str, tuple[Callable[[], Any], type[LoomError], str]] = {
    "another dtype": (
        lambda: gpu_map(loom.array(X), lambda x, y: x + y, loom.array(X.astype(np.float64))), DTypeError,
        "[gpu_map, argument 1] operands of different types: expected f32, got f64. Convert one.",
    ),
    "another shape": (
        lambda: gpu_map(loom.array(X), "add", loom.array(X[:5])), ShapeError,
        "[gpu_map, argument 1] operands of different shapes: expected (3000,), got (5,). Match the shape of data.",
    ),
    "another device": (
        lambda: gpu_map(loom.array(X), "add", loom.array(Y, on="interp")), ArgumentError,
        "[gpu_map, argument 1] the array is on another device: expected cpu, got interp. "
        "Copy it with loom.array(x, on='cpu').",
    ),
    "out": (
        lambda: gpu_map(loom.array(X), "neg", out=np.empty_like(X)), ArgumentError,
        "[gpu_map, out] the operands are on a device: expected no out, got ndarray. "
        "Leave out= away: the result is a tensor.",
    ),
    "too few operands": (
        lambda: gpu_map(loom.array(X), "add"), KernelError,
        "[kernel 'map_add'] add takes 2 operands: expected 2, got 1. a + b; integers wrap.",
    ),
    "a scalar that does not fit": (
        lambda: gpu_map(loom.array([1, 2]), lambda x, y: x + y, 1.5), DTypeError,
        "[gpu_map, parameter 'a1'] does not fit i64: expected a whole number (int), got 1.5. Pass a value of type i64.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_refused_when_recorded(name: str) -> None:
    call, kind, text = WRONG[name]
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == text


def test_short_names() -> None:
    x = loom.array(X)
    assert same_bits(loom.gpu_add(X, Y), X + Y)
    assert same_bits(loom.gpu_div(loom.gpu_sub(x, 1.0), 3.0).numpy(), (X - np.float32(1)) / np.float32(3))
    assert same_bits(loom.gpu_maximum(X, Y), np.maximum(X, Y))
    assert same_bits(loom.gpu_less(X, Y), X < Y)
    assert loom.gpu_add.__name__ == "gpu_add"
    said = 'a < b; false for NaN, for every element: ``gpu_map(data, "lt", ...)``.'
    assert loom.gpu_less.__doc__ == f"{said}\n\n>>> gpu_less([1, 3], 2).tolist()\n[True, False]\n"


def test_where_and_clip() -> None:
    mask = X > 0
    x, on = loom.array(X), loom.array(mask)
    assert same_bits(loom.gpu_where(mask, X, Y), np.where(mask, X, Y))
    assert same_bits(loom.gpu_where(on, x, Y).numpy(), np.where(mask, X, Y))
    assert same_bits(loom.gpu_where(on, 1.5, x).numpy(), np.where(mask, np.float32(1.5), X))
    assert same_bits(loom.gpu_where(mask, X, 0), np.where(mask, X, np.float32(0)))
    assert same_bits(loom.gpu_where(mask, 1, 2), np.where(mask, 1, 2))
    assert same_bits(loom.gpu_clip(X, -0.5, 0.5), np.clip(X, np.float32(-0.5), np.float32(0.5)))
    with pytest.raises(DTypeError, match=r"\[gpu_where, condition\] not bools: expected bool, got f32. Compare first"):
        loom.gpu_where(X, X, Y)


def test_cast() -> None:
    assert same_bits(loom.gpu_cast([1.75, -300.0, np.nan], loom.i8), np.array([1, -128, 0], np.int8))
    with pytest.raises(DTypeError, match=r"\[gpu_cast\] not a type of elements: expected such as loom.f32, got 'f32x"):
        loom.gpu_cast([1.0], "f32x2")
