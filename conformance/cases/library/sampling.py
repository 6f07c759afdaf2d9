"""The kernels that choose tokens, each on its own: penalties and masks, weights, candidates, the draw.

Oracle: the interpreter. What the draw is given is made here: weights of any kind, equal ones among them, and their
masses in Python's integers. tests/unit/models/sampling holds whole choices against sorting in f64.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from conformance.running import Case, case
from conformance.values import random_bits
from loom.kernels.sampling import weights as row
from loom.kernels.sampling.draw import choose, pick_candidates
from loom.kernels.sampling.weights import SETTINGS, STATS, TILE, adjust, weigh

__all__: list[str] = []

_N, _TILES = TILE + 37, 2
_FEW = 150
"""Tokens to draw from: what is looked at is walked through sixty times."""
_MODES = ("trusted", "checked")
_SETTINGS = (
    {"temperature": 0.25, "top_k": 5}, {"greedy": True}, {"top_k": 300, "top_p": 0.25}, {"min_p": 0.125, "top_p": 0.5},
    {}, {"temperature": 3.0, "top_p": 0.9}, {"top_k": 1}, {"top_p": 0.0},
)  # fmt: skip
_ROWS = 4


def _settings(rows: int = _ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers and words of the rows."""
    numbers, words = np.zeros((rows, SETTINGS), np.float32), np.zeros((rows, SETTINGS), np.uint32)
    for n, settings in enumerate(_SETTINGS[:rows]):
        numbers[n, row.TEMPERATURE], numbers[n, row.MIN_P] = settings.get("temperature", 1), settings.get("min_p", 0)
        numbers[n, row.REPETITION], numbers[n, row.FREQUENCY], numbers[n, row.PRESENCE] = 1 + 0.1 * n, 0.3 * n, 0.7
        top_p = settings.get("top_p", 1.0)
        words[n, row.TOP_K], words[n, row.TOP_P] = settings.get("top_k", 0), min(int(top_p * 2**32), 2**32 - 1)
        words[n, row.SEED], words[n, row.SEED + 1], words[n, row.POSITION], words[n, row.STREAM] = n, ~n & 99, 7 * n, n
        words[n, row.ADJUSTED] = min(19 * n, 60)
        words[n, row.FLAGS] = (row.NUCLEUS if top_p < 1 else 0) | (row.GREEDY if settings.get("greedy") else 0)
    return numbers, words


def _logits(rows: int = _ROWS, size: int = _N) -> np.ndarray:
    """Return logits with equal ones and minus infinity among them."""
    x = (np.random.default_rng(6).standard_normal((rows, size)) * 3).astype(np.float32)
    x[:, 11::97] = x[:, :1]
    x[:, 5::31] = -np.inf
    return x


def _weights(rows: int = _ROWS, size: int = _N) -> tuple[np.ndarray, np.ndarray]:
    """Return bits of weights from 0 to 1, some of them equal, and the facts of their tiles."""
    rng = np.random.default_rng(7)
    e = np.exp2(-rng.uniform(0, 50, (rows, size))).astype(np.float32)
    e[:, 3::13], e[:, 7::701], e[:, 9] = 0.03125, 0, 1
    bits = e.view(np.uint32)
    masses = np.floor(e.astype(np.float64) * 2.0**40).astype(np.uint64)
    stats = np.zeros((rows, -(-size // TILE), STATS), np.uint64)
    for tile in range(stats.shape[1]):
        part = slice(tile * TILE, (tile + 1) * TILE)
        for n, edge in enumerate(row.EDGES):
            above = bits[:, part] >= edge
            stats[:, tile, n], stats[:, tile, 3 + n] = above.sum(1), (masses[:, part] * above).sum(1)
        stats[:, tile, 6] = masses[:, part].sum(1)
    return bits, stats


def _flat(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(each.reshape(-1) for each in arrays)


def _adjusted(*, masked: bool) -> Case:
    most, rng, (numbers, words) = 64, np.random.default_rng(8), _settings()
    tokens = np.stack([rng.choice(_N, most, replace=False) for _ in range(_ROWS)]).astype(np.uint32)
    counts = rng.integers(0, 4, (_ROWS, most)).astype(np.uint32) | (rng.integers(0, 2, (_ROWS, most)) << 31).astype(
        "u4"
    )
    biases = rng.standard_normal((_ROWS, most)).astype(np.float32)
    mask = random_bits(np.dtype(np.uint32), _ROWS * -(-_N // 32), seed=9)
    x = _logits()
    x[:, 77::211] = np.nan
    given = _flat(x, mask, tokens, counts, biases, numbers, words, np.zeros_like(x))
    return Case(adjust(masked=masked).verified.kernel, given, (_N, most), groups=(_ROWS * _TILES, 1, 1), modes=_MODES)


def _weighed() -> Case:
    x, (numbers, words) = _logits(), _settings()
    given = _flat(
        x, x.max(1), numbers, words, np.zeros(x.shape, np.uint32), np.zeros((_ROWS, _TILES, STATS), np.uint64)
    )
    return Case(weigh().verified.kernel, given, (_N,), groups=(_ROWS * _TILES, 1, 1), modes=_MODES)


def _picked() -> Case:
    (bits, stats), (numbers, words) = _weights(), _settings()
    given = _flat(bits, numbers, words, stats, np.zeros((_ROWS, 2, _N), np.uint32))
    return Case(pick_candidates().verified.kernel, given, (_N,), groups=(_ROWS * _TILES, 1, 1), modes=_MODES)


def _chosen(*, failing: bool) -> Case:
    """Return the draw from all weights (``pick_candidates`` gives fewer); rows that have no token, if ``failing``."""
    rows = len(_SETTINGS)
    (bits, stats), (numbers, words), x = _weights(rows, _FEW), _settings(rows), _logits(rows, _FEW)
    stats[:, :, :3] = _FEW  # all are above the edges, and all are there
    largest = x.max(1)
    if failing:
        largest[:] = np.resize(np.array([np.nan, np.inf, -np.inf, 1], np.float32), rows)
    picked = np.stack([bits, np.broadcast_to(np.arange(_FEW, dtype=np.uint32), bits.shape)], axis=1)
    given = _flat(x, largest, picked, numbers, words, stats, np.zeros(rows, np.uint32))
    return Case(choose().verified.kernel, given, (_FEW,), groups=(rows, 1, 1), modes=_MODES)


for _label, _is in (("masked", True), ("all", False)):
    case(f"library/sampling-adjust-{_label}", (8,))(partial(_adjusted, masked=_is))
case("library/sampling-weigh", (8,))(_weighed)
case("library/sampling-pick", (8,))(_picked)
case("library/sampling-choose", (8,))(partial(_chosen, failing=False))
case("library/sampling-choose-none", (8,))(partial(_chosen, failing=True))
