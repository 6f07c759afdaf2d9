"""``loom.cluster.swarm``: many units, each with its own memory and chain, over the devices of many machines.

Layer: cluster. Invariant: a unit's memory afterwards depends on its number alone, wherever it ran.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from loom.core.errors import ArgumentError, DTypeError
from loom.core.numbers import whole
from loom.workers.opening import Workers, open_pool

__all__ = ["run_units"]

_PIECES_PER_WORKER = 4
_MOST_UNITS = 1 << 24


def run_units(
    make: Callable[[int], Any], units: int, *, times: int = 1, collect: Callable[[Any], Any] | None = None,
    together: int = 16, workers: Workers = 2, address: str | None = None, audit: float | None = None,
) -> list[Any]:  # fmt: skip
    """Boot units on workers, run the chain of each, and return what they hold, in order.

    Args:
        make: Function of a number that boots a unit, records its chain and returns it, on a worker, whose device is the
            default.
        units: Number of units.
        times: Runs of each chain.
        collect: Function of a unit that gives what is kept of it; None: its registers (u32).
        together: Units that are launched as one ``loom.swarm``.
        workers: Number of workers, the device of each by name (``["cpu", "vulkan"]``), or an open pool
            (``loom.cluster.connect``).
        address: Address of a Ray cluster's head, "auto" for the one this machine is part of; None: a Ray of its own on
            this machine.
        audit: Share of calls that two workers compute; None: none, or the pool's.

    Returns:
        Results, one for each unit.

    Raises:
        ArgumentError: Not a function; a number is out of range.
        DTypeError: Not workers; a function or a result cannot be pickled.
        DeviceError: No Ray answers, or it has too few resources; no worker is left.
    """
    where = "loom.cluster.swarm"
    for name, function in (("make", make), ("collect", collect)):
        if not callable(function) and (name == "make" or function is not None):
            raise ArgumentError(f"{where}, {name}", "not a function", expected="a function", got=repr(function)[:200],
                                remedy="Write swarm(make, units)")  # fmt: skip
    units = whole(units, f"{where}, units", least=1, most=_MOST_UNITS)
    times = whole(times, f"{where}, times", least=1)
    together = whole(together, f"{where}, together", least=1)
    with open_pool(workers, address, audit, where) as pool:
        length = max(1, min(together, -(-units // (_PIECES_PER_WORKER * len(pool)))))
        cuts = [(make, collect, times, at, min(at + length, units)) for at in range(0, units, length)]
        return [held for piece in pool.map(_run_some, cuts) for held in piece]


def _run_some(
    make: Callable[[int], Any], collect: Callable[[Any], Any] | None, times: int, first: int, last: int
) -> list[Any]:
    from loom.runtime.chain.swarm import swarm

    with ExitStack() as held:
        units = [held.enter_context(_make_unit(make, number)) for number in range(first, last)]
        together = swarm([unit.build() for unit in units])
        for _ in range(times):
            together.run()
        return [unit.read(binding="registers") if collect is None else collect(unit) for unit in units]


def _make_unit(make: Callable[[int], Any], number: int) -> Any:
    from loom.runtime.units.unit import Unit

    unit = make(number)
    if not isinstance(unit, Unit):
        raise DTypeError("loom.cluster.swarm, make", "not a unit", expected="what loom.boot returned",
                         got=type(unit).__name__, remedy="Return the unit, its chain recorded")  # fmt: skip
    return unit
