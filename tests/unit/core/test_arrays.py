"""Everything people pass as an array, through every door: one answer, that of numpy, and one text of refusal."""

from __future__ import annotations

import array
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import loom
from deferred import Later, value_of
from loom import tensor
from loom.core import arrays, conversions
from loom.core.conversions import convert
from loom.core.dtype import SCALARS, bf16, f16, f32, f64, lookup
from loom.core.errors import DTypeError, LoomError, ShapeError

torch = pytest.importorskip("torch")
ml_dtypes = pytest.importorskip("ml_dtypes")
BF16 = ml_dtypes.bfloat16
GRID = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 7


class Dlpack:
    def __init__(self, held: Any) -> None:
        self.held = held

    def __dlpack__(self, **options: Any) -> Any:
        return self.held.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.held.__dlpack_device__()


class Interface:
    def __init__(self, held: Any) -> None:
        self.__array_interface__ = held.__array_interface__
        self.held = held


class Broken:
    def __array__(self, *_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("of its own")


def through_unit(data: Any) -> Any:
    with loom.boot(0, bindings={"x": data}, device="interp") as unit:
        return unit.read(binding="x")


def through_assign(data: Any) -> Any:
    like = np.asarray(tensor.array(data, on="interp").numpy())
    held = tensor.parameter(np.zeros(like.shape), like.dtype, on="interp")
    held.assign(data)
    return held.numpy()


DOORS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "pattern": ("gpu_map", lambda x: loom.gpu_map(x, lambda v: v, on="interp")),
    "tensor": ("tensor.array", lambda x: tensor.array(x, on="interp").numpy()),
    "parameter": ("tensor.parameter", lambda x: tensor.parameter(x, on="interp").numpy()),
    "unit": ("u, binding 'x'", through_unit),
}
"""Names in errors, and ways that return what was given."""

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    MATRIX = np.matrix([[1.0, 2.0]], dtype=np.float32)

READ: dict[str, tuple[Any, Any]] = {
    **{f"numpy {t}": (np.array([[1, 0, 1]], t.numpy), None) for t in SCALARS.values() if t != bf16},
    "ml_dtypes bf16": (np.array([1.5, -2.0], BF16), None),
    "a scalar of numpy": (np.float32(2.5), np.float32(2.5)),
    "a scalar of bf16": (BF16(2.5), np.array(2.5, BF16)),
    "no dimension": (np.array(3, np.uint8), None),
    "transposed": (GRID.T, None),
    "reversed": (GRID[::-1, :, ::-2], None),
    "repeated": (np.broadcast_to(GRID[0, 0], (3, 4)), None),
    "Fortran": (np.asfortranarray(GRID), None),
    "misaligned": (np.frombuffer(b"?" + GRID.tobytes(), np.float32, offset=1), GRID.reshape(-1)),
    "read-only": (np.frombuffer(GRID.tobytes(), np.float32), GRID.reshape(-1)),
    "byte-swapped": (GRID.astype(">f4"), GRID),
    "byte-swapped ints": (np.array([1, -2], ">i8"), np.array([1, -2])),
    "byte-swapped view": (GRID.astype(">f4")[:, ::2], GRID[:, ::2]),
    "a field": (np.array([(1.0, 2)], "f4,i4")["f0"], np.array([1.0], np.float32)),
    "a matrix": (MATRIX, np.array([[1.0, 2.0]], np.float32)),
    "empty": (np.zeros((3, 0), np.int8), None),
    "interface": (Interface(GRID), GRID),
    "dlpack": (Dlpack(GRID), GRID),
    "torch": (Later(lambda: torch.arange(6).reshape(2, 3)), np.arange(6).reshape(2, 3)),
    "torch bool": (Later(lambda: torch.tensor([True, False])), np.array([True, False])),
    "torch transposed": (
        Later(lambda: torch.arange(6.0).reshape(2, 3).T), np.arange(6, dtype=np.float32).reshape(2, 3).T
    ),
    "torch bf16": (Later(lambda: torch.tensor([1.5, -2.0], dtype=torch.bfloat16)), np.array([1.5, -2.0], BF16)),
    "torch f16": (Later(lambda: torch.tensor([1.5, -2.0], dtype=torch.float16)), np.array([1.5, -2.0], np.float16)),
    "a tensor": (tensor.array([1.5], on="interp"), np.array([1.5], np.float32)),
    "a tensor of bf16": (tensor.array([1.5], "bf16", on="interp"), np.array([1.5], BF16)),
    "an array of bf16": (loom.array([1.5], dtype=loom.bf16, on="interp"), np.array([1.5], BF16)),
    "ints": ([[1, 2], [3, 4]], np.array([[1, 2], [3, 4]])),
    "bools": ([True, False], np.array([True, False])),
    "bools and ints": ([True, 2], np.array([1, 2])),
    "a range": (range(3), np.arange(3)),
    "a tuple of arrays": ((GRID[0], GRID[1]), GRID),
    "a list of torch": (Later(lambda: [torch.tensor(1), torch.tensor(2)]), np.array([1, 2])),
    "a list of bf16": ([tensor.array([1.5], "bf16", on="interp")] * 2, np.array([[1.5]] * 2, BF16)),
    "bytes to change": (bytearray(b"ab"), np.array([97, 98], np.uint8)),
    "an array of the standard library": (array.array("i", [1, -2]), np.array([1, -2], np.int32)),
    "a view of memory": (memoryview(GRID), GRID),
    "ints beyond int64": ([1, 2**64 - 1], np.array([1, 2**64 - 1], np.uint64)),
    "unsigned and signed": ([np.uint64(2**60 + 1), np.int64(-1)], np.array([2**60 + 1, -1])),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_what_is_read(door: str) -> None:
    for name, (given, wanted) in READ.items():
        data = value_of(given)
        wanted = np.asarray(data) if wanted is None else np.asarray(wanted)
        found = np.asarray(DOORS[door][1](data))
        if door == "unit":
            wanted = wanted.reshape(-1)
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), name
        assert found.tobytes() == wanted.tobytes(), name


