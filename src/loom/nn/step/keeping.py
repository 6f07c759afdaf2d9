"""A step state as arrays: what its buffers, history and optimisers hold, to be saved and put back.

Layer: nn. The weights are the network's, and are saved with it. Invariant: a state that was put back goes on with the
bits of one that never stopped; arrays that do not fit change nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, FileError, near_matches
from loom.core.given import is_mapping
from loom.core.given import path as path_of
from loom.formats.file_writes import write_file
from loom.formats.raw_arrays import npz_bytes, read_npz
from loom.nn.step.course import Course
from loom.nn.step.gradients import Past
from loom.nn.step.programs import StepPrograms
from loom.nn.train.optimizers import OPTIMIZERS, Optimizer, optimizer_of, starting_state
from loom.tensor import Tensor

__all__ = ["arrays_of", "put_back", "read_state", "write_state"]

_WHERE = "StepState.load_state_dict"
_TICKS, _MOVED, _GIVEN, _WAITING, _FORM = "ticks", "past.moved", "past.given", "waiting", "form"
_OPTIMIZERS = "optimizers"


def _state_of(programs: StepPrograms) -> Iterator[tuple[str, Tensor]]:
    """Yield name and tensor of all that ticks change."""
    yield from ((f"buffer.{n}", t) for n, t in programs.tensors.items())
    yield from ((f"history.{n}", t) for n, t in programs.history.items())


def arrays_of(programs: StepPrograms, course: Course, form: tuple[bool, bool]) -> dict[str, Array]:
    """Return copies of all that a state holds, by name (bf16 as its 16 bits)."""
    wiring, names, past = programs.wiring, list(programs.tensors), course.past
    found = {n: t.host_elements()[0] for n, t in _state_of(programs)}
    found[_TICKS] = programs.number.numpy()
    found[_MOVED] = np.array([[n in p.moved for n in wiring.nodes] for p in past], bool).reshape(-1, len(wiring.nodes))
    found[_GIVEN] = np.array([[n in p.given for n in names] for p in past], bool).reshape(-1, len(names))
    found[_WAITING] = np.array([n in course.waiting for n in wiring.nodes], bool)
    found[_FORM] = np.array(form, bool)
    used = programs.optimizers
    found[_OPTIMIZERS] = np.array([_text(o) for o in used], np.str_)
    for number, kept in enumerate(used.values()):
        found |= {f"optimizer.{number}.{n}": t.host_elements()[0] for n, t in kept.items()}
    return found


def _text(optimizer: Optimizer) -> str:
    name = next(n for n, kind in OPTIMIZERS.items() if kind is type(optimizer))
    return json.dumps({"name": name, **asdict(optimizer)})


def put_back(programs: StepPrograms, course: Course, arrays: Mapping[str, Any]) -> tuple[bool, bool]:
    """Write what ``arrays_of`` gave; return the form. ArgumentError, before anything is written, for other arrays."""
    wiring, names = programs.wiring, list(programs.tensors)
    if not is_mapping(arrays):
        raise ArgumentError(_WHERE, "not the arrays of a state", expected="a mapping, of state_dict",
                            got=repr(arrays)[:200], remedy="Pass what state_dict gave")  # fmt: skip
    given = {str(n): np.asarray(a) for n, a in arrays.items()}
    wanted = dict(_state_of(programs)) | {_TICKS: programs.number}
    kept = _optimizer_keys(programs, given)
    known = {*wanted, *(key for keys in kept.values() for key in keys.values())}
    for name in given:
        if name not in known and name not in (_MOVED, _GIVEN, _WAITING, _FORM, _OPTIMIZERS):
            raise ArgumentError(_WHERE, f"the state has no {name!r}", remedy=near_matches(name, list(known)))
    for name, like in wanted.items():
        _require(given, name, like.shape, like.dtype.numpy)
    count = len(given[_MOVED]) if _MOVED in given and given[_MOVED].ndim == 2 else 0
    count = min(count, programs.horizon, int(given[_TICKS]))
    _require(given, _MOVED, (count, len(wiring.nodes)), np.dtype(bool))
    _require(given, _GIVEN, (count, len(names)), np.dtype(bool))
    _require(given, _WAITING, (len(wiring.nodes),), np.dtype(bool))
    _require(given, _FORM, (2,), np.dtype(bool))
    for name, like in wanted.items():
        like.write_elements(_plain(given[name]))
    programs.put_back({o: {n: _plain(given[key]) for n, key in keys.items()} for o, keys in kept.items()})
    past = [Past(_names_where(wiring.nodes, moved), _names_where(names, by_hand))
            for moved, by_hand in zip(given[_MOVED], given[_GIVEN], strict=True)]  # fmt: skip
    course.put_back(past, _names_where(wiring.nodes, given[_WAITING]), int(given[_TICKS]))
    return bool(given[_FORM][0]), bool(given[_FORM][1])


def _plain(array: Array) -> Array:
    return np.require(array, requirements=("C", "A"))


def _names_where(names: Sequence[str], flags: Array) -> frozenset[str]:
    return frozenset(n for n, is_one in zip(names, flags.tolist(), strict=True) if is_one)


def _optimizer_keys(programs: StepPrograms, given: Mapping[str, Array]) -> dict[Optimizer, dict[str, str]]:
    """Return, of each optimiser that was used, the name of what it keeps -> its key in ``given``, which fits."""
    found: dict[Optimizer, dict[str, str]] = {}
    for number, optimizer in enumerate(_read_optimizers(given)):
        found[optimizer] = {}
        trained = starting_state(optimizer, programs.trained)
        for name, like in starting_state(optimizer, programs.model.parameters).items():
            key = f"optimizer.{number}.{name}"
            if key in given or name in trained:
                _require(given, key, like.shape, like.dtype.numpy)
                found[optimizer][name] = key
    return found


def _require(given: Mapping[str, Array], name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    found = given.get(name)
    if found is None or found.shape != shape or found.dtype != dtype:
        got = "nothing" if found is None else f"{found.dtype} of {found.shape}"
        raise ArgumentError(_WHERE, f"{name!r} is not of such a state", expected=f"{dtype} of {shape}", got=got,
                            remedy="Use a state of the same network, batch, gradient and horizon")  # fmt: skip


def _read_optimizers(given: Mapping[str, Array]) -> list[Optimizer]:
    found: list[Optimizer] = []
    for text in given.get(_OPTIMIZERS, np.array([], np.str_)).tolist():
        try:
            told = dict(json.loads(text))
            found.append(optimizer_of(str(told.pop("name")), **told))
        except (ValueError, TypeError, KeyError):
            raise ArgumentError(_WHERE, "an optimiser cannot be read", expected="its name and settings",
                                got=repr(text)[:200], remedy="Pass what state_dict gave") from None  # fmt: skip
    return found


def write_state(path: str | os.PathLike[str], arrays: Mapping[str, Array]) -> None:
    """Write arrays as a .npz; FileError if it cannot be."""
    write_file(path_of(path, "StepState.save, path"), npz_bytes(arrays), "StepState.save")


def read_state(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Return the arrays of a .npz; FileError for what is none."""
    source = path_of(path, "StepState.load, path")
    try:
        return read_npz(source)
    except (OSError, ValueError) as error:
        raise FileError("StepState.load", f"not a file of a step state ({error})"[:200], expected="a .npz of save",
                        got=str(source)[:200], remedy="Check which file it is") from None  # fmt: skip
