"""Keys whose unsigned order is the order of the values, and the records that sorting moves.

Layer: kernels. Everything here works on bit patterns: sorting does no float arithmetic. The order is total:
-inf < ... < -0 < +0 < ... < inf < NaN, all NaNs being equal. Invariant: ``decode(encode(bits))`` is ``bits``,
but for NaNs, which come back canonical.

Source: the float mapping is that of M. Herf, "Radix Tricks" (2001); NaNs are sent to the largest key first.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import DType, lookup, u8, u32, u64
from loom.core.late.dataclass import dataclass
from loom.ir.frontend.intrinsics import select

__all__ = ["DIGITS", "DIGIT_BITS", "Order", "Records"]

DIGIT_BITS = 8
"""Bits sorted by in one pass."""
DIGITS = 1 << DIGIT_BITS
"""Values of a digit."""

_CANONICAL_NAN = {"f16": 0x7E00, "bf16": 0x7FC0, "f32": 0x7FC00000, "f64": 0x7FF8000000000000}
_INFINITY = {"f16": 0x7C00, "bf16": 0x7F80, "f32": 0x7F800000, "f64": 0x7FF0000000000000}


@dataclass(frozen=True, slots=True)
class Order:
    """The order of the values of ``dtype``, or the reverse of it. Kernels call ``encode`` and ``decode``."""

    dtype: DType
    descending: bool = False

    @property
    def bits(self) -> DType:
        """The unsigned type that elements are read as, and that keys have."""
        return u8 if self.dtype.is_bool else lookup(f"u{self.dtype.bits}")

    @property
    def sign(self) -> int:
        """The highest bit."""
        return 1 << (self.dtype.bits - 1)

    @property
    def ones(self) -> int:
        """All bits: the largest key."""
        return 2 * self.sign - 1

    @property
    def infinity(self) -> int:
        """Infinity's bits; a float is NaN if its bits without the sign exceed them."""
        return _INFINITY[self.dtype.name]

    @property
    def nan(self) -> int:
        """The bits of a NaN in a result."""
        return _CANONICAL_NAN[self.dtype.name]

    @property
    def flip(self) -> int:
        """What a key is combined with so that the order is the one asked for."""
        return self.ones if self.descending else 0

    @property
    def name(self) -> str:
        """A short name for kernels of this order."""
        return f"{self.dtype}{'_down' if self.descending else ''}"

    def encode(self, bits: Any) -> Any:
        """Return the key of an element (inside kernels)."""
        if self.dtype.is_float:
            number = bits ^ select(bits >= self.sign, self.bits(self.ones), self.bits(self.sign))
            return select((bits & (self.sign - 1)) > self.infinity, self.bits(self.ones), number) ^ self.flip
        if self.dtype.is_signed:
            return bits ^ (self.sign ^ self.flip)
        return bits ^ self.flip

    def decode(self, key: Any) -> Any:
        """Return the element of a key (inside kernels)."""
        if self.dtype.is_float:
            plain = key ^ self.flip
            number = plain ^ select(plain >= self.sign, self.bits(self.sign), self.bits(self.ones))
            return select(plain == self.ones, self.bits(self.nan), number)
        if self.dtype.is_signed:
            return key ^ (self.sign ^ self.flip)
        return key ^ self.flip

    def merge_zeros(self, key: Any) -> Any:
        """Return the key with -0 taken for +0, so that equal numbers have equal keys (inside kernels)."""
        if self.dtype.is_float:
            negative = (self.sign - 1) ^ self.flip
            return select(key == negative, self.bits(self.ones ^ negative), key)
        return key


@dataclass(frozen=True, slots=True)
class Records:
    """What is moved while sorting: keys, or keys with a payload.

    The payload is ``"index"`` (the element's position), ``"position"`` (one that is read, 32 bits) or an unsigned
    type, the bits of a value. A record is one word: the key, or a 32-bit payload below a key of at most 32 bits;
    or two 64-bit words.
    """

    order: Order
    payload: DType | str | None = None

    @property
    def payload_bits(self) -> int:
        """Bits of the payload while it is moved; a position has 32."""
        if isinstance(self.payload, DType):
            return self.payload.bits
        return 0 if self.payload is None else u32.bits

    @property
    def words(self) -> int:
        """Words of a record."""
        wide = self.payload is not None and max(self.payload_bits, self.order.bits.bits) == u64.bits
        return 2 if wide else 1

    @property
    def word(self) -> DType:
        """Type of a word."""
        return self.order.bits if self.payload is None else u64

    @property
    def nbytes(self) -> int:
        """Bytes of a record."""
        return self.words * self.word.nbytes

    @property
    def key_shift(self) -> int:
        """Where the key starts in its word."""
        return u32.bits if self.payload is not None and self.words == 1 else 0

    @property
    def passes(self) -> int:
        """Digits of a key."""
        return self.order.bits.bits // DIGIT_BITS

    @property
    def payload_input(self) -> DType | None:
        """Type that payloads are read as, None if they are not read."""
        return u32 if self.payload == "position" else self.payload if isinstance(self.payload, DType) else None

    @property
    def payload_output(self) -> DType:
        """Type that payloads are written as: positions in 64 bits."""
        return self.payload if isinstance(self.payload, DType) else u64

    @property
    def layout(self) -> Records:
        """The records of the same layout that kernels which see no element are made for."""
        payload = None if self.payload is None else u64 if self.words == 2 else u32
        return Records(Order(self.order.bits), payload)

    @property
    def name(self) -> str:
        """A short name for kernels of this kind."""
        return self.order.name if self.payload is None else f"{self.order.name}_{self.payload}"

    def first_word(self, key: Any, payload: Any) -> Any:
        """Return the word that holds the key (inside kernels)."""
        if self.key_shift:
            return u64(key) << self.key_shift | u64(payload)
        return self.word(key)

    def key(self, word: Any) -> Any:
        """Return the key in a word (inside kernels)."""
        return self.order.bits(word >> self.key_shift)

    def digit(self, word: Any, shift: Any) -> Any:
        """Return the digit that starts at bit ``shift`` of a word (inside kernels)."""
        return u32(word >> self.word(shift)) & (DIGITS - 1)