def refused(what: str) -> str:
    remedy = "Pass numbers"
    if what.startswith("<U"):
        remedy = "Number texts first: numpy.unique(array, return_inverse=True) gives names and numbers"
    return f"not numbers: expected bools, ints or floats, got {what}. {remedy}."


TEXTS = (
    "not numbers: expected bools, ints or floats, got {}. Number texts first: numpy.unique(array, return_inverse=True) "
    "gives names and numbers."
)
MASK = "the array has a mask: expected a plain array, got MaskedArray. Use its compressed() or filled()."
BOTH = (
    "no integer type holds all the numbers: expected int64 or uint64 for all of them, got ints of both ranges. Write "
    "them as floats."
)
RAGGED = (
    "the rows differ in length: expected numbers in a regular shape, got a ragged list. Pad them, or pass them apart."
)
COMPLEX = (
    "complex numbers: expected bools, ints or floats, got complex{}. "
    "Pass .real and .imag apart; loom.signal.fft and its kin take them."
)
REFUSED: dict[str, tuple[Any, str]] = {
    "masked": (np.ma.array([1, 2], mask=[0, 1]), MASK),
    "masked, nothing hidden": (np.ma.array([1.0, 2.0]), MASK),
    "a list with a mask in it": ([np.ma.array([1, 2], mask=[0, 1]), [3, 4]], MASK),
    "records": (
        np.zeros(2, "f4,i4"),
        "not numbers: expected bools, ints or floats, got [('f0', '<f4'), ('f1', '<i4')]. Pass one field, as in "
        "array['f0'].",
    ),
    "objects": (np.array([1, None]), refused("object")),
    "ints as objects": (np.array([1, 2], object), refused("object")),
    "text": ("abc", TEXTS.format("<U3")),
    "texts": (["a", "b"], refused("str")),
    "an array of texts": (np.array(["a"]), TEXTS.format("<U1")),
    "a number and a text": ([1, "a"], refused("str")),
    "nothing": (None, refused("NoneType")),
    "nothing in a list": ([1.0, None], refused("NoneType")),
    "dates": (np.array(["2020-01-01"], "M8[D]"), refused("datetime64[D]")),
    "a mapping": ({1: 2}, refused("dict")),
    "a set": ({1, 2}, refused("set")),
    "an iterator": (iter([1]), refused("list_iterator")),
    "an object": (object(), refused("object")),
    "one that breaks": (
        Broken(),
        "not an array (of its own): expected numbers of one kind in a regular shape, got Broken. Pass a numpy array or "
        "a list of numbers.",
    ),
    "ragged": ([[1, 2], [3]], RAGGED),
    "ragged deeper": (([[1], [2]], [[3], [4, 5]]), RAGGED),
    "numbers and rows": ([1, [2, 3]], RAGGED),
    "complex": (np.array([1j], np.complex64), COMPLEX.format("64")),
    "complex list": ([1j, 1], COMPLEX.format("128")),
    "both ranges": ([2**63, -1], BOTH),
    "both ranges, numpy's": ([np.uint64(2**63), np.int64(-1)], BOTH),
    "beyond 64 bits": ([2**64, 1], BOTH.replace("ints of both ranges", str(2**64))),
    "far beyond": (-(2**70), BOTH.replace("ints of both ranges", str(-(2**70)))),
    "an int that is rounded": (
        [2**53 + 1, 0.5],
        f"float64 does not hold {2**53 + 1}: expected ints that it holds among floats, got {2**53 + 1}. Write it as a "
        "float to have it rounded.",
    ),
    "longer doubles": (
        np.array([1], np.longdouble),
        "unsupported dtype: expected one of bool, int8-64, uint8-64, float16, bfloat16, float32, float64 in native "
        f"byte order, got {np.dtype(np.longdouble)}. Convert first, for example with array.astype(numpy.float32).",
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_what_is_refused(door: str) -> None:
    where, call = DOORS[door]
    for name, (data, text) in REFUSED.items():
        if name == "records" and door == "unit":  # whose bindings may hold records
            continue
        if "omplex" in name and door in ("tensor", "parameter"):  # these have complex numbers
            continue
        with pytest.raises(DTypeError) as caught:
            call(data)
        told = str(caught.value)
        place = told[1 : told.index("]")]
        assert told[len(place) + 3 :] == text, name
        assert place == where or (door == "unit" and place.endswith("binding 'x'")), name


def test_networks_and_signals_refuse_alike() -> None:
    net = loom.Network.from_json(
        {"format": "loom/1", "input": {"shape": [2]}, "layers": [{"type": "dense", "output_size": 2}]}, on="interp"
    )
    doors: dict[str, Callable[[Any], Any]] = {
        "loom.Network, x": net.forward,
        "train, x": lambda x: net.train(x, [0, 1]),
        "train, y": lambda x: net.train([[0.0, 1.0]], x),
        "signal.fft": lambda x: loom.signal.fft(x, on="interp"),
        "u.write to 'globals'": write_words,
    }
    for where, call in doors.items():
        for name, (data, text) in REFUSED.items():
            if ("omplex" in name and where == "signal.fft") or (name == "a mapping" and "," in where):
                continue
            with pytest.raises(LoomError) as caught:
                call(data)
            told = str(caught.value)
            assert told[told.index("]") + 2 :] == text, (where, name)


def write_words(data: Any) -> None:
    with loom.boot(0, 4, device="interp") as unit:
        unit.write(data)


def test_lists_of_floats_are_f32_and_arrays_keep_their_type() -> None:
    assert loom.array is tensor.array
    assert tensor.array([0.5], on="interp").dtype == f32
    assert tensor.array(0.5, on="interp").dtype == f32
    assert tensor.array(np.array([0.5]), on="interp").dtype == f64


UNFIT: list[tuple[Any, str, str]] = [
    (300, "u8", "300 does not fit u8: expected whole numbers from 0 to 255, got 300."),
    (-1, "u64", f"-1 does not fit u64: expected whole numbers from 0 to {2**64 - 1}, got -1."),
    (2.0**63, "i64", f"9.223372036854776e+18 does not fit i64: expected whole numbers from {-(2**63)} to {2**63 - 1}"),
    (np.array([2**63], np.uint64), "i64", f"{2**63} does not fit i64"),
    (np.array([-1], np.int8), "u64", "-1 does not fit u64"),
    (1.5, "i32", "1.5 does not fit i32"),
    ([1.0, float("nan")], "i32", "nan does not fit i32"),
    (float("inf"), "u8", "inf does not fit u8"),
    (2, "bool", "2 does not fit bool: expected True or False, 1 or 0, got 2."),
    (1e39, "f32", "1e+39 does not fit f32: expected at most 3.4028234663852886e+38 in size, got 1e+39."),
    (np.array([65520.0]), "f16", "65520.0 does not fit f16: expected at most 65504.0 in size, got 65520.0."),
    (3.4e38, "bf16", "3.4e+38 does not fit bf16: expected at most 3.3895313892515355e+38 in size, got 3.4e+38."),
    (2**1100, "f64", f"{2**1100} does not fit f64"),
]


def test_numbers_that_do_not_fit_a_type_asked_for() -> None:
    for value, dtype, text in UNFIT:
        with pytest.raises(DTypeError) as caught:
            tensor.array(value, dtype, on="interp")
        assert str(caught.value).startswith(f"[tensor.array] {text}"), (value, dtype)
    for value, dtype in ((255, "u8"), (2**64 - 1, "u64"), (-(2**63), "i64"), (65519.0, "f16"), (float("inf"), "f16")):
        assert np.isfinite(value) == np.isfinite(float(tensor.array(value, dtype, on="interp").item()))


def nearest(value: Fraction, fraction_bits: int, least_exponent: int) -> Fraction:
    """Round to nearest, halves to even, in integers."""
    if not value:
        return value
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    step = Fraction(2) ** (max(exponent, least_exponent) - fraction_bits)
    return round(value / step) * step


@pytest.mark.parametrize("dtype", ["bf16", "f16", "f32"])
def test_numbers_are_rounded_once(dtype: str) -> None:
    bits, least = {"bf16": (7, -126), "f16": (10, -14), "f32": (23, -126)}[dtype]
    rng = np.random.default_rng(3)
    middles = (1 + (2 * rng.integers(0, 1 << bits, 300) + 1) / 2.0 ** (bits + 1)) * 2.0 ** rng.integers(-9, 9, 300)
    near = np.concatenate([middles, np.nextafter(middles, 0), np.nextafter(middles, 1e9), -middles * (1 + 2.0**-40)])
    subnormal = rng.integers(1, 64, 40) * 2.0 ** (least - bits - 3) * (1 + 2.0**-30)
    doubles = np.concatenate([near, subnormal, [0.0, 1e-300, -1e-300]])
    for data in (doubles, doubles.astype(np.float32)):
        found = tensor.array(data, dtype, on="interp").tolist()
        assert [Fraction(x) for x in found] == [nearest(Fraction(float(x)), bits, least) for x in data]
    if dtype != "f16":
        shifts = rng.integers(bits + 2, 60, 200)
        whole = [(1 << int(s)) + (1 << (int(s) - bits - 1)) + d for s in shifts for d in (-1, 0, 1)]
        for given in (np.array(whole), np.array(whole, np.uint64), whole, [*whole, 2**100 + 2 ** (99 - bits) + 1]):
            found = tensor.array(given, dtype, on="interp").tolist()
            assert [Fraction(x) for x in found] == [nearest(Fraction(int(x)), bits, least) for x in given]


def test_bf16_never_leaves_as_integers() -> None:
    x = tensor.array([1.0, 2.0], "bf16", on="interp")
    assert tensor.array(x, "f32", on="interp").tolist() == [1.0, 2.0]
    assert loom.gpu_sum(x) == 3.0
    assert loom.array(x, on="interp").tolist() == [1.0, 2.0]
    assert np.allclose(np.exp(x).astype(np.float32), [2.71875, 7.375])
    assert torch.from_dlpack(x).tolist() == [1.0, 2.0]
    assert np.from_dlpack(x).tolist() == [1.0, 2.0]
    assert tensor.array(np.array([1, 2, 3], np.uint16), "bf16", on="interp").tolist() == [1.0, 2.0, 3.0]
    held = tensor.parameter([0.0, 0.0], on="interp")
    held.assign(x)
    assert held.tolist() == [1.0, 2.0]
    made = tensor.create((2,), "bf16", data=[1.0, 2.0], on="interp")
    made.write(np.array([3, 4], np.uint16))
    assert made.tolist() == [3.0, 4.0]
    program = tensor.compile([tensor.input("x", (2,), "bf16") * 2], on="interp")
    program.run(x=np.array([3, 4], np.uint16))
    assert program.read()[0].astype(np.float32).tolist() == [6.0, 8.0]


def test_without_ml_dtypes_bf16_leaves_as_f32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversions, "_bfloat16", lambda: None)
    x = tensor.array([1.0, 2.0], "bf16", on="interp")
    y = torch.tensor([1.0, 2.0], dtype=torch.bfloat16)
    for found in (
        x.numpy(), loom.gpu_map(x, "neg", on="interp") * -1, loom.gpu_map(y, "abs", on="interp"),
        loom.array(x, on="interp").numpy(), loom.gpu_sort(y, on="interp"), through_unit(y),
    ):  # fmt: skip
        read = np.asarray(found)  # a pattern of a tensor gives one
        assert (read.dtype, read.tolist()) == (np.float32, [1.0, 2.0])
    assert (loom.gpu_sum(y, on="interp").dtype, loom.gpu_sum(y, on="interp")) == (np.float32, 3.0)
    assert tensor.array(y, on="interp").dtype == bf16


def test_a_networks_input_of_bf16() -> None:
    document = {"format": "loom/1", "input": {"shape": [2]}, "layers": [{"type": "dense", "output_size": 2}]}
    net = loom.Network.from_json(document, on="interp")
    rows = [[1.0, -2.0], [0.5, 3.0]]
    wanted = net.forward(np.array(rows, np.float32))
    for given in (
        tensor.array(rows, "bf16", on="interp"),
        torch.tensor(rows, dtype=torch.bfloat16),
        np.array(rows, BF16),
    ):
        assert net.forward(given).tolist() == wanted.tolist()


def test_a_masked_parameter_is_refused() -> None:
    chain = loom.Chain("interp")
    with pytest.raises(DTypeError, match="the array has a mask"):
        chain.dispatch(filled, [np.ones(64, np.float32)], [np.ma.array(1.0, mask=True)])


@loom.kernel
def filled(x: loom.Out[loom.f32], a: loom.f32):  # type: ignore[no-untyped-def]
    x[loom.global_id()] = a


def test_settings_of_windows_and_joins_are_read() -> None:
    empty = np.zeros(0)
    for call in (
        lambda: loom.signal.kaiser(8, empty), lambda: loom.signal.window(empty, 8),
        lambda: loom.data.join([1], [1], empty),
    ):  # fmt: skip
        with pytest.raises(LoomError):
            call()
    assert loom.signal.kaiser(np.int64(8), np.float32(2)).shape == (8,)


def test_shapes_that_do_not_fit_are_told() -> None:
    with pytest.raises(
        ShapeError, match=r"\[tensor.create\] the data do not fit: expected 4 elements, for \(2, 2\), got"
    ):
        tensor.create((2, 2), data=[1.0, 2.0], on="interp")


def test_an_array_in_order_is_not_copied() -> None:
    for x in (GRID, GRID[1], np.array(3.0), np.array([1.5], BF16)):
        taken, found = arrays.read_array(x, "here")
        assert np.shares_memory(taken, x)
        assert found in (f32, f64, bf16)
    assert convert(np.array([1.5], np.float16), f16, f16, "here").dtype == lookup("f16").numpy


COMPLEX_GRID = (GRID + 1j * GRID[::-1]).astype(np.complex64)


@pytest.mark.parametrize("given", [
    COMPLEX_GRID, np.asfortranarray(COMPLEX_GRID), COMPLEX_GRID.astype(">c8"), COMPLEX_GRID.tolist(),
    Later(lambda: torch.from_numpy(COMPLEX_GRID)), Dlpack(COMPLEX_GRID), tensor.array(COMPLEX_GRID),
])  # fmt: skip
def test_complex_arrays_come_into_tensors_and_nowhere_else(given: Any) -> None:
    given = value_of(given)
    found = tensor.array(given)
    assert found.dtype.name == "c64"
    assert found.numpy().dtype == np.complex64
    assert (found.numpy().view(np.uint32) == COMPLEX_GRID.view(np.uint32)).all()
    assert found.tolist() == COMPLEX_GRID.tolist()
    assert (np.from_dlpack(found) == COMPLEX_GRID).all()
    with pytest.raises(DTypeError, match="complex numbers"):
        arrays.read_array(given, "x")
    with pytest.raises(DTypeError, match="complex numbers do not become real ones"):
        tensor.array(given, "f32")


def test_numbers_become_complex_ones_part_by_part() -> None:
    assert tensor.array(2 - 1j).item() == 2 - 1j
    assert tensor.array([1, 2.5], "c128").numpy().tolist() == [1, 2.5]
    assert tensor.array(np.arange(3), "complex64").numpy().tolist() == [0, 1, 2]
    assert tensor.array(np.array([1j])).dtype.name == "c128"
    with pytest.raises(DTypeError, match="does not fit f32"):
        tensor.array(np.array([1e300j]), "c64")
