"""Programs kept between calls: recorded and built once per kind and size, run with new arrays.

Layer: patterns. A pattern describes its chain over ``HostSlot``s; each call attaches arrays and runs. Where the device
uses host memory in place, the run is over when ``run`` returns; elsewhere it may go on, and what reads the results
waits. Invariant: a prepared program is started by one call at a time; a second one waits for it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from loom.core import options
from loom.runtime.chain import Chain, Program
from loom.runtime.device import Device
from loom.runtime.storage import HostSlot, Storage

__all__ = ["Prepared", "prepare", "shares_memory"]

_MOST_KEPT = 128
_NOTHING = np.empty(0, np.uint8)


def shares_memory(device: Device) -> bool:
    """Tell whether a device uses host memory in place."""
    return device.adopt(_NOTHING) is not None


class Prepared:
    """A program with slots. ``run`` attaches one array to each and runs.

    ``in_place``: the arrays are numpy's, else storage of the device.
    """

    def __init__(self, program: Program, slots: Sequence[HostSlot], keep: Any = None, *, in_place: bool = True) -> None:
        self._program = program
        self.in_place = in_place
        self._slots = tuple(slots)
        self._lock = threading.Lock()
        self.keep = keep

    def run(self, *arrays: np.ndarray[Any, Any] | Storage) -> None:
        """Run over ``arrays``, one contiguous array or storage per slot."""
        with self._lock:
            for slot, array in zip(self._slots, arrays, strict=True):
                slot.attach(array)
            try:
                if self.in_place:
                    self._program.run()
                else:
                    self._program.launch().poll()  # what may fault is over, and says so now
            finally:
                for slot in self._slots:
                    slot.detach()


_kept: OrderedDict[Hashable, Prepared] = OrderedDict()
_lock = threading.Lock()


def prepare(key: Hashable, device: Device, record: Callable[[Chain], tuple[Sequence[HostSlot], Any]]) -> Prepared:
    """Return the program kept for ``key`` on ``device``, recording and building it if there is none.

    ``record`` writes the chain and returns its slots and whatever else must stay alive. The settings
    that programs are built under are part of the key.
    """
    whole = (device.name, options.thread_count(), options.simd_lanes(), options.check_bounds(), key)
    with _lock:
        found = _kept.get(whole)
        if found is not None:
            _kept.move_to_end(whole)
            return found
    chain = Chain(device, name=str(key[0]) if isinstance(key, tuple) else "pattern")
    slots, keep = record(chain)
    made = Prepared(chain.build(), slots, keep, in_place=shares_memory(device))
    with _lock:
        _kept[whole] = made
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return made
