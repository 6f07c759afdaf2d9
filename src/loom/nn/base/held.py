"""Weights that a model holds on a device, by name: read, written, and changed by one at a time.

Layer: nn. Invariant: all weights are written, or none; whoever reads them sees one state.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from loom.core.arrays import Array, read_as
from loom.core.dtype import DType, bf16
from loom.core.errors import ArgumentError, ShapeError, StateError, near_matches
from loom.nn.base.locks import JoinedLock, Lock
from loom.tensor import Tensor
from loom.tensor.ops.fast import refuse_fast
from loom.tensor.record.graph import Node

__all__ = ["HeldWeights"]


class HeldWeights:
    """Base of models: trained arrays (``parameters``) and running ones (``state``) by name.

    ``lock``: held while a program runs and is read, and while all weights are read or written, so that threads take
    turns and each gets its own answer, of one state of the weights. ``is_shared``: another model has some of them too.
    """

    parameters: dict[str, Tensor]
    state: dict[str, Tensor]

    def __init__(self) -> None:
        self.lock: Lock = threading.RLock()
        self.turn: Lock = threading.Lock()
        self.is_shared = False
        self._changes = [[0]]

    def share_turns(self, others: Sequence[HeldWeights]) -> None:
        """Work only when none of the ``others`` does, which have some of these weights as well."""
        self.lock = JoinedLock([self.lock, *(m.lock for m in others)])
        self.turn = JoinedLock([self.turn, *(m.turn for m in others)])
        self._changes = [c for m in (self, *others) for c in m._changes]
        for model in (self, *others):
            model.is_shared = True
            model._changes = self._changes

    def weights(self) -> dict[str, Array]:
        """Return copies of all weights and state by name (bf16 as its 16 bits)."""
        with self.lock:
            return {name: held.host_elements()[0] for name, held in (self.parameters | self.state).items()}

    def load(self, weights: Mapping[str, Any]) -> None:
        """Write all weights and state: numbers of the right shapes under the names of ``weights()``.

        Where there is an error nothing is written.

        Args:
            weights: Arrays by the names of ``weights()``; those of bf16 may be its 16 bits, as uint16.

        Raises:
            ArgumentError: Names are missing or unknown.
            DTypeError: Not numbers, or one that the dtype lacks.
            ShapeError: An array of another shape.
            StateError: A weight is kept quantised.
        """
        self.require_numbers("other weights")
        where, known = f"{_place(self)}.load", self.parameters | self.state
        refuse_fast(weights.values(), where)
        for name in weights:
            if name not in known:
                raise ArgumentError(where, f"the network has no weight {name!r}",
                                    remedy=near_matches(name, list(known)) or "Leave it out")  # fmt: skip
        missing = [name for name in known if name not in weights]
        if missing:
            raise ArgumentError(where, "weights are missing", expected=f"{len(known)} arrays",
                                got=f"no {', '.join(missing[:8])}", remedy="Pass all of them")  # fmt: skip
        stored = {name: _as_stored(weights[name], held.dtype, f"{where}, {name!r}") for name, held in known.items()}
        for name, held in known.items():
            shape = stored[name].shape
            if shape != held.shape:
                raise ShapeError(where, f"weight {name!r} has another shape", expected=held.shape, got=shape,
                                 remedy="Check which network it is of")  # fmt: skip
        with self.lock:
            self._changes[0][0] += 2
            for name, held in known.items():
                held.write_elements(stored[name])

    @contextmanager
    def alone(self, where: str) -> Generator[None, None, None]:
        """Be the only one to change weights meanwhile; StateError, naming ``where``, if someone else is."""
        if not self.turn.acquire(blocking=False):
            raise StateError(where, "the network is being trained", expected="one training at a time",
                             got="another under way", remedy="Wait for its end, or give each thread its own network",
                             )  # fmt: skip
        self._changes[0][0] += 1
        try:
            yield
        finally:
            self._changes[0][0] += 1
            self.turn.release()

    @property
    def version(self) -> int:
        """A number that is another after every change of the weights, and odd while they are being changed."""
        return sum(count for (count,) in self._changes)

    def require_numbers(self, purpose: str) -> None:
        """Refuse, with a StateError, what weights that are kept quantised cannot be used for."""
        held = next((name for name, w in self.parameters.items() if not isinstance(w, Node)), None)
        if held is not None:
            raise StateError(_place(self), f"weight {held!r} is kept quantised, and cannot be changed or written",
                             expected="weights of f32", got=purpose,
                             remedy="Load the model with weights='f32'")  # fmt: skip


def _place(model: HeldWeights) -> str:
    """Return how errors call a model."""
    kind = type(model)
    return f"{'.'.join(kind.__module__.split('.')[:2])}.{kind.__name__}"


def _as_stored(values: Any, dtype: DType, where: str) -> Array:
    is_stored = dtype == bf16 and type(values) is np.ndarray and values.dtype == np.uint16
    return np.require(values, requirements=("C", "A")) if is_stored else read_as(values, dtype, where)
