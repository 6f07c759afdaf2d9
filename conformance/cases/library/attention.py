"""The kernels of attention over pages, each on its own: two sequences, pages in no order, a row that is empty.

Oracle: the interpreter; tests/unit/models/inference/test_engine.py holds whole passes against the network.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from conformance.running import Case, case
from loom.core.dtype import DType, bf16, f16, f32
from loom.kernels.attention.abreast import Abreast, add_values_abreast, weigh_keys_abreast
from loom.kernels.attention.cached import PAGE, add_values, weigh_keys, write_places
from loom.kernels.attention.rowtiles import RowTile
from loom.kernels.attention.tiled import add_tiled_values, score_keys, weigh_scores
from loom.kernels.matmul.grids import Grid

__all__: list[str] = []

_HEADS, _SIZE, _WIDTH, _TOGETHER = 2, 6, 3, 2
_PAGES = 2 * _WIDTH
_PLACES = np.array([[0, 130], [1, 1], [0, 0], [1, 64], [0, 131]], np.uint32)
_TABLES = np.array([[4, 0, 3], [1, 5, 2]], np.uint32)
_ROWS = len(_PLACES)
_MODES = ("trusted", "checked", "reported")


def _numbers(dtype: DType, *shape: int) -> np.ndarray:
    found = np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32).reshape(-1)
    return (found.view(np.uint32) >> np.uint32(16)).astype(np.uint16) if dtype == bf16 else found.astype(dtype.numpy)


def _written(held: DType) -> Case:
    new = [_numbers(f32, _ROWS, _HEADS, _SIZE), _numbers(f32, 1, _ROWS, _HEADS, _SIZE)]
    kept = [_numbers(held, _PAGES, _HEADS, PAGE * _SIZE) for _ in range(2)]
    groups = (-(-_ROWS * _HEADS * _SIZE // 64), 1, 1)
    return Case(write_places(f32, held).verified.kernel, (*new, _PLACES.reshape(-1), _TABLES.reshape(-1), *kept),
                (_ROWS, _HEADS, _SIZE, _WIDTH), groups=groups, modes=_MODES)  # fmt: skip


def _weighed(held: DType, window: int, tiles: int) -> Case:
    q, keys = _numbers(f32, _ROWS, _HEADS, _TOGETHER, _SIZE), _numbers(held, _PAGES, _HEADS, PAGE * _SIZE)
    weights = np.zeros((_ROWS - 1) * _HEADS * _TOGETHER * _WIDTH * PAGE, np.float32)
    scales = np.zeros((_ROWS - 1) * _HEADS * _TOGETHER, np.float32)
    return Case(weigh_keys(_TOGETHER, held, tiles=tiles).verified.kernel,
                (q, keys, _PLACES.reshape(-1), _TABLES.reshape(-1), weights, scales),
                (_HEADS, _SIZE, _WIDTH, window, 1, 0.375), groups=(_HEADS, _ROWS - 1, 1), modes=_MODES)  # fmt: skip


def _added(held: DType, window: int, chunks: int) -> Case:
    weights = np.abs(_numbers(f32, _ROWS, _HEADS, _TOGETHER, _WIDTH * PAGE))
    scales, values = _numbers(f32, _ROWS, _HEADS * _TOGETHER), _numbers(held, _PAGES, _HEADS, PAGE * _SIZE)
    out = np.zeros(_ROWS * _HEADS * _TOGETHER * _SIZE, np.float32)
    return Case(add_values(_TOGETHER, held, 4, chunks=chunks).verified.kernel,
                (weights, scales, values, _PLACES.reshape(-1), _TABLES.reshape(-1), out),
                (_HEADS, _SIZE, _WIDTH, window, 0), groups=(_HEADS, _ROWS, 2), modes=_MODES)  # fmt: skip


for _held in (f32, f16, bf16):
    case(f"library/attention-write-{_held}", (1, 8))(partial(_written, _held))
    for _window, _parts in ((1 << 18, 1), (70, 2)):
        if _held == f32 or _parts == 1:
            case(f"library/attention-weigh-{_held}-{_parts}", (1, 8))(partial(_weighed, _held, _window, _parts))
            case(f"library/attention-add-{_held}-{_parts}", (1, 8))(partial(_added, _held, _window, _parts))


def _scored(held: DType, window: int) -> Case:
    tile = RowTile(Grid(2, 16, 1, 1, 4), _TOGETHER)
    q, keys = _numbers(f32, _ROWS, _HEADS, _TOGETHER, _SIZE), _numbers(held, _PAGES, _HEADS, PAGE * _SIZE)
    weights = np.zeros((_ROWS - 1) * _HEADS * _TOGETHER * _WIDTH * PAGE, np.float32)
    return Case(score_keys(tile, held, _SIZE).verified.kernel,
                (q, keys, _PLACES.reshape(-1), _TABLES.reshape(-1), weights),
                (_ROWS - 1, _HEADS, _WIDTH, window, 1, 2, 0.375), groups=(_HEADS, 1, 2), modes=_MODES)  # fmt: skip


def _exponentials(window: int, tiles: int) -> Case:
    weights, queries = _numbers(f32, _ROWS - 1, _HEADS, _TOGETHER, _WIDTH * PAGE), _HEADS * _TOGETHER
    scales = np.zeros((_ROWS - 1) * queries, np.float32)
    return Case(weigh_scores(tiles=tiles).verified.kernel, (_PLACES.reshape(-1), weights, scales),
                (queries, _WIDTH, window, 1), groups=(queries, _ROWS - 1, 1), modes=_MODES)  # fmt: skip


def _tiled(held: DType, window: int, chunks: int) -> Case:
    tile = RowTile(Grid(2, 16, 1, 1, 4), _TOGETHER)
    weights = np.abs(_numbers(f32, _ROWS, _HEADS, _TOGETHER, _WIDTH * PAGE))
    scales, values = _numbers(f32, _ROWS, _HEADS * _TOGETHER), _numbers(held, _PAGES, _HEADS, PAGE * _SIZE)
    out = np.zeros(_ROWS * _HEADS * _TOGETHER * _SIZE, np.float32)
    return Case(add_tiled_values(tile, held, _SIZE, chunks=chunks).verified.kernel,
                (weights, scales, values, _PLACES.reshape(-1), _TABLES.reshape(-1), out),
                (_ROWS, _HEADS, _WIDTH, window, 0), groups=(_HEADS, 2, 1), modes=_MODES)  # fmt: skip


def _weighed_abreast(held: DType, window: int) -> Case:
    q, keys = _numbers(f32, _ROWS, _HEADS, _TOGETHER, _SIZE), _numbers(held, _PAGES, _HEADS, PAGE * _SIZE)
    weights = np.zeros((_ROWS - 1) * _HEADS * _TOGETHER * _WIDTH * PAGE, np.float32)
    scales = np.zeros((_ROWS - 1) * _HEADS * _TOGETHER, np.float32)
    return Case(weigh_keys_abreast(Abreast(_TOGETHER, 2, 4), held, _SIZE).verified.kernel,
                (q, keys, _PLACES.reshape(-1), _TABLES.reshape(-1), weights, scales),
                (_HEADS, _WIDTH, window, 1, 0.375), groups=(_HEADS, _ROWS - 1, 1), modes=_MODES)  # fmt: skip


def _added_abreast(held: DType, window: int, chunks: int) -> Case:
    weights = np.abs(_numbers(f32, _ROWS, _HEADS, _TOGETHER, _WIDTH * PAGE))
    scales, values = _numbers(f32, _ROWS, _HEADS * _TOGETHER), _numbers(held, _PAGES, _HEADS, PAGE * _SIZE)
    out = np.zeros(_ROWS * _HEADS * _TOGETHER * _SIZE, np.float32)
    return Case(add_values_abreast(Abreast(_TOGETHER, 2, 4), held, _SIZE, chunks=chunks).verified.kernel,
                (weights, scales, values, _PLACES.reshape(-1), _TABLES.reshape(-1), out),
                (_HEADS, _WIDTH, window, 0), groups=(_HEADS, _ROWS, 1), modes=_MODES)  # fmt: skip


for _window, _parts in ((1 << 18, 1), (70, 2)):
    case(f"library/attention-score-{_parts}", (1, 8), slow=True)(partial(_scored, f32 if _parts == 1 else f16, _window))
    case(f"library/attention-exponentials-{_parts}", (1, 8), slow=True)(partial(_exponentials, _window, _parts))
    case(f"library/attention-tiled-{_parts}", (1, 8), slow=True)(partial(_tiled, f32, _window, _parts))
    case(f"library/attention-weigh-abreast-{_parts}", (1, 8), slow=True)(partial(_weighed_abreast, f32, _window))
    case(f"library/attention-add-abreast-{_parts}", (1, 8), slow=True)(partial(_added_abreast, f32, _window, _parts))
