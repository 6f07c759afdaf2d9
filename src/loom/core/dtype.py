"""Element types: the scalars of the kernel language and their short vectors; complex numbers of arrays.

Layer: core. Kernels have no complex numbers: in their buffers each is two floats, re before im.
Invariant: one ``DType`` object exists per type (compare with ``is`` or ``==``),
and a type's bits mean the same on every device.
"""

# pyright: reportRedeclaration=false
from __future__ import annotations

import enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loom.core.errors import DTypeError, near_matches
from loom.core.late.dataclass import dataclass

__all__ = [
    "COMPLEXES", "FLOATS", "INTEGERS", "SCALARS", "DType", "Kind", "bf16", "bool_", "c64", "c128", "complex_of",
    "dtype_of", "f16", "f32", "f64", "i8", "i16", "i32", "i64", "lookup", "of_numpy", "u8", "u16", "u32", "u64",
]  # fmt: skip


class Kind(str, enum.Enum):
    """What the bits of a scalar mean; a str, since some look for numpy's letters in ``dtype.kind``."""

    BOOL = "bool"
    SIGNED = "signed"
    UNSIGNED = "unsigned"
    FLOAT = "float"
    COMPLEX = "complex"


@dataclass(frozen=True, eq=False)
class DType:
    """A scalar type, or a short vector of one (``lanes`` 2 to 4).

    ``bits`` is the width of one component in memory (bool: 8). ``storage_only`` marks f16 and
    bf16: they can be loaded, stored, selected and converted, while arithmetic happens in f32.
    Calling a type inside a kernel converts (``u32(x)``); calling it on the host makes a numpy scalar.
    """

    name: str
    kind: Kind
    bits: int
    lanes: int = 1
    storage_only: bool = False

    if TYPE_CHECKING:  # to checkers a scalar type is a class, and what has no equality of its own never equals one

        def __eq__(self, other: object, /) -> bool: ...
        def __hash__(self) -> int: ...

    @cached_property
    def nbytes(self) -> int:
        """Bytes of one element in a buffer (vectors are packed without padding)."""
        return self.bits // 8 * self.lanes

    @cached_property
    def is_float(self) -> bool:
        """True for f16, bf16, f32, f64 and vectors of them."""
        return self.kind is Kind.FLOAT

    @cached_property
    def is_complex(self) -> bool:
        """True for c64 and c128."""
        return self.kind is Kind.COMPLEX

    @cached_property
    def part(self) -> DType:
        """The type of the real and imaginary parts: f32 of c64, f64 of c128; of any other type that itself."""
        return {"c64": f32, "c128": f64}.get(self.name, self)

    @cached_property
    def is_signed(self) -> bool:
        """True for i8 to i64 and vectors of them."""
        return self.kind is Kind.SIGNED

    @cached_property
    def is_integer(self) -> bool:
        """True for signed and unsigned integers and vectors of them."""
        return self.kind in (Kind.SIGNED, Kind.UNSIGNED)

    @cached_property
    def is_bool(self) -> bool:
        """True for bool and vectors of it."""
        return self.kind is Kind.BOOL

    @cached_property
    def is_vector(self) -> bool:
        """True for short vectors."""
        return self.lanes > 1

    @cached_property
    def scalar(self) -> DType:
        """The type of one component."""
        return self if self.lanes == 1 else SCALARS[self.name.split("x")[0]]

    def vector(self, lanes: int) -> DType:
        """Return the short vector type of this type.

        Args:
            lanes: Number of components, 1 to 4; 1 gives the scalar itself.

        Raises:
            DTypeError: Not 1 to 4 lanes; a complex type.
        """
        if isinstance(lanes, bool) or not isinstance(lanes, (int, np.integer)) or not 1 <= lanes <= 4:
            raise DTypeError("loom.dtype, vector", "no such vector", expected="1 to 4 lanes", got=repr(lanes)[:200],
                             remedy="Pass 2, 3 or 4")  # fmt: skip
        if lanes == 1:
            return self.scalar
        if self.is_complex:
            raise DTypeError("loom.dtype, vector", "no vectors of complex numbers", expected="a real type", got=self,
                             remedy="Use its parts")  # fmt: skip
        return lookup(f"{self.scalar.name}x{lanes}")

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        """The numpy dtype of one component; bf16 is carried as its 16 bits (uint16)."""
        return _NUMPY[self.scalar.name]

    @property
    def bits_numpy(self) -> np.dtype[Any]:
        """The unsigned numpy dtype of the same width, for comparing bits; of complex numbers that of a part."""
        return np.dtype(f"u{self.part.bits // 8}")

    @cached_property
    def minimum(self) -> int:
        """Smallest value of an integer type."""
        return -(1 << (self.bits - 1)) if self.is_signed else 0

    @cached_property
    def maximum(self) -> int:
        """Largest value of an integer type."""
        return (1 << (self.bits - 1)) - 1 if self.is_signed else (1 << self.bits) - 1

    def __call__(self, *values: Any) -> Any:
        """Convert on the host to a numpy scalar of this type (inside a kernel: a conversion).

        A short vector takes its components, or one number for all, and is an array of them.
        """
        if self.is_vector:
            return self._vector_of(values)
        if len(values) != 1:
            raise DTypeError(f"loom.{self.name}", "not one number", expected="one number", got=len(values),
                             remedy="Pass one, or use loom.array for several")  # fmt: skip
        value = values[0]
        if self.name == "bf16":
            raise DTypeError("loom.bf16", "numpy has no bf16 scalar", remedy="Use float32, or ml_dtypes.bfloat16")
        found = None
        try:
            if not isinstance(value, (str, bytes)) and np.ndim(value) == 0:
                with np.errstate(all="ignore"):
                    found = self.numpy.type(value)
        except Exception:  # whatever the conversion of an object of others raises
            pass
        if not isinstance(found, np.generic):
            raise DTypeError(f"loom.{self.name}", "not a number of this type", expected="one number",
                             got=repr(value)[:200], remedy="Pass a number, or use loom.array for several")  # fmt: skip
        return cast("np.generic[Any]", found)

    def _vector_of(self, values: tuple[Any, ...]) -> Any:
        is_one = len(values) == 1 and isinstance(values[0], (list, tuple, np.ndarray))
        given = cast("Any", values[0] if is_one else values)
        components: list[Any] = [*given] if np.ndim(given) == 1 else [None]
        if len(components) == 1 and given is values:
            components *= self.lanes
        if len(components) != self.lanes:
            raise DTypeError(f"loom.{self.name}", "another number of components", got=repr(values)[:200],
                             expected=f"{self.lanes} numbers, or one for all", remedy="Give one for each")  # fmt: skip
        return np.array([self.scalar(each) for each in components], self.numpy)

    def __repr__(self) -> str:
        return f"loom.{self.name}"

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return lookup, (self.name,)


