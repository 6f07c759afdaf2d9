"""Which types numbers are stored in: twenty-one rows, and how each is called.

Layer: core (numpy alone). Invariant: one ``NumericType`` object exists per type; codes and values belong to each other
on every machine, whatever the byte order.
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np

from loom.core.dtype import DType
from loom.core.errors import DTypeError, near_matches
from loom.core.given import is_array, is_scalar
from loom.core.late.dataclass import dataclass

__all__ = ["TYPES", "NumericKind", "NumericType", "numeric_type"]


class NumericKind(str, enum.Enum):
    """What codes mean: floats; whole numbers times a scale; -1, 0 and 1 times one; a sign times one."""

    FLOAT = "float"
    SIGNED = "signed"
    UNSIGNED = "unsigned"
    TERNARY = "ternary"
    BINARY = "binary"


@dataclass(frozen=True, slots=True)
class NumericType:
    """A type of storage.

    ``bits`` of an element; ``largest``: the largest code of an integer type, the largest finite number of a float;
    ``smallest``: the least of either; ``digits``: significant bits of a float. ``has_nan``, ``has_infinity``: of floats
    (the floats of 4 bits, and all integers, have neither). ``safetensors``: what that format calls it, "" if it lacks
    it.
    """

    name: str
    kind: NumericKind
    bits: int
    largest: float
    smallest: float
    digits: int = 0
    has_nan: bool = False
    has_infinity: bool = False
    safetensors: str = ""

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return numeric_type, (self.name,)

    @property
    def is_float(self) -> bool:
        """True for floats."""
        return self.kind is NumericKind.FLOAT

    @property
    def is_packed(self) -> bool:
        """True where several elements share a byte."""
        return self.bits < 8

    @property
    def code_type(self) -> np.dtype[Any]:
        """The numpy dtype of a code, unsigned; of types narrower than a byte that of one byte."""
        return np.dtype(f"u{max(self.bits, 8) // 8}")

    def nbytes(self, count: int) -> int:
        """Return the bytes of elements, packed, the last byte filled up.

        Args:
            count: Number of elements.
        """
        return -(-count * self.bits // 8)


def _float(name: str, bits: int, digits: int, largest: float, file: str, *, nan: bool = True, infinity: bool = True):
    return NumericType(name, NumericKind.FLOAT, bits, largest, -largest, digits, nan, infinity, file)


def _whole(bits: int) -> list[NumericType]:
    top, file = 1 << (bits - 1), bits >= 8
    return [
        NumericType(f"i{bits}", NumericKind.SIGNED, bits, top - 1, -top, safetensors=f"I{bits}" if file else ""),
        NumericType(f"u{bits}", NumericKind.UNSIGNED, bits, 2 * top - 1, 0, safetensors=f"U{bits}" if file else ""),
    ]


_WHOLE = {t.name: t for bits in (64, 32, 16, 8, 4, 2) for t in _whole(bits)}
TYPES: dict[str, NumericType] = {
    t.name: t
    for t in (
        _float("f64", 64, 53, float(np.finfo(np.float64).max), "F64"),
        _float("f32", 32, 24, float(np.finfo(np.float32).max), "F32"),
        _float("f16", 16, 11, 65504.0, "F16"),
        _float("bf16", 16, 8, float.fromhex("0x1.fep127"), "BF16"),
        _float("f8_e4m3", 8, 4, 448.0, "F8_E4M3", infinity=False),
        _float("f8_e5m2", 8, 3, 57344.0, "F8_E5M2"),
        *(_WHOLE[f"i{n}"] for n in (64, 32, 16, 8)),
        *(_WHOLE[f"u{n}"] for n in (64, 32, 16, 8)),
        _WHOLE["i4"],
        _WHOLE["u4"],
        _float("f4_e2m1", 4, 2, 6.0, "F4", nan=False, infinity=False),
        _WHOLE["i2"],
        _WHOLE["u2"],
        NumericType("ternary", NumericKind.TERNARY, 2, 1, -1),
        NumericType("binary", NumericKind.BINARY, 1, 1, -1),
    )
}
"""Name -> type, in the order of the second generation's numbers."""

_OTHER = {
    "f8": "f8_e4m3", "float8": "f8_e4m3", "fp8": "f8_e4m3", "e4m3": "f8_e4m3", "e5m2": "f8_e5m2",
    "fp8_e4m3": "f8_e4m3", "fp8_e5m2": "f8_e5m2", "float8_e4m3": "f8_e4m3", "float8_e4m3fn": "f8_e4m3",
    "float8_e5m2": "f8_e5m2", "f4": "f4_e2m1", "float4": "f4_e2m1", "fp4": "f4_e2m1", "e2m1": "f4_e2m1",
    "fp4_e2m1": "f4_e2m1", "float4_e2m1": "f4_e2m1", "float4_e2m1fn": "f4_e2m1", "float4_e2m1fn_x2": "f4_e2m1",
    "float64": "f64", "double": "f64", "float32": "f32", "float": "f32", "float16": "f16", "half": "f16",
    "bfloat16": "bf16", **{f"{sign}int{n}": f"{sign or 'i'}{n}" for sign in ("", "u") for n in (64, 32, 16, 8, 4, 2)},
}  # fmt: skip
"""What others call them: numpy, PyTorch, ml_dtypes, safetensors and the older generations."""


def numeric_type(given: Any, where: str = "loom.nn.numeric") -> NumericType:
    """Return a type of storage.

    Args:
        given: Type of storage, a dtype of Loom's or numpy's, or a name.
        where: Beginning of the error's text.

    Raises:
        DTypeError: Not a type of storage.

    >>> numeric_type("int4").name, numeric_type("F8_E5M2").name, numeric_type(np.float16).name
    ('i4', 'f8_e5m2', 'f16')
    """
    if isinstance(given, NumericType):
        return given
    name = given.name if isinstance(given, DType) else given
    if not isinstance(name, str):
        name = _numpy_name(given, where)
    name = name.strip().lower().removeprefix("torch.")
    found = TYPES.get(_OTHER.get(name, name))
    if found is None:
        raise DTypeError(where, f"no type of storage is called {given!r:.60}",
                         remedy=near_matches(name, [*TYPES, *_OTHER]))  # fmt: skip
    return found


def _numpy_name(given: Any, where: str) -> str:
    """Return the name of a numpy dtype, or of another library's that has one."""
    text = str(given)
    if text.startswith("torch."):
        return text
    try:
        if given is None or is_array(given) or is_scalar(given):  # numpy takes None for float64
            raise TypeError
        found = np.dtype(given)
        return f"{found.name} of ml_dtypes" if found.name == "float8_e4m3" else found.name  # IEEE's, with infinities
    except (TypeError, ValueError):
        raise DTypeError(where, "not a type of storage", expected='a name such as "i8", or a dtype',
                         got=repr(given)[:100], remedy='Write "i8"') from None  # fmt: skip
