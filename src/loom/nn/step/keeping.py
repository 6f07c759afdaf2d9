"""A step state as arrays: what its buffers, history and optimisers hold, to be saved and put back.

Layer: nn. The weights are the network's, and are saved with it. Invariant: a state that was put back goes on with the
bits of one that never stopped; arrays that do not fit change nothing.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, FileError, near_matches
from loom.core.given import path as path_of
from loom.nn.step.gradients import Past
from loom.nn.step.programs import StepPrograms
from loom.nn.train.optimizers import OPTIMIZERS, Optimizer, optimizer_of
from loom.storage.atomic import replace_file
from loom.tensor import Tensor

__all__ = ["arrays_of", "put_back", "read_file", "write_file"]

_WHERE = "StepState.load_state_dict"
_TICKS, _MOVED, _GIVEN, _OPTIMIZERS = "ticks", "past.moved", "past.given", "optimizers"


def _held(programs: StepPrograms) -> Iterator[tuple[str, Tensor]]:
    """Yield name and tensor of all that ticks change."""
    yield from ((f"buffer.{n}", t) for n, t in programs.tensors.items())
    yield from ((f"history.{n}", t) for n, t in programs.history.items())


def arrays_of(programs: StepPrograms, past: Sequence[Past]) -> dict[str, Array]:
    """Return copies of all that a state holds, by name (bf16 as its 16 bits)."""
    wiring, names = programs.wiring, list(programs.tensors)
    found = {n: t.host_elements()[0] for n, t in _held(programs)}
    found[_TICKS] = programs.number.numpy()
    found[_MOVED] = np.array([[n in p.moved for n in wiring.nodes] for p in past], bool).reshape(-1, len(wiring.nodes))
    found[_GIVEN] = np.array([[n in p.given for n in names] for p in past], bool).reshape(-1, len(names))
    used = programs.optimizers
    found[_OPTIMIZERS] = np.array([_text(o) for o in used], np.str_)
    for number, kept in enumerate(used.values()):
        found |= {f"optimizer.{number}.{n}": t.host_elements()[0] for n, t in kept.items()}
    return found


def _text(optimizer: Optimizer) -> str:
    name = next(n for n, kind in OPTIMIZERS.items() if kind is type(optimizer))
    return json.dumps({"name": name, **asdict(optimizer)})


def put_back(programs: StepPrograms, arrays: Mapping[str, Any]) -> list[Past]:
    """Write what ``arrays_of`` gave; return the past. ArgumentError, before anything is written, for other arrays."""
    wiring, names = programs.wiring, list(programs.tensors)
    given = {str(n): np.asarray(a) for n, a in arrays.items()}
    wanted = dict(_held(programs)) | {_TICKS: programs.number}
    optimizers = _read_optimizers(given)
    for number, optimizer in enumerate(optimizers):
        wanted |= {f"optimizer.{number}.{n}": t for n, t in programs.kept(optimizer).items()}
    others = (_MOVED, _GIVEN, _OPTIMIZERS)
    for name in given:
        if name not in wanted and name not in others:
            raise ArgumentError(_WHERE, f"the state has no {name!r}", remedy=near_matches(name, list(wanted)))
    for name, like in wanted.items():
        _require(given, name, like.shape, like.dtype.numpy)
    count = len(given[_MOVED]) if _MOVED in given and given[_MOVED].ndim == 2 else 0
    _require(given, _MOVED, (count, len(wiring.nodes)), np.dtype(bool))
    _require(given, _GIVEN, (count, len(names)), np.dtype(bool))
    for name, like in wanted.items():
        like.write_elements(np.require(given[name], requirements=("C", "A")))
    return [
        Past(frozenset(n for n, is_one in zip(wiring.nodes, moved, strict=True) if is_one),
             frozenset(n for n, is_one in zip(names, by_hand, strict=True) if is_one))
        for moved, by_hand in zip(given[_MOVED], given[_GIVEN], strict=True)
    ]  # fmt: skip


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


def write_file(path: str | os.PathLike[str], arrays: Mapping[str, Array]) -> None:
    """Write arrays as a .npz; FileError if it cannot be."""
    target, memory = path_of(path, "StepState.save, path"), io.BytesIO()
    np.savez(memory, allow_pickle=False, **dict(arrays))  # pyright: ignore[reportArgumentType] - names are not that
    try:
        replace_file(target, memory.getvalue(), durable=True)
    except (OSError, ValueError) as error:
        raise FileError("StepState.save", f"the file cannot be written ({error})", expected="a name in a folder",
                        got=str(target)[:200], remedy="Choose another place") from None  # fmt: skip


def read_file(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Return the arrays of a .npz; FileError for what is none."""
    source: Path = path_of(path, "StepState.load, path")
    try:
        with np.load(source, allow_pickle=False) as found:
            return dict(found)
    except (OSError, ValueError, BadZipFile, EOFError, AttributeError) as error:
        raise FileError("StepState.load", f"not a file of a step state ({error})"[:200], expected="a .npz of save",
                        got=str(source)[:200], remedy="Check which file it is") from None  # fmt: skip
