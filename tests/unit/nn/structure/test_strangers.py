"""Whatever is passed where a network, a layer, a space or numbers belong: an error of the house tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import LoomError, ShapeError
from loom.nn import structure as st

_X, _Y = np.ones((12, 4), np.float32), np.arange(12) % 3
_STRANGE: list[Any] = [None, -1, 1.5, "x", b"x", [], {}, object(), np.array([0]), float("nan"), [None], {"a": None}]


def _net() -> loom.Network:
    return st.network([st.dense(3)], input=4, on="cpu")


def _space(**keys: Any) -> Any:
    return st.ArchitectureSpace(**{"input": 4, "output": 3, **keys})


_CALLS: dict[str, Callable[[Any], Any]] = {
    "append": lambda v: st.append(v, [st.dense(2)]), "cover": lambda v: st.cover({"a": [True]}, v or 0),
    "correct_mask": lambda v: st.correct_mask(v, _X, _Y), "cut": lambda v: st.cut(v, 0), "ensemble": st.ensemble,
    "freeze": lambda v: _net().freeze(v if v != -1 else 7), "generate": st.generate, "graft": st.graft,
    "graph input": lambda v: st.Graph().input(v or 0), "graph layer": lambda v: st.Graph().add(v, "x"),
    "grid": lambda v: st.LayerGrid(v, 1, input=3), "infer": lambda v: st.infer(v if v != {"a": None} else 0),
    "infer input": lambda v: st.infer({"weight": _X}, input=v or []), "layer": st.layer, "masks": st.match_ensembles,
    "min_coverage": lambda v: st.match_ensembles({"a": [True], "b": [True]}, v), "mixture": st.mixture,
    "mode": lambda v: st.graft([_net(), _net()], v), "network": lambda v: st.network(v, input=4),
    "seed": lambda v: st.generate(_space(), v), "search seed": lambda v: st.search(_X, _Y, seed=v),
    "shape": lambda v: _space(input=v), "share": lambda v: st.graft([_net(), _net()], share=v),
    "then": lambda v: st.Graph().input(3) >> v, "types": lambda v: _space(types=v),
    "widths": lambda v: _space(widths=v),
}  # fmt: skip


def test_arrays_that_hold_no_numbers_are_told() -> None:
    for value in (np.array([object()]), np.array(["x"]), np.ones((8, 4)) + 1j, [[1, 2], [3]]):
        with pytest.raises(LoomError, match=r"'a\.weight'"):
            st.infer({"a.weight": value})


def test_classes_of_another_number_of_samples_are_told() -> None:
    with pytest.raises(ShapeError, match="expected 12, got 2"):
        st.correct_mask(_net(), _X, [0, 1])


@pytest.mark.parametrize("name", _CALLS)
def test_strange_values_are_told(name: str) -> None:
    for value in _STRANGE:
        with pytest.raises(LoomError):
            _CALLS[name](value)
