"""What a WebGPU device computes rightly, as far as it changes the text written for it; what WGSL cannot express at all.

Layer: targets. Who opens a device finds the forms by a self-test (a driver, a web page). Invariant: features choose how
an operation is computed, never which bits it gives.
"""

from __future__ import annotations

from loom.core.late.dataclass import dataclass
from loom.ir.kernel import Instr, Kernel, Memory, operands, walk
from loom.ir.ops import Effect

__all__ = ["Features", "refusal"]


@dataclass(frozen=True)
class Features:
    """``forms`` are (family, form) of ``library.collect``, the first of them where none
    is named.

    ``whole_loops``: a loop ends when its condition says so, however many turns it takes. ``whole_vectors``: workgroups
    are filled up to a multiple of this many lanes by lanes that only look on. ``most_groups``: the most
    groups of one dispatch along x, y and z. ``push_nbytes``: the most bytes of a dispatch's words.
    """

    forms: tuple[tuple[str, str], ...] = ()
    whole_loops: bool = True
    whole_vectors: int = 1
    most_groups: tuple[int, int, int] = (65535, 65535, 65535)
    push_nbytes: int = 16384


_ALONE = ("atomic_add", "atomic_and", "atomic_or", "atomic_xor")


def refusal(kernel: Kernel) -> str | None:
    """Return why a kernel cannot be written in WGSL, None if it can.

    Two words are changed one after the other: sums and logic come out right however lanes meet, old values do not.
    """
    used: set[Instr] | None = None
    for s in walk(kernel.body):
        if not (isinstance(s, Instr) and _is_wide_atomic(s)):
            continue
        used = _values_in_use(kernel) if used is None else used
        if s.op.name not in _ALONE or s in used:
            kind = s.op.name if s.op.name not in _ALONE else f"the old value of {s.op.name}"
            return f"WGSL has no 64-bit atomics: {kind}"
    return None


def _values_in_use(kernel: Kernel) -> set[Instr]:
    """Return the values that something comes of: what is written, sent or decided, and what that is made of."""
    seen: set[Instr] = set()
    waiting = [a for s in walk(kernel.body) if not (isinstance(s, Instr) and _only_gives(s)) for a in operands(s)]
    while waiting:
        s = waiting.pop()
        if s not in seen:
            seen.add(s)
            waiting += s.args
    return seen


def _only_gives(s: Instr) -> bool:
    return s.op.effect in (Effect.PURE, Effect.READ, Effect.IDENTITY)


def _is_wide_atomic(s: Instr) -> bool:
    memory: Memory | None = s.memory
    return memory is not None and s.op.name.startswith("atomic") and memory.dtype.bits == 64
