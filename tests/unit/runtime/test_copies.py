"""What belongs to a process is refused by ``copy`` and ``pickle``, in words."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import InOut, u32


@loom.kernel
def increment(x: InOut[u32]) -> None:
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] + 1


def _pickle(thing: object) -> object:
    return pickle.loads(pickle.dumps(thing))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, _pickle])
@pytest.mark.parametrize("name", ["cpu", "interp"])
def test_neither_pickled_nor_copied(name: str, duplicate: Callable[[Any], Any]) -> None:
    device = loom.device(name)
    x = np.zeros(4, np.uint32)
    chain = loom.Chain(name)
    chain.dispatch(increment, [x])
    program = chain.build()
    submission = program.launch()
    submission.wait()
    storage = device.allocate(16)
    unit = loom.boot(registers=4, device=name)
    for thing in (device, chain, program, submission, storage, unit):
        with pytest.raises(loom.LoomError, match="belongs to its process, and is neither pickled nor copied"):
            duplicate(thing)
    increment(storage, on=name)
    again = device.allocate(16)  # the remedy
    again.write(0, np.asarray(_pickle(storage.read(0, storage.nbytes))))
    assert again.read(0, 16).view(np.uint32).tolist() == [1] * 4
    program.run()
    assert x.tolist() == [2] * 4
    unit.shutdown()


def test_a_kernel_is_pickled_by_its_name_as_functions_are() -> None:
    assert _pickle(increment) is increment
    assert copy.deepcopy({"kernel": increment})["kernel"] is copy.copy(increment) is increment
