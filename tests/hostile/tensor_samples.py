"""Usable arguments of functions of tensors, by function and parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom import tensor

Make = Callable[[], Any]


def _row() -> Any:
    return tensor.array([3.0, 1.0, 2.0])


_BY_ROW: dict[str, Make] = {"x": _row, "axis": lambda: 0, "index": lambda: [0, 2], "indices": lambda: [0, 2]}

SAMPLES: dict[str, dict[str, Make]] = {
    "scatter": {**_BY_ROW, "src": lambda: [5.0, 6.0]},
    "scatter_add": {**_BY_ROW, "src": lambda: [5.0, 6.0]},
    "scatter_reduce": {**_BY_ROW, "src": lambda: [5.0, 6.0], "reduce": lambda: "amax"},
    "index_add": {**_BY_ROW, "source": lambda: [5.0, 6.0]},
    "index_copy": {**_BY_ROW, "source": lambda: [5.0, 6.0]},
    "index_fill": _BY_ROW,
    "index_put": {**_BY_ROW, "indices": lambda: ([0, 2],), "values": lambda: [5.0, 6.0]},
    "index_select": _BY_ROW,
    "put_along_axis": {**_BY_ROW, "values": lambda: [5.0, 6.0]},
    "masked_fill": {"mask": lambda: tensor.array([[True, False, True]])},
    "take_along_axis": _BY_ROW,
    "take": _BY_ROW,
    "bincount": {"x": lambda: tensor.array([0, 2, 2]), "weights": lambda: [1.0, 2.0, 3.0], "minlength": lambda: 3},
    "bucketize": {"boundaries": _row},
    "kthvalue": {"k": lambda: 1},
    "topk": {"k": lambda: 2},
    "masked_select": {"mask": lambda: tensor.array([[True, False, True]])},
    "quantile": {"q": lambda: 0.5},
    "searchsorted": {"x1": _row, "x2": lambda: [1.0, 2.0], "side": lambda: "right"},
    "histogram": {"weights": lambda: None, "range": lambda: (0.0, 9.0)},
    "gather": {"indices": lambda: tensor.array([[0, 1, 1]])},
}
"""Of ``loom.tensor``."""
