"""The benchmark of numeric types: what storing a network's weights in each type does to its outputs, and what it saves.

Layer: nn. The measure is the older generations': each sample's output with the network's own weights, at its largest
element, against the output there with stored weights, in deviation metrics. Invariant: the network is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, EmptyError
from loom.core.given import is_mapping
from loom.core.late.dataclass import dataclass
from loom.core.narrow import TYPES, NumericType, numeric_type
from loom.nn.base.random import normals, uniforms
from loom.nn.numeric.storage import store_weights
from loom.nn.spec import NetworkSpec
from loom.nn.spec.layers.embedding import Embedding
from loom.nn.train.measures import deviation_metrics
from loom.nn.train.scalars import whole

__all__ = ["TypeReport", "TypeScore", "benchmark_types", "compare_types", "draw_samples"]

_LEAST_MB = 0.01
_MB = float(1 << 20)
_COLUMNS = ("type", "score", "deviation %", "bytes", "score/MB", "scale", "accuracy")


@dataclass(frozen=True, slots=True)
class TypeScore:
    """What a type of storage is worth for a network.

    ``quality_score``: 100 less the mean deviation in percent, each at most 100; ``average_deviation``: in percent;
    ``memory_bytes``: codes and scales of all trained weights; ``trade_off``: score for each MB (2**20 bytes, 0.01 MB at
    least); ``scale_factor``: the largest scale of a weight, 1 where there is none; ``accuracy``: with samples that have
    classes, else None; ``clipped``: weights beyond the type's range.
    """

    dtype: str
    quality_score: float
    average_deviation: float
    memory_bytes: int
    trade_off: float
    scale_factor: float
    accuracy: float | Any  # None without classes
    clipped: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TypeReport:
    """Scores of types, in the order asked for; ``samples``: how many were compared; ``accuracy``: before storing."""

    samples: int
    accuracy: float | Any  # None without classes
    scores: tuple[TypeScore, ...]

    def __getitem__(self, dtype: Any) -> TypeScore:
        """Return the score of a type, by any of its names; KeyError if it was not measured."""
        name = numeric_type(dtype, "loom.nn.numeric.TypeReport").name
        return {s.dtype: s for s in self.scores}[name]

    @property
    def best(self) -> TypeScore:
        """The type of the best trade-off, the first of several."""
        return max(self.scores, key=lambda s: s.trade_off)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {"samples": self.samples, "accuracy": self.accuracy, "best": self.best.dtype,
                "types": [s.to_dict() for s in self.scores]}  # fmt: skip

    def rows(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return the columns of a table, and its rows, as texts."""
        found = [
            (s.dtype, f"{s.quality_score:.2f}", f"{s.average_deviation:.3g}", str(s.memory_bytes), f"{s.trade_off:.0f}",
             f"{s.scale_factor:.4g}", "" if s.accuracy is None else f"{s.accuracy:.4f}") for s in self.scores
        ]  # fmt: skip
        return _COLUMNS, found


