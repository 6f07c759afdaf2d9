"""What is seen of a network while it runs: which arrays programs give besides their results, and whom they are shown.

Layer: nn. Programs of a network that is watched have the watched layers' arrays as further outputs; those of one that
is not are as ever. Invariant: what is watched has the bits of what is not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np

from loom.core.arrays import Array
from loom.core.late.dataclass import dataclass
from loom.tensor import Tensor

__all__ = ["Seen", "TapLayout", "Taps", "Viewer", "Viewers", "lay_out", "readable"]

Taps = Mapping[str, tuple[Any, Tensor]]
"""Name of a layer (or an input) -> what it takes (of several inputs: a list) and gives."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The arrays of a layer in one pass: what it took and gave; in a backward pass the gradients by what it gave
    (``taken``) and by what it took (``given``, None where that has none)."""

    taken: Any
    given: Any


class Viewer(Protocol):
    """Who is shown arrays. ``names``: of layers and inputs; None: of all."""

    names: frozenset[str] | None

    def show(self, mode: str, kind: str, seen: Mapping[str, Seen], step: int) -> None:
        """Take the arrays of a pass: ``mode`` normal or step, ``kind`` forward or backward."""
        ...


class Viewers:
    """The viewers of a network, at least one. ``names``: what any of them wants, None for all."""

    def __init__(self, viewers: Sequence[Viewer], before: Viewers | None = None) -> None:
        """Begin with viewers, or go on with other ones than ``before``."""
        self.viewers = tuple(viewers)
        wanted = [v.names for v in viewers]
        self.names = None if any(n is None for n in wanted) else frozenset[str]().union(*(n or () for n in wanted))
        self.passes = 0 if before is None else before.passes
        self._own = threading.local() if before is None else before._own

    @property
    def is_showing(self) -> bool:
        """Tell whether this thread is in a viewer: what runs there is not shown."""
        return getattr(self._own, "is_showing", False)

    def pick(self, taps: Taps) -> dict[str, tuple[Any, Tensor]]:
        """Return what is wanted."""
        return {n: t for n, t in taps.items() if self.names is None or n in self.names}

    def show(self, mode: str, kind: str, seen: Mapping[str, Seen], step: int | None = None) -> None:
        """Show the arrays of a pass; without a ``step`` passes are counted."""
        if kind == "forward" and step is None:
            self.passes += 1
        self._own.is_showing = True
        try:
            for viewer in self.viewers:
                wanted = viewer.names
                some = seen if wanted is None else {n: s for n, s in seen.items() if n in wanted}
                viewer.show(mode, kind, some, self.passes if step is None else step)
        finally:
            self._own.is_showing = False


@dataclass(frozen=True, slots=True)
class TapLayout:
    """Where among a program's further outputs the arrays of layers are: by name those taken and the one given, of
    passes forward and back; None for what has no gradient."""

    forward: Mapping[str, tuple[tuple[int, ...], int]]
    backward: Mapping[str, tuple[int | None, tuple[int | None, ...]]]

    def read(self, arrays: Sequence[Array]) -> tuple[dict[str, Seen], dict[str, Seen]]:
        """Return what was seen forward and back; layers share arrays, which nobody may write."""
        shown = [readable(a) for a in arrays]

        def at(place: int | None) -> Any:
            return None if place is None else shown[place]

        forward = {n: Seen(_plain([at(p) for p in taken]), at(given)) for n, (taken, given) in self.forward.items()}
        back = {n: Seen(at(made), _plain([at(p) for p in by])) for n, (made, by) in self.backward.items()}
        return forward, {n: s for n, s in back.items() if s.taken is not None}


def lay_out(
    taps: Taps, gradients: Callable[[list[Tensor]], list[Tensor]] | None = None
) -> tuple[TapLayout, list[Tensor]]:
    """Return the layout of what is tapped, and the tensors, each once; ``gradients`` gives those by floats, if any."""
    found: dict[int, Tensor] = {}
    for taken, given in taps.values():
        found |= {id(x): x for x in (*_several(taken), given)}
    tensors = list(found.values())
    places = {key: n for n, key in enumerate(found)}
    forward = {n: (tuple(places[id(x)] for x in _several(t)), places[id(g)]) for n, (t, g) in taps.items()}
    if gradients is None:
        return TapLayout(forward, {}), tensors
    floats = [x for x in tensors if x.dtype.is_float]
    back = {id(x): len(tensors) + n for n, x in enumerate(floats)}
    backward = {n: (back.get(id(g)), tuple(back.get(id(x)) for x in _several(t))) for n, (t, g) in taps.items()}
    return TapLayout(forward, backward), [*tensors, *gradients(floats)]


def _several(taken: Any) -> list[Tensor]:
    return cast("list[Tensor]", taken if isinstance(taken, list) else [taken])


def _plain(several: list[Any]) -> Any:
    return several[0] if len(several) == 1 else several


def readable(array: Array) -> Array:
    """Return an array that is not to be written, bf16 as f32."""
    found = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
    found.flags.writeable = False
    return found
