"""Streams of observations whose right answers change with the task, drawn by Philox.

Layer: nn. A world is sampled once a millisecond before anything runs: what is seen at a time depends on seed, world and
noise alone, not on who looks. Invariant: elements come of exactly rounded operations, so they are the same everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.errors import ArgumentError
from loom.core.given import one_of
from loom.core.late.dataclass import dataclass
from loom.core.numbers import real, whole
from loom.core.philox import philox

__all__ = ["ACTIONS", "FEATURES", "WORLDS", "TaskStream", "stream"]

ACTIONS = 4
"""Answers to choose from."""
FEATURES = 16
"""Numbers of an observation: a retina of 4 x 4, its rows one after the other."""
WORLDS = ("chase", "classes")

_NS = 1_000_000
_CHASE, _NOISE, _CLASS, _PROTOTYPE = 0x41440001, 0x41440002, 0x41440003, 0x41440004
_LEG_MS = 100
"""Time in which a target goes from one place to the next, in a straight line."""
_HOLD_MS = 50
"""Time for which a class is shown."""
_SPREAD = 3.0
"""How narrow a cell of the retina sees: at distance d it answers 1 / (1 + (_SPREAD d)^2)."""
_BYTES_MEAN, _BYTES_DEVIATION = 510.0, 147.80055
"""Mean and deviation of the sum of four bytes, which noise is made of (Irwin and Hall: nearly normal)."""

Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, eq=False)
class TaskStream:
    """What is seen, and what is right: ``observations`` (milliseconds, 16) f32; ``answers`` (tasks, milliseconds,
    agents), classes from 0; ``tasks``: their names; ``changes``: (millisecond, number of the task from then on)."""

    world: str
    observations: Floats
    answers: np.ndarray[Any, np.dtype[np.int64]]
    tasks: tuple[str, ...]
    changes: tuple[tuple[int, int], ...]

    @property
    def total_ms(self) -> int:
        """How long it lasts."""
        return len(self.observations)

    def observe(self, ns: int) -> Floats:
        """Return what is seen at a time, the last of it from the end on.

        Args:
            ns: Nanoseconds since the start, at least 0.

        Returns:
            Array (16,) of f32.
        """
        return self.observations[min(ns // _NS, len(self.observations) - 1)]

    def answer(self, ns: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return the right answers of all agents at a time, by the task that holds then.

        Args:
            ns: Nanoseconds since the start, at least 0.

        Returns:
            Array (agents,) of int64: classes from 0.
        """
        at = min(ns // _NS, len(self.observations) - 1)
        task = 0
        for since, number in self.changes:
            task = number if since <= at else task
        return self.answers[task, at]


def stream(
    world: str, seed: int, total_ms: int, *, noise: float = 0.0, agents: int = 1, changes: int = 2
) -> TaskStream:
    """Return a world's stream of observations and right answers.

    "chase": a target wanders about in [-1, 1]^2 and is seen by a retina of 4 x 4 cells; right is the direction (right,
    left, up, down) in which it is farthest away, in the other task, "avoid", the opposite one. "classes": every 50 ms
    one of four patterns of 16 numbers; right is its number, in the other task, "renamed", the next number. The task
    changes ``changes`` times, at equal intervals, to and fro. Of several ``agents`` number k answers with a direction
    of its own: k quarter turns (or numbers) on, in the other task as many back.

    Args:
        world: "chase" or "classes".
        seed: Seed of the world.
        total_ms: Milliseconds of the stream.
        noise: Deviation of what is added to each number, anew every millisecond.
        agents: Number of agents.
        changes: Times that the task changes, at equal intervals, to and fro.

    Raises:
        ArgumentError: There is no such world; a number is out of range.

    >>> from loom.nn.adapt import stream
    >>> seen = stream("chase", seed=1, total_ms=300)
    >>> seen.observations.shape, seen.changes
    ((300, 16), ((100, 1), (200, 0)))
    """
    where = "loom.nn.adapt.stream"
    world = one_of(world, f"{where}, world", WORLDS)
    seed = whole(seed, f"{where}, seed", least=0, most=(1 << 64) - 1)
    agents = whole(agents, f"{where}, agents", least=1, most=64)
    count = whole(changes, f"{where}, changes", least=0, most=1000)
    total = whole(total_ms, f"{where}, total_ms", least=1, most=10_000_000)
    if count >= total:
        raise ArgumentError(where, "more changes than milliseconds", expected=f"at most {total - 1}", got=count,
                            remedy="Change less often, or for longer")  # fmt: skip
    level = real(noise, f"{where}, noise", least=0.0, most=1e6)
    seen, right, other = (_chase if world == "chase" else _classes)(seed, total)
    k = np.arange(agents)
    answers = np.stack([_turn(right[:, None], k, world), _turn(other[:, None], -k, world)])
    names = ("chase", "avoid") if world == "chase" else ("classes", "renamed")
    plan = tuple((total * (i + 1) // (count + 1), (i + 1) % 2) for i in range(count))
    noisy = seen if level == 0 else seen + level * _noise(seed, seen.shape)
    return TaskStream(world, noisy.astype(np.float32), answers, names, plan)


def _turn(answers: Any, by: Any, world: str) -> Any:
    """Return answers turned by quarters, or numbers counted on."""
    if world != "chase":
        return (answers + by) % ACTIONS
    around = np.array([0, 2, 1, 3])  # right, up, left, down: the order of quarter turns
    place = np.argsort(around)
    return around[(place[answers] + by) % ACTIONS]


def _words(blocks: int, seed: int, number: int, what: int) -> np.ndarray[Any, Any]:
    """Return four words for each block, one after the other."""
    return np.stack(philox(np.arange(blocks, dtype=np.uint64), number, 0, what, seed), 1).reshape(-1)


def _units(count: int, seed: int, what: int) -> np.ndarray[Any, Any]:
    """Return numbers of [-1, 1), multiples of 2^-23, in f64."""
    return (_words(-(-count // 4), seed, 0, what)[:count] >> np.uint64(8)).astype(np.float64) * 2.0**-23 - 1.0


def _noise(seed: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return nearly normal numbers of deviation 1 in f64: of a word the sum of its bytes."""
    count = int(np.prod(shape))
    words = _words(-(-count // 4), seed, 0, _NOISE)[:count]
    total = sum((words >> np.uint64(8 * k)) & np.uint64(255) for k in range(4))
    return ((np.asarray(total).astype(np.float64) - _BYTES_MEAN) / _BYTES_DEVIATION).reshape(shape)


def _chase(seed: int, total: int) -> tuple[Any, Any, Any]:
    """Return what the retina sees, the direction to the target, and the opposite one."""
    stops = _units(2 * (total // _LEG_MS + 2), seed, _CHASE).reshape(-1, 2)
    leg, part = np.divmod(np.arange(total), _LEG_MS)
    share = (part / _LEG_MS)[:, None]
    place = stops[leg] + (stops[leg + 1] - stops[leg]) * share
    x, y = place[:, 0], place[:, 1]
    across = np.abs(x) >= np.abs(y)
    right = np.where(across, np.where(x >= 0, 0, 1), np.where(y >= 0, 2, 3))
    centres = (np.arange(4) - 1.5) / 2
    away_x, away_y = x[:, None, None] - centres[None, None, :], y[:, None, None] - centres[None, ::-1, None]
    square = (away_x * away_x + away_y * away_y) * (_SPREAD * _SPREAD)
    return (4.0 / (1.0 + square) - 1.0).reshape(total, FEATURES), right, right ^ 1


def _classes(seed: int, total: int) -> tuple[Any, Any, Any]:
    """Return the pattern shown, its number, and the next number."""
    patterns = _units(ACTIONS * FEATURES, seed, _PROTOTYPE).reshape(ACTIONS, FEATURES)
    shown = _words(-(-(total // _HOLD_MS + 1) // 4), seed, 0, _CLASS) >> np.uint64(30)
    right = shown[np.arange(total) // _HOLD_MS].astype(np.int64)
    return patterns[right], right, (right + 1) % ACTIONS
