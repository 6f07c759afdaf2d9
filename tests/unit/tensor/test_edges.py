"""Edges of tensors: what aliases, what is empty, what half precision and points without a derivative give, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import loom
from conformance.running import kinds
from loom import tensor
from loom.core.errors import ArgumentError, DTypeError, LoomError, ShapeError, StateError
from unit.core.test_arrays import nearest

torch = pytest.importorskip("torch")


def arr(data: Any, dtype: Any = None) -> tensor.Tensor:
    return tensor.array(data, dtype, on="interp")


# positions and classes


def test_classes_are_compared_in_a_type_that_holds_them() -> None:
    for dtype in ("u8", "i8", "u16", "i32", "u32", "i64", "u64"):
        found = np.asarray(tensor.one_hot(arr([3, 100], dtype), 300))
        assert np.argwhere(found).tolist() == [[0, 3], [1, 100]]
        loss = tensor.cross_entropy(tensor.zeros((2, 300)), arr([3, 100], dtype))
        assert loss.item() == pytest.approx(math.log(300), rel=1e-6)


def test_a_class_that_there_is_not_is_seen() -> None:
    logits = tensor.zeros((4, 3))
    for dtype, classes in (("i32", [2, 3, -1, 0]), ("u8", [2, 3, 255, 0]), ("i64", [2, 2**40, -(2**63), 0])):
        found = tensor.cross_entropy(logits, arr(classes, dtype), reduction="none").tolist()
        assert [math.isnan(x) for x in found] == [False, True, True, False]
    assert tensor.one_hot(arr([3, -1, 0]), 3).tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_counting_does_not_wrap() -> None:
    assert tensor.arange(256, "u8").tolist() == list(range(256))
    for size, dtype, text in ((257, "u8", "256 does not fit u8"), (129, "i8", "128 does not fit i8"),
                              (70000, "f16", "69999 does not fit f16"), (3, "bool", "bool has two")):  # fmt: skip
        with pytest.raises(DTypeError, match=text):
            tensor.arange(size, dtype)
    with pytest.raises(ArgumentError, match="not a number: expected ints or floats, got \\(2, 3\\)"):
        tensor.arange((2, 3))  # type: ignore[arg-type]


def test_wide_indices_do_not_wrap() -> None:
    table = tensor.parameter([10.0, 20.0, 30.0], on="interp")
    for indices, dtype in (([2**32 + 1, -1, 1, 2**63 - 1], "i64"), ([2**32 + 1, 2**64 - 1, 1, 2**32 - 1], "u64")):
        at = arr(indices, dtype)
        assert tensor.gather(table, at).tolist() == [0, 0, 20, 0]
        assert tensor.grad(tensor.gather(table, at).sum(), [table])[0].tolist() == [0, 1, 0]
        assert tensor.sum_by_index(arr([1.0, 2.0, 4.0, 8.0]), at, 3).tolist() == [0, 4, 0]


# nothing


def test_empty_tensors() -> None:
    empty = np.zeros((0, 3), np.float32)
    assert (arr(empty) + 1).reshape(3, 0).numpy().shape == (3, 0)
    for a, b in (((0, 2, 3), (3, 4)), ((2, 3, 0), (0, 4)), ((0, 3), (3, 2)), ((2, 3), (3, 0)), ((2, 0, 3), (2, 3, 4)),
                 ((0,), (0,)), ((0,), (0, 3)), ((2, 3, 0), (0,))):  # fmt: skip
        x, y = np.ones(a, np.float32), np.ones(b, np.float32)
        found = (arr(x) @ arr(y)).numpy()
        assert (found.shape, found.tolist()) == ((x @ y).shape, (x @ y).tolist())
        assert np.array_equal(loom.gpu_matmul(x, y, on="interp"), x @ y)
    for n, channels, filters in ((0, 2, 4), (1, 0, 4), (2, 2, 0)):
        images, window, shape = (n, 5, 5, channels), (3, 3, channels, filters), (n, 3, 3, filters)
        x, w = (tensor.parameter(np.ones(s, np.float32), on="interp") for s in (images, window))
        y = tensor.convolve(x, w, padding=0)
        assert (y.numpy().shape, y.sum().item()) == (shape, 0)
        assert [g.numpy().shape for g in tensor.grad(y.sum(), [x, w])] == [images, window]
    assert tensor.max_pool(arr(np.zeros((0, 4, 4, 2), np.float32)), 2).numpy().shape == (0, 2, 2, 2)


def test_random_graphs_with_sizes_of_zero() -> None:
    rng = np.random.default_rng(11)
    for _ in range(60):
        shape = tuple(int(n) for n in rng.integers(0, 3, 3))
        x = rng.normal(size=shape).astype(np.float32)
        t = arr(x) * 2 + 1
        y = x * 2 + 1
        for step in rng.integers(0, 5, 4):
            if step == 0:
                order = rng.permutation(y.ndim).tolist()
                t, y = tensor.permute(t, order), y.transpose(order)
            elif step == 1:
                t, y = t.reshape(tuple(reversed(t.shape))), y.reshape(tuple(reversed(y.shape)))
            elif step == 2:
                axis = int(rng.integers(0, y.ndim))
                t, y = tensor.concat([t, t], axis), np.concatenate([y, y], axis)
            elif step == 3:
                t, y = t[..., :1], y[..., :1]
            else:
                t, y = tensor.reverse(t) * 1, y[::-1, ::-1, ::-1]
        assert np.array_equal(t.numpy(), y)
        assert np.allclose(t.sum(0).numpy(), y.sum(0))


# numpy and Python


def test_iteration_and_indices() -> None:
    x = arr([1.0, 2.0, 3.0])
    p, q, r = x
    assert [v.item() for v in x] == [p.item(), q.item(), r.item()] == [1, 2, 3]
    assert [row.tolist() for row in arr([[1.0], [2.0]])] == [[1.0], [2.0]]
    with pytest.raises(IndexError, match="index 3 is outside axis 0: expected -3 to 2, got 3"):
        x[3]
    with pytest.raises(ShapeError, match="it has no dimension"):
        list(arr(1.0))
    assert [x[mask].tolist() for mask in (x > 1, np.array([True, False, True]))] == [[2.0, 3.0], [1.0, 3.0]]
    assert x[arr([0, 1])].tolist() == [1.0, 2.0]
    with pytest.raises(ArgumentError, match=r"one tensor, not several: expected a list of tensors, .* Write \[x\]"):
        tensor.grad(x.sum(), x)
    with pytest.raises(ArgumentError, match=r"one tensor, not several: expected a list of tensors, .* Write \[x\]"):
        tensor.compile(x)


def test_functions_of_numpy_read_the_elements() -> None:
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    for x in (arr(data), loom.array(data, on="interp")):
        assert (np.sum(x), np.mean(x), np.max(x), np.shape(x), np.ndim(x)) == (15, 2.5, 5, (2, 3), 2)
        assert np.array_equal(np.sum(x, axis=0), data.sum(0))
        assert np.array_equal(np.concatenate([x, x], axis=1), np.concatenate([data, data], axis=1))


# half precision


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_norms_and_softmax_are_computed_in_f32_and_rounded_once(dtype: str) -> None:
    kind = torch.float16 if dtype == "f16" else torch.bfloat16
    rng = np.random.default_rng(2)
    rows = (rng.normal(size=(3, 40)) * 3).astype(np.float32)
    x = arr(rows, dtype)
    wide = x.astype("f32")
    weight, bias = arr(rng.normal(size=40), dtype), arr(rng.normal(size=40), dtype)
    w32, b32 = weight.astype("f32"), bias.astype("f32")
    for half, single in (
        (tensor.softmax(x), tensor.softmax(wide)),
        (tensor.log_softmax(x, 0), tensor.log_softmax(wide, 0)),
        (tensor.rms_norm(x, weight), tensor.rms_norm(wide, w32)),
        (tensor.layer_norm(x, weight, bias), tensor.layer_norm(wide, w32, b32)),
    ):
        assert half.dtype == x.dtype
        assert half.tolist() == single.astype(dtype).tolist()
    theirs = torch.nn.functional.rms_norm(torch.full((4,), 300.0, dtype=kind), (4,)).tolist()
    assert tensor.rms_norm(arr([300.0] * 4, dtype)).tolist() == pytest.approx(theirs, abs=0.01)
    assert tensor.layer_norm(arr([300.0, -300.0], dtype)).tolist() == [1.0, -1.0]
    found = tensor.softmax(arr(np.zeros((1, 70000)), dtype))
    assert found[0, 0].item() == arr(1 / 70000, dtype).item()
    g = tensor.parameter(rows, dtype, on="interp")
    (grad,) = tensor.grad((tensor.softmax(g) * wide.astype(dtype)).sum(), [g])
    assert grad.dtype == x.dtype


def test_conversions_to_16_bits_round_once(on: str) -> None:
    rng = np.random.default_rng(8)
    for dtype, bits, least in (("f16", 10, -14), ("bf16", 7, -126)):
        middle = (1 + (2 * rng.integers(0, 1 << bits, 150) + 1) / 2.0 ** (bits + 1)) * 2.0 ** rng.integers(-12, 12, 150)
        doubles = np.concatenate([
            middle, middle * (1 + 2.0**-50), middle * (1 - 2.0**-50), -middle * (1 + 2.0**-40),
            rng.integers(1, 99, 50) * 2.0 ** (least - bits - 2) * (1 + 2.0**-40), [0.0, -0.0, 1e-320],
            [1.0004882821813226],
        ])  # fmt: skip
        shifts = rng.integers(bits + 2, 60, 100).tolist()
        whole = [(1 << s) + (1 << (s - bits - 1)) + d for s in shifts for d in (-1, 0, 1)] + [
            0,
            1,
            2**63 - 1,
            2**62 + 1,
        ]
        if dtype == "f16":
            whole = [n for n in whole if n < 65504]
        small = [n for n in whole if n < 2**31]
        given: list[np.ndarray[Any, Any]] = [np.array(whole), -np.array(whole), np.array(whole, np.uint64),
                                             np.array(small, np.int32), np.array(small, np.uint32)]  # fmt: skip
        if on in kinds("shares") or "f64" in str(loom.device(on)):
            given.append(doubles)
        for data in given:
            x = tensor.array(data, on=on)
            wanted = [nearest(Fraction(v), bits, least) for v in data.tolist()]
            assert [Fraction(v) for v in x.astype(dtype).tolist()] == wanted, (dtype, data.dtype)
            cast = loom.gpu_cast(loom.array(data, on=on), loom.core.dtype.lookup(dtype))
            assert cast.tolist() == x.astype(dtype).tolist()
    odd = tensor.array([math.inf, -math.inf, math.nan, 1e300, -1e300, 65519.9], "f64", on="interp").astype("f16")
    assert str(odd.tolist()) == "[inf, -inf, nan, inf, -inf, 65504.0]"


# derivatives


def slopes(f: Callable[..., Any], *at: Any) -> list[Any]:
    held = [tensor.parameter(x, "f32", on="interp") for x in at]
    return [g.tolist() for g in tensor.grad(f(*held).sum(), held)]


def theirs(f: Callable[..., Any], *at: Any) -> list[Any]:
    held = [torch.tensor(x, requires_grad=True) for x in at]
    f(*held).sum().backward()
    return [h.grad.tolist() for h in held]


def test_derivatives_at_points() -> None:
    for power in (0, 0.0, 1, 2.0, 3):
        assert slopes(lambda x, p=power: x**p, [0.0, 2.0]) == theirs(lambda x, p=power: x**p, [0.0, 2.0])
    base, exponent = [0.0, 0.0, 0.0, 2.0], [2.0, 0.5, 1.0, 3.0]
    found = slopes(lambda a, b: a.map("pow", b), base, exponent)
    wanted = theirs(torch.pow, base, exponent)
    assert found[0] == wanted[0]
    assert found[1] == pytest.approx(wanted[1])
    assert slopes(lambda y, x: y.map("atan2", x), [0.0], [0.0]) == [[0.0], [-0.0]]
    assert slopes(lambda y, x: y.map("atan2", x), [3.0], [4.0]) == [pytest.approx([0.16]), pytest.approx([-0.12])]
    assert slopes(lambda x: x.map("j1"), [0.0])[0] == [0.5]
    nan = math.nan
    assert slopes(tensor.maximum, [nan, 1.0, 2.0], [1.0, nan, 2.0]) == [[1, 0, 1], [0, 1, 0]]
    assert slopes(tensor.minimum, [nan, 1.0, 2.0], [1.0, nan, 2.0]) == [[1, 0, 1], [0, 1, 0]]
    x = tensor.parameter([0.0, 2.0], on="interp")
    for power, second in ((1, [0.0, 0.0]), (3, [0.0, 12.0])):
        first = tensor.grad(x.map("pow", arr([float(power)] * 2)).sum(), [x])[0]
        assert tensor.grad(first.sum(), [x])[0].tolist() == second


# refusals


X = [1.0, 2.0, 3.0]
IMAGE, WINDOW = np.ones((1, 5, 5, 2), np.float32), np.ones((3, 3, 2, 4), np.float32)
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a new axis beyond": (
        lambda: tensor.expand_dims(arr(X), 7),
        "[expand_dims, axis] there is no such place: expected -2 to 1, got 7. The tensor has shape (3,).",
    ),
    "a new axis before": (
        lambda: tensor.expand_dims(arr(X), -9),
        "[expand_dims, axis] there is no such place: expected -2 to 1, got -9. The tensor has shape (3,).",
    ),
    "flatten beyond": (
        lambda: tensor.flatten(arr(X), 5),
        "[flatten, axis] there is no such axis: expected -1 to 0, got 5. The tensor has shape (3,).",
    ),
    "a fraction of an axis": (
        lambda: arr(X).reshape(2.7, 1),
        "[reshape] not a whole number: expected an int of at least -1, got 2.7. Pass the size of each axis, "
        "one of which may be -1.",
    ),
    "a text of a shape": (
        lambda: arr(X).reshape("a"),
        "[reshape] not a whole number: expected an int of at least -1, got 'a'. Pass the size of each axis, "
        "one of which may be -1.",
    ),
    "negative parts": (
        lambda: tensor.split(arr(X), [3, -1, 1]),
        "[split, parts] out of range: expected an int of at least 0, got -1. Pass one within the range.",
    ),
    "no parts": (
        lambda: tensor.split(arr(X), 0),
        "[split, parts] out of range: expected an int from 1 to 65536, got 0. Pass one within the range.",
    ),
    "parts without number": (
        lambda: tensor.split(tensor.zeros((0, 3)), 2**63 - 1),
        "[split, parts] out of range: expected an int from 1 to 65536, got 9223372036854775807. "
        "Pass one within the range.",
    ),
    "a precision of numbers": (
        lambda: loom.precision(np.arange(3)),
        "[loom.precision, precision] unknown: expected None, 'full', 'x12', 'q8', 'q12', 'q24', got array([0, 1, 2]). "
        "Known names: full, q12, q24, q8, x12.",
    ),
    "negative rows": (
        lambda: tensor.sum_by_index(arr(X), arr([0, 1, 2]), -1),
        "[sum_by_index, rows] out of range: expected an int from 0 to 4294967295, got -1. Pass one within the range.",
    ),
    "places outside": (
        lambda: tensor.place(arr([X]), (2, 3), [0, 2], [1, 1]),
        "[place] the elements do not fit: expected places of (1, 3) in (2, 3), got every (1, 1) from (0, 2) "
        "on. Match starts, steps and shape.",
    ),
    "fractions as rows": (
        lambda: tensor.csr((1, 2), [0, 1.5], [0], [1.0]),
        "[tensor.csr, starts] 1.5 does not fit i64: expected whole numbers from -9223372036854775808 to "
        "9223372036854775807, got 1.5. Convert first, or use a type that holds it.",
    ),
    "a negative matrix": (
        lambda: tensor.csr((-1, 2), [0], [], []),
        "[tensor.csr, shape] not a shape: expected whole numbers of at least 0, got (-1, 2). Pass the size of"
        " each axis.",
    ),
    "a number too large": (
        lambda: tensor.full((2,), 300, "u8"),
        "[tensor.full] 300 does not fit u8: expected whole numbers from 0 to 255, got 300. Convert first, or "
        "use a type that holds it.",
    ),
    "a factor too large": (
        lambda: arr(X) * 1e39,
        "[mul] 1e+39 does not fit f32: expected at most 3.4028234663852886e+38 in size, got 1e+39. Convert "
        "first, or use a type that holds it.",
    ),
    "fractions around integers": (
        lambda: tensor.pad(arr([1, 2]), [(1, 1)], 1.5),
        "[pad] 1.5 does not become i64: expected a tensor, or a number that fits, got float. Use "
        "tensor.array, or astype on the tensor.",
    ),
    "fill": (
        lambda: tensor.create((2,), "u8", on="interp").fill(300),
        "[tensor.full] 300 does not fit u8: expected whole numbers from 0 to 255, got 300. Convert first, or "
        "use a type that holds it.",
    ),
    "windows of no axis": (
        lambda: tensor.windows(arr(X), [3], [2], [1]),
        "[windows, axis] there is no such axis: expected -1 to 0, got 3. The tensor has shape (3,).",
    ),
    "windows of two axes": (
        lambda: tensor.windows(arr(X), [0], [2, 2], [1]),
        "[windows] not one number for each axis: expected 1 sizes, steps and dilations, got 2, 1 and 1. Match them.",
    ),
    "one stride of two": (
        lambda: tensor.convolve(arr(IMAGE), arr(WINDOW), stride=(1,)),
        "[convolve, stride] not one number for each dimension: expected 2, got 1. Pass an int, or 2 of them.",
    ),
    "padding by name": (
        lambda: tensor.convolve(arr(IMAGE), arr(WINDOW), padding="same"),
        "[convolve, padding] not a whole number: expected an int of at least 0, got 'same'. Pass an int, or 2 of them.",
    ),
    "a list of indices": (
        lambda: tensor.gather(arr(X), [1]),
        "[gather] not a tensor: expected a tensor, got [1]. Make it with tensor.array.",
    ),
    "a list of conditions": (
        lambda: tensor.where([True], arr(X), 0),
        "[where] not a tensor: expected a tensor, got [True]. Make it with tensor.array.",
    ),
    "lists in a contraction": (
        lambda: tensor.einsum("i,i->", [1.0], [2.0]),
        "[einsum] not a tensor: expected a tensor, got [1.0]. Make it with tensor.array.",
    ),
    "an operand too many": (
        lambda: arr([1.0], "f64").map("exp2", arr(X)),
        "[exp2] another number of operands: expected 1, got 2. Give each operand once.",
    ),
    "no stream": (
        lambda: tensor.create((2,), on="interp").set_stream(None),
        "[LoomTensor.set_stream] not a stream: expected a tensor.Stream, got None. Make one with "
        "tensor.Stream(device).",
    ),
    "a number in a checkpoint": (
        lambda: tensor.checkpoint(lambda a, b: a)(arr(X), 2),
        "[tensor.checkpoint] not a tensor: expected a tensor, got 2. Make it with tensor.array.",
    ),
    "softmax of a list": (
        lambda: tensor.softmax([1.0]),
        "[softmax] not a tensor: expected a tensor, got [1.0]. Make it with tensor.array.",
    ),
    "softmax of integers": (
        lambda: tensor.softmax(arr([1, 2])),
        "[softmax] unsupported dtype: expected floats, got i64. Convert with astype.",
    ),
    "a ragged list": (
        lambda: arr([[1, 2], [3]]),
        "[tensor.array] the rows differ in length: expected numbers in a regular shape, got a ragged list. "
        "Pad them, or pass them apart.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    call, text = REFUSED[name]
    with pytest.raises(LoomError) as caught:
        call()
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "function", ["silu", "rms_norm", "layer_norm", "relu", "sigmoid", "tanh", "softplus", "log_softmax"]
)
def test_functions_of_tensors_tell_what_is_none(function: str) -> None:
    for given in ([1.0], np.ones(3, np.float32), {1.0}, None):
        with pytest.raises(ArgumentError, match=rf"\[{function}\] not a tensor"):
            getattr(tensor, function)(given)


def test_numbers_of_numpy_are_numbers() -> None:
    image, window = arr(IMAGE), arr(WINDOW)
    found = tensor.convolve(image, window, stride=np.int64(2), padding=(np.int32(0), 0))
    assert found.shape == (1, 2, 2, 4)
    assert arr(X).reshape(np.array([3, 1])).shape == (3, 1)
    assert tensor.sum_by_index(arr(X), arr([0, 1, 2]), np.uint8(3)).tolist() == X
    assert [t.shape for t in tensor.split(arr(X), np.array([1, 2]))] == [(1,), (2,)]


def test_programs_run_on_what_was_fed() -> None:
    x, y = tensor.input("x", (1,)), tensor.input("self", (1,))
    program = tensor.compile([x + y], on="interp")
    with pytest.raises(StateError, match=r"nothing was run: expected a run, got none. Call run first"):
        program.read()
    with pytest.raises(StateError, match="inputs were never fed: expected something for each, got nothing for self"):
        program.run(x=[1.0])
    program.run(self=[2.0])
    assert program.read()[0].tolist() == [3.0]
