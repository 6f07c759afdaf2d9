"""What strangers would have got wrong in silence: powers and sums of integers, lost assignments, memory of loops."""

from __future__ import annotations

import gc
import pickle
import warnings
from collections.abc import Callable
from operator import setitem
from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.core.errors import ArgumentError, DTypeError, StateError
from loom.tensor.handle.chained import NOBODY


def arr(data: Any, dtype: Any = None) -> tensor.Tensor:
    return tensor.array(data, dtype, on="interp")


# numbers


def test_powers_of_integers_are_integers() -> None:
    for found, expected in [
        (arr([3]) ** 30, np.array([3**30])), (arr([3]) ** arr([30]), np.array([3**30])),
        (3 ** arr([30]), np.array([3**30])),
        (arr([2], "i8") ** 7, np.array([-128], "i1")), (arr([5, 0], "u8") ** 0, np.array([1, 1], "u1")),
        (arr([2]) ** np.int64(3), np.array([8])), (arr([2], "i8") ** arr([3], "i32"), np.array([8], "i4")),
        (arr([2]) ** 2.0, np.array([4], "f4")),
        (2.0 ** arr([2]), np.array([4], "f4")),
    ]:  # fmt: skip
        assert found.numpy().dtype == expected.dtype
        assert found.tolist() == expected.tolist()
    x = arr([2, 3])
    x **= 3
    assert (x.dtype, x.tolist()) == (tensor.int64, [8, 27])


def test_how_many_hold_can_be_subtracted() -> None:
    flags = arr([[True, False], [True, True]])
    for found in (
        flags.sum(),
        tensor.sum(flags, axis=0),
        flags.prod(),
        tensor.cumsum(flags, 0),
        tensor.cumulative_prod(flags, axis=1),
    ):
        assert found.dtype == tensor.int64
    assert (arr([1.0]) > 2).sum().item() - 1 == ((arr([1.0]) > 2).sum() - (arr([1.0]) > 0).sum()).item() == -1


def test_decimals_are_rounded_as_in_numpy() -> None:
    whole = np.array([15, 25, 35, -15, -25, 1249, 2**62 + 5])
    tens = [20, 20, 40, -20, -20, 1250, 2**62 + 6]
    assert arr(whole).round(-1).tolist() == tens
    assert arr(whole).round(-1).dtype == tensor.int64
    assert tensor.round(arr(whole), 2).tolist() == whole.tolist()
    floats = np.random.default_rng(0).normal(size=100) * 1000
    for decimals in (1, 3, -1, -2):
        assert (tensor.round(arr(floats), decimals).numpy() == np.round(floats, decimals)).all()
    assert round(arr([1.26, 3e38]), 1).numpy().tolist() == np.array([1.3, 3e38], "f4").tolist()
    assert arr([1.26], "f16").round(1).item() == np.float16(1.3)
    assert tensor.round(arr([1.26 - 2.34j]), decimals=1).numpy() == np.array([1.3 - 2.3j], "c8")
    with pytest.raises(ArgumentError, match="10 \\*\\* 3 does not fit i8: expected at least -2"):
        arr([100], "i8").round(-3)
    with pytest.raises(DTypeError, match="bools have no decimals"):
        arr([True]).round(1)


def test_lists_of_numpys_numbers_keep_their_type() -> None:
    for data, dtype in [
        ([np.float64(1)], "f64"), ([np.zeros(2), np.ones(2)], "f64"), ([[1.0], np.zeros(1)], "f64"),
        ([arr([1.0], "f64")], "f64"),
        ([np.complex128(1j)], "c128"), ([1.0, 2], "f32"), ([[1.0], [2]], "f32"), ([np.float32(1)], "f32"),
        ((1j, 2), "c64"),
    ]:  # fmt: skip
        assert arr(data).dtype.name == dtype


# axes


def test_orders_of_axes_as_numpy_writes_them() -> None:
    data = np.arange(24).reshape(2, 3, 4)
    x = arr(data)
    for axes in ((2, 0, 1), ((2, 0, 1),), ([0, 2, 1],)):
        assert (x.transpose(*axes).numpy() == data.transpose(*axes)).all()
    assert x.transpose(0, 1).shape == (3, 2, 4)
    assert (x[0].transpose().numpy() == data[0].T).all()
    with pytest.warns(UserWarning, match="write mT for the last two, or permute"):
        assert x.T.shape == (2, 4, 3)
    with pytest.warns(UserWarning, match="write mT for the last two, or permute"):
        assert x.transpose().shape == (2, 4, 3)
    assert x.mT.shape == (2, 4, 3)


# assignments


def _chained(x: Any) -> None:
    x[1][0] = 99


def _chained_sum(x: Any) -> None:
    x[1][0] += 99


def _of_view(x: Any) -> None:
    x.T[0] = 1