MYPY = False  # mypy takes a name so called for True
if MYPY:
    # To mypy, an annotation such as In[f32, 2], or a default such as a: f32 = 2.0, is an error unless f32 is Any.
    _any = cast("Any", None)
    bool_: Any = _any
    i8: Any = _any
    i16: Any = _any
    i32: Any = _any
    i64: Any = _any
    u8: Any = _any
    u16: Any = _any
    u32: Any = _any
    u64: Any = _any
    f16: Any = _any
    bf16: Any = _any
    f32: Any = _any
    f64: Any = _any
    c64: Any = _any
    c128: Any = _any
elif TYPE_CHECKING:
    # Other type checkers see scalar types as classes, so that they may annotate a kernel's parameters; each is a
    # ``DType``.
    class _Scalar(DType, type): ...  # type: ignore[misc]

    class _Value(metaclass=_Scalar):  # what a kernel's body may do with such a parameter
        def __getattr__(self, name: str) -> Any: ...
        @staticmethod
        def __hash__() -> int: ...  # type: ignore[override]
        def __bool__(self) -> bool: ...
        def __index__(self) -> int: ...
        def __int__(self) -> int: ...
        def __float__(self) -> float: ...
        def __neg__(self) -> Any: ...
        def __invert__(self) -> Any: ...
        def __abs__(self) -> Any: ...
        def _binary(self, other: Any, /) -> Any: ...

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _binary
        __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = _binary
        __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _binary
        __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = _binary
        __lt__ = __le__ = __gt__ = __ge__ = _binary

    class bool_(_Value): ...  # noqa: D101, N801

    class i8(_Value): ...  # noqa: D101, N801

    class i16(_Value): ...  # noqa: D101, N801

    class i32(_Value): ...  # noqa: D101, N801

    class i64(_Value): ...  # noqa: D101, N801

    class u8(_Value): ...  # noqa: D101, N801

    class u16(_Value): ...  # noqa: D101, N801

    class u32(_Value): ...  # noqa: D101, N801

    class u64(_Value): ...  # noqa: D101, N801

    class f16(_Value): ...  # noqa: D101, N801

    class bf16(_Value): ...  # noqa: D101, N801

    class f32(_Value): ...  # noqa: D101, N801

    class f64(_Value): ...  # noqa: D101, N801

    class c64(_Value): ...  # noqa: D101, N801

    class c128(_Value): ...  # noqa: D101, N801

