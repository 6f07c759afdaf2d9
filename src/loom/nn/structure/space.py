"""``ArchitectureSpace``: which networks may be generated; and the random choices that one of them is drawn by.

Layer: nn. Invariant: a choice depends on the seed, the network's number and how many choices were made before, alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, TypeVar

import numpy as np

from loom.core.dtype import DType
from loom.core.errors import ArgumentError, near_matches
from loom.core.given import flag, is_int, is_list, is_tuple
from loom.core.late.dataclass import dataclass
from loom.core.philox import philox
from loom.nn.base.random import RandomStream
from loom.nn.spec import Activation
from loom.nn.spec.base.layer import Shape

__all__ = ["GENERATED", "ArchitectureSpace", "Draws"]

Thing = TypeVar("Thing")

GENERATED = (
    "activation", "average_pool", "batch_norm", "conv1d", "conv2d", "dense", "dropout", "gru", "kmeans", "layer_norm",
    "lstm", "max_pool", "multi_head_attention", "parallel", "residual", "rms_norm", "rnn", "sequential", "swiglu",
)  # fmt: skip
"""Types of layers that networks are generated of."""
_DEFAULT = tuple(kind for kind in GENERATED if kind not in ("kmeans", "average_pool", "sequential"))


@dataclass(frozen=True)
class ArchitectureSpace:
    """All networks that lead from an input to an output under constraints; the last layer is dense, and linear.

    Args:
        input: Shape of one sample.
        output: Shape of one output, or a number of classes.
        types: Types of hidden layers; those that fit no shape met are not used.
        depth: Least and most hidden layers.
        parameters: Most trained numbers in all.
        widths: Numbers of hidden features, filters and states.
        activations: Activations of dense and convolutional layers.
        vocab_size: Number of words, whose numbers the input is, and an embedding comes first; None: the input is
            numbers.
        scale: Whether a layer ``scale`` comes first.
        dtype: Dtype of the network.

    Raises:
        ArgumentError: Not a shape, a range, sizes or types that are generated; a scale of numbers of words.

    >>> ArchitectureSpace((4,), 3, types=["dense"], depth=(1, 2)).output
    (3,)
    """

    input: Any
    output: Any
    types: Sequence[str] = _DEFAULT
    depth: tuple[int, int] = (1, 4)
    parameters: int = 100_000
    widths: Sequence[int] = (4, 8, 16, 32, 64, 128)
    activations: Sequence[str] = ("relu", "tanh", "gelu", "swish")
    vocab_size: int | None = None
    scale: bool = False
    dtype: str | DType = "f32"

    def __post_init__(self) -> None:
        for name in ("input", "output"):
            object.__setattr__(self, name, _shape(getattr(self, name), f"{_WHERE}, {name}"))
        for name, known in (("types", GENERATED), ("activations", [a.value for a in Activation])):
            object.__setattr__(self, name, _names(getattr(self, name), known, f"{_WHERE}, {name}"))
        object.__setattr__(self, "widths", _sizes(self.widths, f"{_WHERE}, widths"))
        depth = self.depth
        if not ((is_tuple(depth) or is_list(depth)) and len(depth) == 2 and all(map(is_int, depth))
                and 0 <= depth[0] <= depth[1] <= 1000):  # fmt: skip
            raise ArgumentError(f"{_WHERE}, depth", "not a range", expected="(least, most), from 0 to 1000",
                                got=repr(depth)[:100], remedy="Pass for example (1, 4)")  # fmt: skip
        if not is_int(self.parameters) or self.parameters < 1:
            raise ArgumentError(f"{_WHERE}, parameters", "not usable", expected="an integer from 1",
                                got=repr(self.parameters)[:100], remedy="Correct it")  # fmt: skip
        object.__setattr__(self, "scale", flag(self.scale, f"{_WHERE}, scale"))
        dtype = self.dtype.name if isinstance(self.dtype, DType) else self.dtype
        if dtype not in _DTYPES:
            raise ArgumentError(f"{_WHERE}, dtype", "not a network's type", expected=", ".join(_DTYPES),
                                got=repr(dtype)[:100], remedy=near_matches(str(dtype), _DTYPES))  # fmt: skip
        object.__setattr__(self, "dtype", dtype)
        if self.vocab_size is not None and (not is_int(self.vocab_size) or self.vocab_size < 1 or self.scale):
            raise ArgumentError(f"{_WHERE}, vocab_size", "not usable", expected="an integer from 1, and no scale",
                                got=repr(self.vocab_size)[:100], remedy="Correct it")  # fmt: skip


_DTYPES = ("f32", "f64", "f16", "bf16")
_WHERE = "loom.nn.structure.ArchitectureSpace"


def _shape(given: Any, where: str) -> Shape:
    found = (given,) if is_int(given) else tuple(given) if is_tuple(given) or is_list(given) else ()
    if not found or not all(is_int(n) and n > 0 for n in found) or prod(found) > 1 << 31:
        raise ArgumentError(where, "not the shape of a sample", expected="sizes from 1, at least one",
                            got=repr(given)[:100], remedy="The batch is no axis of it")  # fmt: skip
    return tuple(int(n) for n in found)


def _names(given: Any, known: Sequence[str], where: str) -> tuple[str, ...]:
    listed = list(given) if is_tuple(given) or is_list(given) else [given]
    for name in listed or [""]:
        if name not in known:
            raise ArgumentError(where, f"{name!r} is not among those that are generated"[:200],
                                expected="at least one name", got=repr(given)[:100],
                                remedy=near_matches(str(name), known))  # fmt: skip
    return tuple(dict.fromkeys(listed))


def _sizes(given: Any, where: str) -> tuple[int, ...]:
    listed = list(given) if is_tuple(given) or is_list(given) else []
    if not listed or not all(is_int(n) and 1 <= n <= 1 << 20 for n in listed):
        raise ArgumentError(where, "not sizes", expected="a list of integers from 1", got=repr(given)[:100],
                            remedy="Pass for example (8, 16, 32)")  # fmt: skip
    return tuple(int(n) for n in listed)


class Draws:
    """Random choices of one network."""

    def __init__(self, seed: int, number: int) -> None:
        self._seed, self._number, self._made = seed, number, 0

    def word(self) -> int:
        """Return the next 32 random bits."""
        block = np.array([self._made], np.uint64)
        self._made += 1
        return int(philox(block, self._number & 0xFFFF_FFFF, 0, RandomStream.ARCHITECTURE, self._seed)[0][0])

    def below(self, most: int) -> int:
        """Return a number from 0 to ``most`` - 1 (the upper bits of a word times it: even to 1 in 2^32 / most)."""
        return self.word() * most >> 32

    def choose(self, things: Sequence[Thing]) -> Thing:
        """Return one of several."""
        return things[self.below(len(things))]

    def shuffle(self, things: Sequence[Thing]) -> list[Thing]:
        """Return all in random order (Fisher and Yates 1938)."""
        made = list(things)
        for last in range(len(made) - 1, 0, -1):
            other = self.below(last + 1)
            made[last], made[other] = made[other], made[last]
        return made