@pytest.mark.skipif(not NOBODY, reason="this Python does not tell temporaries from variables")
@pytest.mark.parametrize("lost", [_chained, _chained_sum, _of_view])
def test_an_assignment_that_is_lost_is_told(lost: Callable[[Any], None]) -> None:
    x = arr(np.arange(6.0).reshape(2, 3))
    with pytest.warns(UserWarning, match="which changes nothing: .* write x\\[0, 1\\] = v"):
        lost(x)
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_assignments_that_somebody_sees_are_not_told() -> None:
    x = arr(np.arange(6.0).reshape(2, 3))
    row, several, named = x[1], [x[0]], {"w": x[0]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row[0] = 5
        several[0][0] = 6
        named["w"][0] = 7
        x[1, 0] += 2
        x[0] += 1
        setitem(x, (0, 0), 8)
    assert (row.tolist(), several[0].tolist(), named["w"].tolist()) == ([5, 4, 5], [6, 1, 2], [7, 1, 2])
    assert x.tolist() == [[8, 2, 3], [5, 4, 5]]


def test_records_that_share_their_operands_hold_them_once() -> None:
    x = arr([1.0, 2.0])
    doubled = x + x
    doubled += 1  # the handle and the record before it refer to one tuple of operands
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x[0] = 5
    assert (x.tolist(), doubled.tolist()) == ([5, 2], [3, 5])


def test_no_zeros_for_what_was_assigned_after_the_loss() -> None:
    x = arr([1.0, 2.0])
    kept = +x
    loss, other = (x * x).sum(), (kept * kept).sum()
    x[0] = 5.0
    with pytest.raises(ArgumentError, match=r"assigned after the loss was recorded.*keep y = \+x"):
        tensor.grad(loss, [x])
    assert tensor.grad(other, [kept])[0].tolist() == [2, 4]
    assert tensor.grad((x * x).sum(), [x])[0].tolist() == [10, 4]
    assert tensor.grad(loss, [arr([1.0])])[0].tolist() == [0]


# remedies that work


def test_what_torch_does_not_share_is_told_with_what_helps() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(DTypeError, match=r"Write x\.to_dense\(\)"):
        arr(torch.eye(2).to_sparse())
    assert arr(torch.eye(2).to_sparse().to_dense()).tolist() == [[1, 0], [0, 1]]


def test_programs_and_copies_that_there_are_not() -> None:
    program = tensor.compile([tensor.input("x", (2,)) * 2], on="interp")
    with pytest.raises(StateError, match="Pickle the parameters"):
        pickle.dumps(program)
    with pytest.raises(ArgumentError, match=r"numpy must copy it: .* Leave copy out"):
        np.array(arr([1.0]), copy=False)


def test_a_second_derivative_that_there_is_not_is_refused() -> None:
    x, values = arr([1.0, 2.0]), arr([3.0, 4.0])
    found = tensor.scatter_reduce(x, 0, [0, 0], values, "prod").sum()
    (g,) = tensor.grad(found, [values])
    assert g.tolist() == [4, 3]
    with pytest.raises(ArgumentError, match=r"gradient of a product by index has no derivative: .* sum, of logarithms"):
        tensor.grad((g * g).sum(), [values])


def test_products_with_arrays_as_methods() -> None:
    x, other = arr([[1.0, 2.0]]), np.array([[3.0], [4.0]], "f4")
    for found in (
        x.matmul(other),
        x.dot(other),
        x.dot(other.tolist()),
        x @ other,
        x.matmul(other.T.copy(), transpose_b=True),
    ):
        assert found.tolist() == [[11.0]]


# memory

_N = 10_000


def _held() -> int:
    """Return how many tensors have elements in memory, of those that these tests make."""
    return sum(o.data is not None and o.size == _N for o in gc.get_objects() if type(o) is tensor.Tensor)


_STEPS: dict[str, Callable[[Any, Any], Any]] = {
    "new": lambda u, w: u * w + 1.0,
    "views": lambda u, w: tensor.roll(u, 1) * w + u[::-1] * 0.25,
}


@pytest.mark.parametrize("name", _STEPS)
def test_a_loop_holds_the_elements_of_its_last_step(name: str) -> None:
    data = np.random.default_rng(0).normal(size=_N).astype("f4")
    w, first = arr(0.5 + data * data), arr(data)
    step, u, before = _STEPS[name], first, _held()
    for _ in range(6):
        u = step(u, w)
        u.evaluate()
    assert _held() <= before + 1
    plain = first
    for _ in range(6):
        plain = step(plain, w)
    for x in (first, w):
        (found,), (wanted,) = tensor.grad(u.sum(), [x]), tensor.grad(plain.sum(), [x])
        assert (found.numpy().view("u4") == wanted.numpy().view("u4")).all()


def test_assigned_steps_are_not_held_either() -> None:
    u, before = arr(np.zeros(_N, "f4")), _held()
    for i in range(6):
        u += 1.0
        u[5:] = u[5:] * 2.0
        u.evaluate()
        assert u[0].item() == i + 1
    assert _held() <= before + 1


def test_what_somebody_waits_for_keeps_its_elements() -> None:
    u, rows, slopes, parameter = arr(np.zeros(_N, "f4")), [], [], tensor.parameter(np.ones(_N, "f4"), on="interp")
    for _ in range(4):
        u = u + parameter
        u.evaluate()
        rows.append(u[:1])
        slopes.append(tensor.grad((u * u).sum(), [u])[0])
    before = _held()
    parameter.assign(np.full(_N, 7, "f4"))
    assert before >= 5
    assert [row.item() for row in rows] == [1, 2, 3, 4]
    assert [slope[0].item() for slope in slopes] == [2, 4, 6, 8]
    last = u * 1.0
    del rows, slopes
    last.evaluate()
    del u
    assert tensor.grad(last.sum(), [parameter])[0][0].item() == 4
    assert last[0].item() == 4
