"""Programs of patterns: what is kept between calls (see ``runtime.chain.kept``), recorded by the pattern.

Layer: patterns. A pattern describes its chain over ``HostSlot``s; each call attaches arrays and runs. Invariant: what a
recording depends on is in its key.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, cast

from loom.runtime.chain import Chain
from loom.runtime.chain.kept import Kept, NumberPlace, keep, shares_memory
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device

__all__ = ["prepare", "shares_memory"]


def prepare(
    key: Hashable,
    device: Device,
    record: Callable[[Chain], Sequence[HostSlot]],
    numbers: Callable[[Chain], Sequence[NumberPlace]] | None = None,
) -> Kept:
    """Return the program kept for ``key`` on ``device``, recording and building it if there is none.

    ``record`` writes the chain, which keeps what it binds, and returns its slots; ``numbers`` then tells where in it
    the numbers given to each run go, on a device that reads parameters in place.
    """

    def make() -> Kept:
        chain = Chain(device, name=str(cast("tuple[Any, ...]", key)[0]) if isinstance(key, tuple) else "pattern")
        slots = record(chain)
        places = () if numbers is None else numbers(chain)
        return Kept(chain.build(), slots, in_place=shares_memory(device), numbers=places)

    return keep(key, device, make)