def benchmark_types(
    network: Any, x: Any = None, y: Any = None, *, dtypes: Sequence[Any] | None = None, scales: Any = "auto",
    power_of_two: bool = False, keep: Sequence[str] = (), samples: int = 32,
) -> TypeReport:  # fmt: skip
    """Return a report of a network's outputs with its weights stored in each type.

    Args:
        network: ``loom.Network``.
        x: Samples (n, *shape); None: ``samples`` of normal numbers (tokens: even ones of the vocabulary), drawn by the
            network's seed.
        y: Targets as ``evaluate`` takes them, for the accuracy; None: none.
        dtypes: Types of storage; None: all of ``TYPES``.
        scales: Rule of the scales, or numbers, as of ``store``.
        power_of_two: Whether scales are rounded to powers of two.
        keep: Names, or patterns of them, of weights that stay as they are.
        samples: Number of samples that are drawn.

    Raises:
        ArgumentError: Targets without samples; an unusable scale or rule; no weight is called so; a class outside.
        DTypeError: Not a type of storage; not numbers.
        ShapeError: Samples or targets of another shape.
        EmptyError: No types; no samples.
        NotFinite: NaN or an infinity among samples or weights.

    >>> import loom
    >>> net = loom.Network.from_json({"format": "loom/1", "input": {"shape": [8]}, "layers": [
    ...     {"type": "dense", "output_size": 4}]})
    >>> found = benchmark_types(net, dtypes=["f32", "i8", "binary"])
    >>> found["f32"].quality_score, found["i8"].quality_score > found["binary"].quality_score
    (100.0, True)
    """
    where = "loom.nn.numeric.benchmark_types"
    wanted = [numeric_type(d, f"{where}, dtypes") for d in (TYPES if dtypes is None else dtypes)]
    if not wanted:
        raise EmptyError(where, "no types", expected="at least one", got="none", remedy="Leave dtypes out for all")
    if x is None and y is not None:
        raise ArgumentError(f"{where}, y", "targets without samples", expected="x as well", got="no x",
                            remedy="Pass the samples that they are of")  # fmt: skip
    samples = whole(f"{where}, samples", samples, least=1)
    given = _plain(draw_samples(network.spec, samples)) if x is None else x
    accuracy = None if y is None or x is None else network.evaluate(x, y).accuracy
    trial = network.convert(network.spec.dtype)  # a copy: the types' weights are put into it in turn

    def run(weights: Mapping[str, Array]) -> tuple[Any, float | None]:
        trial.model.load(weights)
        return trial.predict(given), None if accuracy is None else trial.evaluate(x, y).accuracy

    settings = {"scales": scales, "power_of_two": power_of_two, "keep": keep, "where": where}
    return compare_types(network.spec, network.model.weights(), run, wanted, settings)


Run = Callable[[Mapping[str, Array]], tuple[Any, float | None]]
"""Returns a network's outputs for weights, and its accuracy, if that is asked for."""


def compare_types(
    spec: NetworkSpec, weights: Mapping[str, Array], run: Run, kinds: Sequence[NumericType], settings: Mapping[str, Any]
) -> TypeReport:
    """Return what storing ``weights`` in each type does to what ``run`` gives."""
    outputs, accuracy = run(weights)
    before, scores = _flat(outputs), list[TypeScore]()
    for kind in kinds:
        stored = store_weights(spec, weights, kind, **settings)
        outputs, right = run({**weights, **{n: a.decode() for n, a in stored.arrays.items()}})
        score, deviation = _compare(before, _flat(outputs))
        scores.append(TypeScore(
            kind.name, score, deviation, stored.nbytes, score / max(stored.nbytes / _MB, _LEAST_MB),
            max(e.scale for e in stored.errors), right, sum(e.clipped for e in stored.errors),
        ))  # fmt: skip
    return TypeReport(len(before), accuracy, tuple(scores))


def _compare(before: Array, after: Array) -> tuple[float, float]:
    """Return score and mean deviation of outputs (n, m) at the place of each sample's largest element before."""
    places = before.argmax(axis=1)[:, None]
    found = deviation_metrics(np.take_along_axis(after, places, 1), np.take_along_axis(before, places, 1)[:, 0])
    return found.score, found.avg_deviation


def _flat(outputs: Any) -> Array:
    """Return the outputs of samples side by side: (n, all elements)."""
    made = [*outputs.values()] if is_mapping(outputs) else [outputs]
    return np.concatenate([np.asarray(a, np.float64).reshape(len(a), -1) for a in made], axis=1)


def draw_samples(spec: NetworkSpec, samples: int) -> dict[str, Array]:
    """Return samples of the network's inputs by name, drawn by its seed."""
    start = len(spec.parameters())  # numbers below are those of the weights
    words = [p.layer.vocab_size for p in spec.walk() if isinstance(p.layer, Embedding)]
    read = {n for node in spec.nodes if isinstance(node.layer, Embedding) for n in node.inputs}
    found: dict[str, Array] = {}
    for i, given in enumerate(spec.inputs):
        shape = (samples, *given.shape)
        if words and (given.name in read or given.dtype.is_integer):
            found[given.name] = np.floor(uniforms(shape, spec.seed, start + i) * min(words)).astype(given.dtype.numpy)
        else:
            found[given.name] = normals(shape, spec.seed, start + i)
    return found


def _plain(given: dict[str, Array]) -> Any:
    return given if len(given) > 1 else next(iter(given.values()))
