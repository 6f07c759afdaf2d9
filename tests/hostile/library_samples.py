"""Usable arguments of functions of the library's modules, by function and parameter."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from loom import tensor

Make = Callable[[], Any]


def _matrix() -> Any:
    return [[2.0, 1.0], [1.0, 3.0]]


def _series() -> Any:
    return [3.0, 1.0, 2.0, 4.0]


def _row() -> Any:
    return tensor.array([3.0, 1.0, 2.0])


def _square() -> Any:
    return tensor.array([[1.0, 2.0], [3.0, 4.0]])


def _file() -> Any:
    with tempfile.NamedTemporaryFile("w", suffix=".csv", delete=False) as file:
        file.write("a,b\n1,2\n")
    return Path(file.name)


def _spectrum() -> Any:
    return np.ones((5, 129), np.complex64)


_OF_MATRICES = [
    "cond", "eigh", "eigvalsh", "expm", "lstsq", "matrix_norm", "matrix_power", "matrix_rank", "pinv", "slogdet",
    "solve_triangular", "svd", "svdvals", "trace",
]  # fmt: skip
_OF_PRICES = ["bars", "drawdown", "macd", "rsi", "volatility"]

LIBRARY: dict[str, dict[str, Make]] = {
    **{f"loom.linalg.{name}": {"a": _matrix, "x": _matrix, "b": lambda: [[1.0], [2.0]]} for name in _OF_MATRICES},
    **{f"loom.data.{name}": {"prices": _series, "volumes": lambda: None} for name in _OF_PRICES},
    "loom.tensor.asarray": {"obj": lambda: [1.0, 2.0]},
    "loom.tensor.concat": {"arrays": lambda: [_row(), _row()]},
    "loom.tensor.eye": {"n_rows": lambda: 2, "n_cols": lambda: None},
    "loom.tensor.full": {"fill_value": lambda: 1.0},
    "loom.tensor.full_like": {"fill_value": lambda: 1.0},
    "loom.tensor.linspace": {"start": lambda: 0.0, "stop": lambda: 1.0, "num": lambda: 3},
    "loom.tensor.roll": {"shift": lambda: 1},
    "loom.tensor.tensordot": {"x1": _square, "x2": _square},
    "loom.tensor.vecdot": {"x1": _row, "x2": _row},
    "loom.stats.trim_mean": {"share": lambda: 0.1},
    "loom.signal.Spectrum": {"frequencies": _series, "power": _series, "times": lambda: None},
    "loom.signal.butter": {"order": lambda: 2, "cutoff": lambda: 0.2, "band": lambda: "lowpass"},
    "loom.signal.filtfilt": {"b": lambda: [1.0], "a": lambda: [1.0], "data": lambda: [1.0] * 9},
    "loom.signal.istft": {"data": _spectrum, "length": lambda: 64},
    "loom.signal.lfilter": {"b": lambda: [1.0], "a": lambda: [1.0], "data": _series},
    "loom.signal.savgol_filter": {"data": _series, "window": lambda: 3, "order": lambda: 1},
    "loom.signal.sosfilt": {"sos": lambda: [[1.0, 0, 0, 1.0, 0, 0]], "data": _series},
    "loom.data.atr": {"high": _series, "low": _series, "close": _series, "window": lambda: 2},
    "loom.data.black_scholes": {
        "price": lambda: 9.0, "strike": lambda: 9.0, "years": lambda: 1.0, "rate": lambda: 0.1,
        "volatility": lambda: 0.2, "kind": lambda: "put",
    },
    "loom.data.cut": {"edges": lambda: [0.0, 1.0]},
    "loom.data.factorize": {"keys": lambda: ["b", "a"]},
    "loom.data.interpolate": {"at": _series, "places": lambda: [0.0, 1.0], "values": lambda: [2.0, 3.0]},
    "loom.data.read_csv": {"source": _file},
    "loom.data.sharpe": {"returns": _series},
    "loom.data.vwap": {"prices": _series, "volumes": _series},
    **{f"{kind}.chunk": {"chunks": lambda: 2} for kind in ("Tensor", "LoomTensor")},
    **{f"{kind}.roll": {"shift": lambda: 1} for kind in ("Tensor", "LoomTensor")},
    **{f"{kind}.split": {"sizes": lambda: [1, 2], "parts": lambda: [1, 2]} for kind in ("Tensor", "LoomTensor")},
    **{f"{kind}.to_device": {"where": lambda: "cpu"} for kind in ("Tensor", "LoomTensor")},
}  # fmt: skip