else:
    bool_ = DType("bool", Kind.BOOL, 8)
    i8 = DType("i8", Kind.SIGNED, 8)
    i16 = DType("i16", Kind.SIGNED, 16)
    i32 = DType("i32", Kind.SIGNED, 32)
    i64 = DType("i64", Kind.SIGNED, 64)
    u8 = DType("u8", Kind.UNSIGNED, 8)
    u16 = DType("u16", Kind.UNSIGNED, 16)
    u32 = DType("u32", Kind.UNSIGNED, 32)
    u64 = DType("u64", Kind.UNSIGNED, 64)
    f16 = DType("f16", Kind.FLOAT, 16, storage_only=True)
    bf16 = DType("bf16", Kind.FLOAT, 16, storage_only=True)
    f32 = DType("f32", Kind.FLOAT, 32)
    f64 = DType("f64", Kind.FLOAT, 64)
    c64 = DType("c64", Kind.COMPLEX, 64)
    c128 = DType("c128", Kind.COMPLEX, 128)

SCALARS: dict[str, DType] = {t.name: t for t in (bool_, i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64)}
INTEGERS: tuple[DType, ...] = (i8, i16, i32, i64, u8, u16, u32, u64)
FLOATS: tuple[DType, ...] = (f32, f64)
COMPLEXES: tuple[DType, ...] = (c64, c128)
"""Types of arrays and tensors that kernels know as pairs of floats."""

_NUMPY: dict[str, np.dtype[Any]] = {
    "bool": np.dtype(np.bool_),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(np.uint16),
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "c64": np.dtype(np.complex64),
    "c128": np.dtype(np.complex128),
    **{t.name: np.dtype(t.name.replace("i", "int").replace("u", "uint")) for t in INTEGERS},
}
_OF_NUMPY: dict[np.dtype[Any], DType] = {_NUMPY[n]: SCALARS[n] for n in SCALARS if n != "bf16"}
_COMPLEX_OF_NUMPY: dict[np.dtype[Any], DType] = {_NUMPY[t.name]: t for t in COMPLEXES}
_SPELLED: dict[str, DType] = {kind.name: t for kind, t in (_OF_NUMPY | _COMPLEX_OF_NUMPY).items()} | {"bfloat16": bf16}
_NOT_IN_KERNELS: dict[str, DType] = {t.name: t for t in COMPLEXES}
_VECTORS: dict[str, DType] = {
    f"{t.name}x{n}": DType(f"{t.name}x{n}", t.kind, t.bits, n, t.storage_only)
    for t in SCALARS.values()
    for n in (2, 3, 4)
}


def lookup(name: str, where: str = "loom.dtype") -> DType:
    """Return the type called ``name`` (``"f32"``, ``"u8x4"``); DTypeError with near matches if none."""
    if not isinstance(name, str):
        raise DTypeError(where, "not a name", expected="a str", got=repr(name), remedy='Write "f32"')
    found = SCALARS.get(name) or _VECTORS.get(name) or _NOT_IN_KERNELS.get(name)
    if found is None:
        raise DTypeError(
            where,
            f"no dtype is called {name!r}",
            remedy=near_matches(name, [*SCALARS, *_NOT_IN_KERNELS, *_VECTORS]),
        )
    return found


def dtype_of(given: Any, where: str) -> DType:
    """Return the type meant by one of Loom's or numpy's, or by a name: Loom's first, so "u8" has 8 bits everywhere.

    Of numpy's names those that tell bits are taken ("float32"): numpy's "u8", of 8 bytes, would be another type.
    """
    if isinstance(given, DType):
        return given
    if not isinstance(given, str):
        return of_numpy(given, where, complexes=True)
    return _SPELLED[given] if given in _SPELLED else lookup(given, where)


def complex_of(dtype: DType) -> DType:
    """Return the complex type that a type's numbers become: c128 of f64, c64 of others, as floats of f32 by default.

    >>> complex_of(f32), complex_of(f64)
    (loom.c64, loom.c128)
    """
    return dtype if dtype.is_complex else c128 if dtype.name == "f64" else c64


def of_numpy(dtype: Any, where: str, *, complexes: bool = False) -> DType:
    """Return Loom's type for a numpy dtype, native byte order; DTypeError names ``where`` otherwise.

    ``complexes``: also complex64 and complex128, which kernels have not.
    """
    try:
        given = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):
        raise DTypeError(
            where, "not a dtype", expected="a Loom or numpy dtype", got=repr(dtype), remedy="Pass for example loom.f32"
        ) from None
    found = _OF_NUMPY.get(given) if given.isnative else None
    if found is None and complexes and given.isnative:
        found = _COMPLEX_OF_NUMPY.get(given)
    if found is None and given.name == "bfloat16":  # of ml_dtypes
        return bf16
    if found is None:
        raise DTypeError(
            where,
            "unsupported dtype",
            expected="one of bool, int8-64, uint8-64, float16, bfloat16, float32, float64 in native byte order",
            got=str(given),
            remedy="Convert first, for example with array.astype(numpy.float32)",
        )
    return found
