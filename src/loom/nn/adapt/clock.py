"""Clocks that adaptation is measured by: one that only work moves, and that of the machine.

Layer: nn. Invariant: a clock tells whole nanoseconds and never goes back.
"""

from __future__ import annotations

import time

from loom.core.numbers import whole

__all__ = ["RealClock", "VirtualClock"]


class VirtualClock:
    """Time that passes when ``advance`` says so, and never else: the same on every machine.

    >>> clock = VirtualClock()
    >>> clock.advance(1_500)
    >>> clock()
    1500
    """

    def __init__(self) -> None:
        self._now = 0

    def __call__(self) -> int:
        """Return the nanoseconds since the clock was made."""
        return self._now

    def advance(self, ns: int) -> None:
        """Let ``ns`` nanoseconds pass.

        Args:
            ns: Nanoseconds, at least 0.

        Raises:
            ArgumentError: Not such a whole number.
        """
        self._now += whole(ns, "VirtualClock.advance, ns", least=0)


class RealClock:
    """The machine's clock; ``advance`` does nothing, for the work itself has taken its time.

    >>> clock = RealClock()
    >>> clock() <= clock()
    True
    """

    def __init__(self) -> None:
        self._start = time.perf_counter_ns()

    def __call__(self) -> int:
        """Return the nanoseconds since the clock was made."""
        return time.perf_counter_ns() - self._start

    def advance(self, ns: int) -> None:
        """Do nothing.

        Args:
            ns: Nanoseconds, which are not looked at.
        """
