"""``loom.array``: what it tells, how it is read, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, ShapeError, StateError
from loom.tensor.handle.lending import from_storage


def test_tells_what_it_is() -> None:
    a = loom.array([[1, 2, 3], [4, 5, 6]], dtype=loom.f32, on="cpu")
    assert (a.shape, a.ndim, a.size, a.nbytes, a.dtype, a.device.name) == ((2, 3), 2, 6, 24, loom.f32, "cpu")
    assert len(a) == 2
    assert loom.Array is loom.tensor.Tensor
    assert isinstance(a, loom.Array)


@pytest.mark.parametrize("place", ["cpu", "interp"])
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float32", "float64"])
def test_is_a_copy_that_reads_back(place: str, dtype: str) -> None:
    source = np.arange(12).reshape(3, 4).astype(dtype)
    a = loom.array(source, on=place)
    before = source.copy()
    source[:] = 0
    for got in (a.numpy(), np.asarray(a), np.from_dlpack(a), a.host()):
        assert got.dtype == dtype
        assert np.array_equal(got, before)
    assert a.tolist() == before.tolist()
    a.numpy()[:] = 0
    assert np.array_equal(a.numpy(), before)
    with pytest.raises(ValueError, match="read-only"):
        a.host()[0, 0] = 1


def test_strides_and_other_arrays() -> None:
    x = np.arange(20, dtype=np.int32).reshape(4, 5)
    assert np.array_equal(loom.array(x.T[::2]).numpy(), x.T[::2])
    a = loom.array(x)
    assert np.array_equal(loom.array(a, on="interp").numpy(), x)
    assert loom.array(a, on="interp").device.name == "interp"


def test_bfloat16_keeps_its_dtype() -> None:
    import ml_dtypes

    x = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    a = loom.array(x)
    assert a.dtype == loom.bf16
    assert a.numpy().dtype == x.dtype
    assert a.tolist() == [1.5, -2.0]


def test_no_elements() -> None:
    a = loom.array(np.empty((0, 3), np.float32))
    assert (a.size, a.shape, a.tolist()) == (0, (0, 3), [])
    assert a.reshape(-1).shape == (0,)


def test_reshape() -> None:
    a = loom.array(range(12))
    assert a.reshape(3, -1).shape == (3, 4)
    assert a.reshape((2, 6)).tolist() == np.arange(12).reshape(2, 6).tolist()
    with pytest.raises(ArgumentError, match="expected an int of at least -1, got -3"):
        a.reshape(-3, -4)
    for wrong in ((5, -1), (-1, -1), (13,)):
        with pytest.raises(ShapeError) as caught:
            a.reshape(*wrong)
        assert str(caught.value) == (
            "[reshape] the elements do not fit: expected a shape of 12 elements, for (12,), "
            f"got {wrong}. Match the number of elements."
        )


def test_one_element_as_a_number() -> None:
    one = loom.array([2.5])
    assert (one.item(), float(one), int(one), bool(one)) == (2.5, 2.5, 2, True)
    with pytest.raises(ShapeError, match=r"\[tensor.item\] not one element: expected 1, got 2. Use tolist\(\)"):
        loom.array([1, 2]).item()
    with pytest.raises(ShapeError, match=r"\[len of a tensor\] it has no dimension. Use item\(\)"):
        len(loom.array(1))
    with pytest.raises(ArgumentError, match="numpy must copy it"):
        np.asarray(one, copy=False)


class _Elsewhere:
    """Storage that is not the host's."""

    nbytes = 4


def test_memory_elsewhere_cannot_be_seen_in_place() -> None:
    far: Any = _Elsewhere()
    with pytest.raises(StateError, match=r"the memory of device 'cpu' is not the host's. Use numpy\(\)"):
        from_storage(loom.Array, far, loom.f32, (1,), loom.device("cpu")).host()


@pytest.mark.parametrize("kind", ["f4", "f8", "f2", "i4", "u8", "?", "c8", "c16"])
def test_numbers_of_numpy_keep_their_type(kind: str) -> None:
    """A float64 of numpy is a float of Python, too."""
    number = np.dtype(kind).type(1)
    assert loom.array(number).numpy().dtype == np.dtype(kind)
    assert loom.tensor.array(number).numpy().tobytes() == number.tobytes()


def test_a_gradient_through_what_is_not_recorded_is_refused() -> None:
    x = loom.array([3.0, 1.0, 2.0])
    weights = loom.array([1.0, 2.0, 3.0])
    for made in (loom.stats.rank(x), loom.stats.rank(x * 2), loom.gpu_scan(loom.stats.rank(x) + 1)):
        with pytest.raises(ArgumentError, match="made of a result of loom's patterns"):
            loom.tensor.grad((made.astype("f32") * x).sum(), [x])
    doubled = x * 2
    with pytest.raises(ArgumentError, match=r"Take the function of loom\.tensor"):
        loom.tensor.grad(loom.stats.rank(doubled).sum(), [doubled])
    (found,) = loom.tensor.grad((loom.tensor.detach(loom.gpu_sort(x)) * x).sum(), [x])
    assert found.tolist() == [1.0, 2.0, 3.0]
    (found,) = loom.tensor.grad((loom.gpu_sort(weights) * x).sum(), [x])  # it does not depend on x
    assert found.tolist() == [1.0, 2.0, 3.0]
    (found,) = loom.tensor.grad(loom.gpu_exp(x).sum(), [x])  # maps are recorded
    assert np.allclose(found.numpy(), np.exp([3.0, 1.0, 2.0]))


@pytest.mark.parametrize(("pattern", "function"), [
    (loom.gpu_sort, loom.tensor.sort), (loom.stats.mean, loom.tensor.mean), (loom.gpu_sum, loom.tensor.sum),
    (lambda x: loom.gpu_scan(loom.gpu_sort(x) + 1), lambda x: loom.tensor.cumulative_sum(loom.tensor.sort(x) + 1)),
])  # fmt: skip
def test_a_pattern_over_tensors_has_the_gradient_of_its_function(pattern: Any, function: Any) -> None:
    x = loom.array([3.0, 1.0, 2.0])
    (one,), (other,) = (loom.tensor.grad((f(x) * x).sum(), [x]) for f in (pattern, function))
    assert one.numpy().tobytes() == other.numpy().tobytes()
