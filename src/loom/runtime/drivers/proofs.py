"""Which dispatches and calls surely stay inside what they are given, as numbers known before they run prove.

Layer: runtime. A proof is of the parameters, lengths and groups of all rows of a dispatch; answers are kept. Dispatches
of chains that are proved need no checks on GPUs; calls that are not are first run in the form that tells. Invariant: a
kernel whose dispatches differ each time costs a bounded number of proofs, after which those not seen before are
checked.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from loom.ir.kernel import Kernel, Param
from loom.ir.passes.inside import Launch, Proof
from loom.ir.verified import VerifiedKernel
from loom.runtime.drivers.loading import bounds_of
from loom.runtime.plans.dispatch import Dispatch
from loom.runtime.plans.foreign import ForeignKernel
from loom.runtime.plans.library import LibraryKernel
from loom.targets.base import Bounds

__all__ = ["Proofs", "is_provable", "proof_of"]

_MOST_ASKED = 64
"""Proofs tried for a kernel."""
_Key = tuple[Any, ...]
_prepared: WeakKeyDictionary[VerifiedKernel, Proof] = WeakKeyDictionary()


def proof_of(kernel: VerifiedKernel) -> Proof:
    """Return what is asked of a kernel's dispatches, prepared once."""
    found = _prepared.get(kernel)
    if found is None:
        found = _prepared[kernel] = Proof(kernel.kernel)
    return found


def is_provable(kernel: VerifiedKernel) -> bool:
    """Tell whether a kernel's code is Loom's, and is not trusted without a proof."""
    return not (isinstance(kernel, (ForeignKernel, LibraryKernel)) or kernel.trusted)


class Proofs:
    """The proofs of a device, by kernel; none until it is ``tested``: what it is tested with is checked code."""

    def __init__(self) -> None:
        self.tested = False
        self._known: dict[str, tuple[Proof, dict[_Key, bool]]] = {}

    def bounds(self, dispatch: Dispatch) -> Bounds | None:
        """Return the bounds of a dispatch: INSIDE if it surely stays inside, those that tell if it is to; else None."""
        kernel = dispatch.kernel
        if dispatch.reports:
            return bounds_of(kernel, reports=True)
        if not self.tested or dispatch.indirect is not None or not len(dispatch.groups) or not is_provable(kernel):
            return None
        if bounds_of(kernel) is not Bounds.CHECKED:
            return None
        if kernel.hash not in self._known:
            self._known[kernel.hash] = proof_of(kernel), {}
        proof, answers = self._known[kernel.hash]
        groups, fewest = (tuple(ends.tolist()) for ends in (dispatch.groups.max(axis=0), dispatch.groups.min(axis=0)))
        lengths = tuple(b.elements for b in dispatch.bindings)
        params = _params(proof.kernel, dispatch.params)
        key = (groups, fewest, lengths, *params.values())
        if key not in answers:
            if len(answers) >= _MOST_ASKED:
                return None
            launch = Launch(groups, params, dict(zip(proof.kernel.buffers, lengths, strict=True)), fewest)
            answers[key] = proof.stays_inside(launch)
        return Bounds.INSIDE if answers[key] else None


def _params(kernel: Kernel, rows: np.ndarray[Any, Any]) -> dict[Param, tuple[int, int]]:
    """Return the least and largest number of each integer parameter; a word holds it in its low bits."""
    found: dict[Param, tuple[int, int]] = {}
    for param, column in zip(kernel.params, rows.T, strict=True):
        if param.dtype.is_integer:
            numbers = np.ascontiguousarray(column).view(param.dtype.numpy).reshape(len(rows), -1)[:, 0]
            found[param] = int(numbers.min()), int(numbers.max())
    return found
