"""The record of a pass in integers: quantities, where they are rounded, and the way back.

Layer: nn. A ``Quantity`` is a tensor of i8 or i16 (q from -MOST to MOST, never the least number) and its exponent. A
pass is one of three: ``infer`` with exponents that are ints; ``train`` with exponents that are the network's state;
and ``calibrate``, where each is the least that holds the batch at hand. Invariant: all three make the same integers of
the same exponents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, TypeAlias

from loom import tensor
from loom.core.dtype import DType, i8, i16, i32, i64
from loom.core.errors import ShapeError
from loom.core.late.dataclass import dataclass
from loom.nn.base.random import RandomStream
from loom.nn.integer.fixed import MOST_SHIFT, Exponent, align, bit_length, larger, narrow, round_even, round_random
from loom.tensor import Tensor
from loom.tensor.ops.random import random_words

__all__ = ["BITS", "HELD", "Back", "IntegerPass", "Quantity", "bits_of", "most_of", "product", "storage_type"]

BITS = {"int8": 7, "int16": 15}
"""Bits of a number without its sign, by the network's type."""
HELD: dict[int, DType] = {7: i8, 15: i16}
_BITS: dict[DType, int] = {i8: 7, i16: 15, i32: 31, i64: 62}
_WIDE = 1 << 62
_I32_SUM = 1 << 29
"""Sums of products up to this size are taken in i32."""
_FACTOR_BITS = 50
"""Bits of a weight's gradient, which a rate of 12 bits multiplies."""


def most_of(bits: int) -> int:
    """Return the largest integer held: numbers are symmetric."""
    return (1 << bits) - 1


def bits_of(x: Tensor) -> int:
    """Return the bits without sign of what a tensor holds."""
    return _BITS[x.dtype]


@dataclass(slots=True, eq=False)
class Quantity:
    """Numbers ``q 2^e``. ``logits``: what the softmax or sigmoid that it is (``kind``) was made of."""

    q: Tensor
    e: Exponent
    logits: Quantity | None = None
    kind: str = ""


Back: TypeAlias = "Callable[[Quantity], Sequence[Quantity | None]]"
"""Gives the gradients of a layer's inputs for that of its output."""


def product(a: Tensor, b: Tensor, where: str = "product") -> Tensor:
    """Return the exact product of matrices of i8 or i16 as i64: summed in i32 where no sum leaves it, else in i64."""
    k = a.shape[-1]
    bits = max(bits_of(a), bits_of(b))
    bound = most_of(bits_of(a)) * most_of(bits_of(b)) * k
    if bound >= _WIDE:
        raise ShapeError(where, "the sums of products may leave 64 bits", expected=f"fewer than {_WIDE} in size",
                         got=f"up to {bound}", remedy="Use int8, or fewer inputs of a layer")  # fmt: skip
    held = HELD[bits]
    wide = i32 if bits == 7 and bound <= _I32_SUM else i64
    return tensor.matmul(a.astype(held), b.astype(held), out_dtype=wide).astype(i64)


@dataclass(slots=True, eq=False)
class Done:
    """What a layer did: its output, its inputs, and the way back."""

    out: Quantity
    inputs: tuple[Quantity, ...]
    back: Back


