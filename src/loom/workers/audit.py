"""Calls that are computed twice: which, and how two results are compared.

Layer: workers. Any worker's result can be computed again anywhere, to the bit, so that one bit that differs convicts.
Invariant: which calls of a worker are audited follows from the seed, the worker's number and how many calls it was
given, and from nothing else.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import field
from typing import Any

import numpy as np

from loom.core.errors import DTypeError
from loom.core.given import is_array, is_list, is_mapping, is_scalar
from loom.core.late.dataclass import dataclass
from loom.core.numbers import real, whole
from loom.core.numerics import canonical_bits

__all__ = ["AuditPlan", "WorkerFault", "result_digest"]


_MOST_FORESEEN = 1000


@dataclass(frozen=True, slots=True)
class WorkerFault:
    """A worker whose result was wrong: who, where it ran, in which call, and the digests of what it and others said."""

    worker: int
    device: str
    node: str
    pid: int
    call: int
    said: str
    truth: str

    def __str__(self) -> str:
        """Return the fault as one sentence."""
        return (
            f"worker {self.worker} ({self.device}, node {self.node}, process {self.pid}) gave a wrong result in its "
            f"call {self.call}: {self.said[:16]}, where others computed {self.truth[:16]}"
        )


@dataclass(slots=True)
class AuditPlan:
    """Chooses a ``share`` of each worker's calls: one, by the seed, of each run of 1 / share of them.

    So a worker that is always wrong is found within 2 / share of its calls.

    >>> plan = AuditPlan(0.25, seed=1)
    >>> sum(plan.next_is_audited(0) for _ in range(100))
    25
    """

    share: float
    seed: int = 0
    _counts: dict[int, int] = field(default_factory=dict[int, int])

    def __post_init__(self) -> None:
        self.share = real(self.share, "audit", least=0.0, most=1.0)
        self.seed = whole(self.seed, "audit, seed", least=0)

    def next_is_audited(self, worker: int) -> bool:
        """Count a call of a worker, and tell whether it is audited."""
        call = self._counts.get(worker, 0)
        self._counts[worker] = call + 1
        return self.is_audited(worker, call)

    def calls_before_audit(self, worker: int) -> int:
        """Return how many of a worker's next calls are not audited, at most 1000.

        >>> plan = AuditPlan(0.25, seed=1)
        >>> found = plan.calls_before_audit(0)
        >>> [plan.next_is_audited(0) for _ in range(found + 1)].index(True) == found
        True
        """
        call = self._counts.get(worker, 0)
        if not self.share:
            return _MOST_FORESEEN
        return next((n for n in range(_MOST_FORESEEN) if self.is_audited(worker, call + n)), _MOST_FORESEEN)

    def count(self, worker: int, calls: int) -> None:
        """Count calls of a worker that are not audited."""
        self._counts[worker] = self._counts.get(worker, 0) + calls

    def is_audited(self, worker: int, call: int) -> bool:
        """Tell whether a worker's call, from 0, is one of those chosen."""
        if not self.share:
            return False
        window = math.floor(call * self.share)  # the last that begins at or before the call
        found = (self._choose(worker, n) for n in (window - 1, window, window + 1) if n >= 0)
        return call in found

    def _choose(self, worker: int, window: int) -> int:
        first, end = math.ceil(window / self.share), math.ceil((window + 1) / self.share)
        drawn = hashlib.sha256(f"audit {self.seed} {worker} {window}".encode()).digest()
        return first + int.from_bytes(drawn[:8], "little") % max(1, end - first)


def result_digest(value: Any) -> str:
    """Return the SHA-256 of a result: arrays with dtype, shape and bits (NaNs made one), numbers, texts, and lists and
    dicts of them. DTypeError for anything else, which has no bits to compare."""
    total = hashlib.sha256()
    _add(total, value)
    return total.hexdigest()


def _add(total: Any, value: Any) -> None:
    if is_array(value) or is_scalar(value):
        _add_array(total, np.asarray(value))
    elif value is None or isinstance(value, (bool, int, str)):
        total.update(f"{type(value).__name__} {value!r}\n".encode())
    elif isinstance(value, (float, complex)):
        _add_array(total, np.asarray(value))
    elif isinstance(value, (bytes, bytearray)):
        total.update(f"bytes {len(value)}\n".encode() + bytes(value))
    elif is_mapping(value):
        total.update(f"dict {len(value)}\n".encode())
        for name, each in value.items():
            _add(total, name)
            _add(total, each)
    elif is_list(value):
        total.update(f"list {len(value)}\n".encode())
        for each in value:
            _add(total, each)
    elif callable(getattr(value, "numpy", None)):
        _add_array(total, np.asarray(value.numpy()))
    else:
        raise DTypeError("audit", "a result has no bits to compare", expected="arrays, numbers, texts, lists, dicts",
                         got=type(value).__name__, remedy="Return one of these, or leave audit out")  # fmt: skip


def _add_array(total: Any, array: np.ndarray[Any, Any]) -> None:
    if array.dtype.kind == "c":
        parts: Mapping[str, Any] = {"real": array.real, "imag": array.imag}
        _add(total, parts)
        return
    if array.dtype.kind not in "biuf":
        raise DTypeError("audit", "an array has no bits to compare", expected="numbers", got=array.dtype,
                         remedy="Return numbers, or leave audit out")  # fmt: skip
    total.update(f"{array.dtype.newbyteorder('<').str} {array.shape}\n".encode())
    bits = canonical_bits(array)
    total.update(np.ascontiguousarray(bits).astype(f"<u{bits.itemsize}", copy=False).data)
