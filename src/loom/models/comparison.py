"""What a change of a model's weights does to what it says: two checkpoints, one drawn input, their outputs.

Layer: models. Invariant: both are computed by one network document, on one device, of the same drawn inputs; a seed
draws the same ones everywhere.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError
from loom.core.given import is_mapping
from loom.core.late.dataclass import dataclass
from loom.core.numbers import whole
from loom.formats.opening import open_checkpoint
from loom.models.architectures import ModelDescription, build, describe
from loom.runtime.port.device import Device

__all__ = ["ModelComparison", "compare_checkpoints"]

_WHERE = "loom.models.comparison.compare_checkpoints"


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """How far the outputs of one model are from another's.

    ``max_abs``, ``rms``: of all numbers; ``relative``: root of the mean square, as a share of the first model's;
    ``cosine``: the least of any position; ``same_choice``: the share of positions whose largest number is the same one
    (of logits: the next token); ``samples`` of ``tokens`` each, of images 0.
    """

    family: str
    task: str
    samples: int
    tokens: int
    max_abs: float
    rms: float
    relative: float
    cosine: float
    same_choice: float

    def __str__(self) -> str:
        chosen = f", the same next token in {self.same_choice:.1%}" if self.task == "generate" else ""
        drawn = f"{self.samples} x {self.tokens} drawn tokens" if self.tokens else f"{self.samples} drawn images"
        return (f"outputs of {drawn} ({self.family}): largest error {self.max_abs:.3g}, rms {self.rms:.3g} "
                f"({self.relative:.3%}), cosine at least {self.cosine:.6f}{chosen}")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)


def compare_checkpoints(
    before: Any, after: Any, *, samples: int = 2, tokens: int = 32, seed: int = 0, on: str | Device | None = None
) -> ModelComparison:
    """Return how far the outputs of ``after`` are from those of ``before``, checkpoints of one model.

    ``samples`` texts of ``tokens`` drawn tokens each (fewer where the context is shorter); of models of images drawn
    pixels. ArgumentError for two that are not one model; other errors are those of ``describe`` and ``build``.
    """
    count = whole(samples, f"{_WHERE}, samples", least=1, most=1024)
    length = whole(tokens, f"{_WHERE}, tokens", least=1, most=1 << 16)
    drawn = whole(seed, f"{_WHERE}, seed", least=0)
    one, other = open_checkpoint(before), open_checkpoint(after)
    described, again = describe(one), describe(other)
    if _network(described) != _network(again):
        raise ArgumentError(_WHERE, "the two are not one model", expected=repr(described), got=repr(again),
                            remedy="Compare a checkpoint with one that was made of it")  # fmt: skip
    inputs = _inputs(described, count, length, np.random.Generator(np.random.Philox(drawn)))
    first = _outputs(one, described, inputs, on)
    second = _outputs(other, again, inputs, on)
    return _compare(described, inputs, first, second)


def _network(described: ModelDescription) -> dict[str, Any]:
    """Return what a document computes, without what it is called."""
    return {key: value for key, value in described.document.items() if key != "name"}


def _inputs(described: ModelDescription, samples: int, length: int, rng: np.random.Generator) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for name, told in described.document["inputs"].items():
        if not told.get("dtype", "f32").startswith("i"):
            found[name] = rng.standard_normal((samples, *told["shape"]), np.float32)
            continue
        shape = (samples, min(length, *told["shape"]), *told["shape"][1:])
        most = {"tokens": described.vocabulary_size, "mask": 1}.get(name, 0)
        made = rng.integers(0, most, shape) if most > 1 else np.full(shape, most)
        found[name] = made.astype(np.int32)
    return found


def _outputs(checkpoint: Any, described: ModelDescription, inputs: dict[str, Array], on: Any) -> Array:
    network = build(checkpoint, on=on, description=described)
    given = next(iter(inputs.values())) if len(inputs) == 1 else inputs
    found: Any = network.forward(given)
    made: Any = next(iter(found.values())) if is_mapping(found) else found
    return np.asarray(made, np.float64)


def _compare(described: ModelDescription, inputs: dict[str, Array], first: Array, second: Array) -> ModelComparison:
    away = np.abs(second - first)
    rows, others = first.reshape(-1, first.shape[-1]), second.reshape(-1, first.shape[-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
        cosine = np.where(lengths == 0, 1.0, (rows * others).sum(axis=1) / lengths)
    rms, size = _rms(away), _rms(first)
    given = next(iter(inputs.values()))
    tokens = given.shape[1] if given.dtype == np.int32 else 0
    return ModelComparison(
        described.family, described.task, len(given), tokens, float(away.max()), rms,
        0.0 if rms == 0 else (rms / size if size else math.inf), float(cosine.min()),
        np.count_nonzero(rows.argmax(axis=1) == others.argmax(axis=1)) / len(rows),
    )  # fmt: skip


def _rms(values: Array) -> float:
    return math.sqrt(float(np.mean(np.square(values))))