@dataclass(slots=True, eq=False)
class IntegerPass:
    """One pass over a network. ``kind``: infer, train or calibrate.

    ``weights``: name -> quantity, i8 or i16 of weights, i32 of biases; ``exponents``: of outputs by layer. What it
    leaves: ``needed``, the least exponent that would have held each output; ``lost``, how many were saturated;
    ``gradients`` of weights, i64 with an exponent.
    """

    kind: str
    bits: int
    weights: Mapping[str, Quantity]
    exponents: Mapping[str, Exponent]
    seed: int = 0
    step: Tensor | None = None
    gradient_bits: int = 15
    nearest: bool = False
    needed: dict[str, Exponent] = field(default_factory=dict[str, Any])
    lost: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    gradients: dict[str, Quantity] = field(default_factory=dict[str, Quantity])
    tape: list[Done] = field(default_factory=list[Done])
    draws: int = 0

    @property
    def is_training(self) -> bool:
        """True if dropout drops, and the way back is needed."""
        return self.kind == "train"

    # forward

    def place(self, name: str, v: Tensor, e: Exponent, bits: int | None = None) -> Quantity:
        """Return i64 sums, in units of 2^e, as the output called ``name``: rounded to its exponent and saturated."""
        bits = self.bits if bits is None else bits
        if self.kind == "infer":
            assert isinstance(e, int)
            shift: Exponent = max(self.exponent_of_output(name) - e, 0)
            return Quantity(narrow(round_even(v, min(shift, MOST_SHIFT)), most_of(bits), HELD[bits]), e + shift)
        need = e + tensor.maximum(bit_length(v) - bits, 0)
        self.needed[name] = larger(self.needed[name], need) if name in self.needed else need
        if self.kind == "calibrate":
            shift = need - e
        else:
            shift = tensor.maximum(self.exponents[name] - e, 0)
        whole = round_even(v, tensor.minimum(shift, MOST_SHIFT))
        lost = (whole.abs() > most_of(bits)).astype(i64).sum()
        self.lost[name] = self.lost[name] + lost if name in self.lost else lost
        return Quantity(narrow(whole, most_of(bits), HELD[bits]), e + shift)

    def exponent_of_output(self, name: str) -> int:
        """Return the exponent of an output, of a pass that infers."""
        e = self.exponents[name]
        assert isinstance(e, int)
        return e

    def words(self, shape: Sequence[int], stream: int) -> Tensor:
        """Return random u32, of a sequence of their own for each call."""
        assert self.step is not None
        self.draws += 1
        return random_words(tuple(shape), self.seed, self.draws, self.step, stream)

    def did(self, out: Quantity, inputs: Sequence[Quantity], back: Back) -> Quantity:
        """Note how a quantity was made, and return it."""
        if self.is_training:
            self.tape.append(Done(out, tuple(inputs), back))
        return out

    # back

    def narrow(self, v: Tensor, e: Exponent) -> Quantity:
        """Return a gradient, i64, in the bits of gradients: by the shift that its largest number needs."""
        shift = tensor.maximum(bit_length(v) - self.gradient_bits, 0)
        if self.nearest:
            whole = round_even(v, shift)
        else:
            whole = round_random(v, shift, self.words(v.shape, RandomStream.ROUNDING))
        return Quantity(narrow(whole, most_of(self.gradient_bits), HELD[self.gradient_bits]), e + shift)

    def give(self, name: str, v: Tensor, e: Exponent, addends: int = 1) -> None:
        """Note the gradient of a weight, i64, the sum of so many products; of one used twice, the sum."""
        if addends * most_of(15) ** 2 > 1 << _FACTOR_BITS:
            excess = tensor.maximum(bit_length(v) - _FACTOR_BITS, 0)
            v, e = round_even(v, excess), e + excess
        if name in self.gradients:
            before = self.gradients[name]
            top = larger(before.e, e) + 1
            self.gradients[name] = Quantity(align(before.q, before.e - top) + align(v, e - top), top)
        else:
            self.gradients[name] = Quantity(v, e)

    def back(self, end: Quantity, gradient: Quantity) -> None:
        """Go back through the tape from the gradient of ``end``."""
        found: dict[int, Quantity] = {id(end): gradient}
        for step in reversed(self.tape):
            g = found.pop(id(step.out), None)
            if g is None:
                continue
            for source, part in zip(step.inputs, step.back(g), strict=True):
                if part is None:
                    continue
                before = found.get(id(source))
                found[id(source)] = part if before is None else self._sum(before, part)

    def _sum(self, a: Quantity, b: Quantity) -> Quantity:
        top = larger(a.e, b.e)
        wide = align(a.q.astype(i64) << 16, a.e - top) + align(b.q.astype(i64) << 16, b.e - top)
        return self.narrow(wide, top - 16)


def storage_type(bits: int) -> DType:
    """Return the type of so many bits and a sign."""
    return HELD[bits]
