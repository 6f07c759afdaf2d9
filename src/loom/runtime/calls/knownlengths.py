"""Which calls surely index inside what they are given; the others tell of an index outside when they are first run.

Layer: runtime. A proof is of a call's elements, groups and those of its numbers that indexes and conditions are made
of; where it holds for every number, it is asked for once. Invariant: a call of a kind that is neither proved nor was
run in the form that tells, without an index outside, is run in that form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.ir.kernel import Memory, Param
from loom.ir.verified import VerifiedKernel

if TYPE_CHECKING:
    from loom.ir.passes.inside import Launch, Proof

__all__ = ["Lengths", "Settled"]

_MOST_KEPT = 4096
_MOST_FAILED = 64
"""Proofs that may fail for one kernel, before calls not seen yet are run in the form that tells without asking."""
_Groups = tuple[int, ...]


class Settled:
    """Whether calls of a kind are known to stay inside: proved, or run once in the form that tells."""

    __slots__ = ("is_inside",)

    def __init__(self, *, is_inside: bool) -> None:
        self.is_inside = is_inside


class Lengths:
    """What is known of a kernel's calls, by what a proof is made of."""

    def __init__(self, kernel: VerifiedKernel) -> None:
        self.kernel = kernel
        self._known: dict[Any, Settled] = {}
        self._failed = 0

    def standing(self, elements: Sequence[int], words: Sequence[int], groups: _Groups) -> Settled:
        """Return what is known of a call over so many elements, with such parameters as words."""
        if not self.is_provable:
            return Settled(is_inside=True)
        given = self.deciding
        shapes = [n for n in given if _is_fixed(self.kernel.kernel.params[n])]
        kind = (groups, *elements, *(words[n] for n in shapes))
        found = self._known.get(kind)
        if found is None:
            found = self._keep(kind, self._prove(elements, words, groups, shapes))
        if found.is_inside or len(given) == len(shapes):
            return found
        whole = (kind, *(words[n] for n in given))
        return self._known.get(whole) or self._keep(whole, self._prove(elements, words, groups, given))

    def gains(
        self,
        limited: Callable[[], Any],
        elements: Sequence[int],
        words: Sequence[int],
        groups: _Groups,
        lanes: tuple[int, int, int],
    ) -> bool:
        """Tell whether fewer accesses may be outside if no more than ``lanes`` run."""
        extents = zip(lanes, groups, self.kernel.workgroup, strict=True)
        if all(n >= g * e for n, g, e in extents) or self.kernel.has_barrier:
            return False
        key = ("gains", groups, lanes, *elements, *(words[n] for n in self.deciding))
        found = self._known.get(key)
        if found is None:
            first, other = self._unsure(elements, words, groups), limited()
            second = other.inside._unsure(elements, other.limit(words, lanes), groups)
            found = self._keep(key, first is None or second is None or second < first)
        return found.is_inside

    def _unsure(self, elements: Sequence[int], words: Sequence[int], groups: _Groups) -> int | None:
        return self.proof.unsure(self._launch(elements, words, groups, range(len(words))))

    @cached_property
    def proof(self) -> Proof:
        """What is asked of the kernel's calls."""
        from loom.runtime.drivers.proofs import proof_of  # programs that call no kernel prove nothing

        return proof_of(self.kernel)

    @cached_property
    def is_provable(self) -> bool:
        """Whether anything is to be proved of the kernel."""
        from loom.runtime.drivers.proofs import is_provable

        return is_provable(self.kernel)

    @cached_property
    def deciding(self) -> list[int]:
        """The places of the parameters that indexes, conditions and loops are made of; all, where that is not known."""
        params = self.kernel.kernel.params
        known = self.is_provable
        return [n for n, p in enumerate(params) if not known or p in self.proof.params]

    def _keep(self, key: Any, is_inside: bool) -> Settled:
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        return self._known.setdefault(key, Settled(is_inside=is_inside))

    def _prove(self, elements: Sequence[int], words: Sequence[int], groups: _Groups, known: Sequence[int]) -> bool:
        if self._failed >= _MOST_FAILED:
            return False
        if 0 in groups:
            return True
        holds = self.proof.unsure(self._launch(elements, words, groups, known)) == 0
        self._failed += not holds and len(known) == len(self.deciding)
        return holds

    def _launch(self, elements: Sequence[int], words: Sequence[int], groups: _Groups, known: Sequence[int]) -> Launch:
        """Return what a call gives a proof; of parameters those ``known``, any number for the others."""
        from loom.ir.passes.inside import Launch

        kernel = self.kernel.kernel
        params: dict[Param, tuple[int, int]] = {}
        for n in known:
            if kernel.params[n].dtype.is_integer and not kernel.params[n].dtype.is_vector:
                number = int(np.array([words[n]], np.uint64).view(kernel.params[n].dtype.numpy)[0])
                params[kernel.params[n]] = number, number
        given = iter(elements)
        lengths: dict[Memory, int] = {
            m: next(given) if m.data is None else len(m.data) // m.dtype.nbytes for m in kernel.buffers
        }
        x, y, z = (*groups, 1, 1)[:3]
        return Launch((x, y, z), params, lengths, axes=True)


def _is_fixed(param: Param) -> bool:
    """Tell whether a parameter is a matter of shapes: a length, or the limit of lanes."""
    return param.extent is not None or param.name.startswith("lanes.")
