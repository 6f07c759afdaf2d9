"""Kinds of layers as tables: their fields, the variants that options make, shapes, weights, meanings, templates.

Layer: export. All of it is asked of a layer's config and of what it records, at symbolic sizes: nothing of a layer is
written here but which options a document may take. Invariant: a variant is what its config says, for every value of
the sizes and settings that are no option.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, replace
from typing import Any, cast

import numpy as np

from loom import tensor
from loom.core.dtype import f32
from loom.core.errors import StateError
from loom.core.late.dataclass import dataclass
from loom.core.numbers import Expression, Size, expression_of, is_symbolic
from loom.export.library.recordtemplates import Symbols, Template, record_template, symbol_of_axis
from loom.nn.layers.registry import Context, ForwardPass, Key, init
from loom.nn.spec.base.fields import ValueField, value_fields
from loom.nn.spec.base.layer import LAYERS, Layer, Shape
from loom.nn.spec.base.meaning import INDEPENDENT, NEITHER, NUMBERS, Meaning, NumberKind, probabilities
from loom.nn.spec.base.problems import Place, Problem, Reading
from loom.nn.spec.base.rules import Choice, Flag, Real, Whole
from loom.nn.spec.layers.nested import Residual, Sequential
from loom.nn.spec.layers.norm import BatchNorm
from loom.runtime.registry import device as find_device
from loom.tensor import Tensor
from loom.tensor.record.graph import NodeKind, TensorOp, make
from loom.tensor.record.vjps import derivative

__all__ = [
    "COVERED",
    "MOST_AXES",
    "LayerKind",
    "LayerVariant",
    "OwnArray",
    "SizeCheck",
    "VariantOption",
    "kinds_of_layers",
    "sum_meanings",
]

MOST_AXES = 4
"""Axes of a sample that templates are recorded for."""


@dataclass(frozen=True, slots=True)
class CoveredLayer:
    """What of a layer's options there is: ``special`` are values of settings that have a record of their own.

    ``members``: of a field of names those that are there, else all; ``leaves``: fields that are refused where a
    document has them; ``least_axes``: of a sample, of a kind that samples of none are nothing for.
    ``holds``: "chain" or "added" of a kind whose ``layers`` give its output, or what is added to its input.
    """

    special: Mapping[str, tuple[float, ...]]
    members: Mapping[str, tuple[str, ...]]
    leaves: tuple[str, ...] = ()
    least_axes: int = 0
    holds: str = ""


_ALL = CoveredLayer({}, {})
COVERED: dict[str, CoveredLayer] = {
    "dense": CoveredLayer({}, {}, ("lora",)),
    "stitch": CoveredLayer({}, {}, ("lora",)),
    "activation": _ALL,
    "layer_norm": _ALL,
    "rms_norm": _ALL,
    "normalize": _ALL,
    "batch_norm": _ALL,
    "dropout": CoveredLayer({"rate": (0.0,)}, {}),
    "flatten": CoveredLayer({}, {}, (), 1),
    "swiglu": CoveredLayer({}, {}, ("lora",)),
    "sequential": CoveredLayer({}, {}, (), 0, "chain"),
    "residual": CoveredLayer({}, {}, (), 0, "added"),
    "kmeans": CoveredLayer({}, {"distance_metric": ("euclidean", "manhattan")}, ("attached_layer",)),
    "token_pool": CoveredLayer({}, {"mode": ("mean",)}, ("padding_mask",)),
    "softmax": CoveredLayer(
        {"temperature": (1.0,)},
        {"variant": ("standard", "temperature", "gumbel")},
        ("rows", "cols", "levels", "mask", "clusters", "weights", "alpha"),
    ),
}
"""Kinds of layers that the library has, by their names in documents."""


@dataclass(frozen=True, slots=True)
class VariantOption:
    """A field that chooses a variant: a flag, one of names, or a setting that is one of ``special`` values or none."""

    field: int
    names: tuple[str, ...] = ()
    special: tuple[float, ...] = ()

    @property
    def count(self) -> int:
        """Numbers of choices."""
        return len(self.names) or (len(self.special) + 1 if self.special else 2)


@dataclass(frozen=True, slots=True)
class OwnArray:
    """A weight or state of a layer: it begins as ``spread`` or ``normal`` (of ``reach``), or ``fill`` (a number)."""

    name: str
    shape: tuple[Expression, ...]
    start: str
    reach: Expression


@dataclass(frozen=True, slots=True)
class SizeCheck:
    """A field that must be the size of an axis, if it is given: what is wrong else."""

    field: int
    size: Expression
    what: str


@dataclass(frozen=True, slots=True)
class LayerVariant:
    """A layer of some options, for samples of some axes; ``problem``: why there is none of so many axes, or, of the
    fields alone, of these options."""

    problem: Problem | None
    is_of_fields: bool = False
    shape: tuple[Expression, ...] = ()
    weights: tuple[OwnArray, ...] = ()
    states: tuple[OwnArray, ...] = ()
    means: tuple[tuple[NumberKind, Expression | None], ...] = ()
    """By the kind of what is given: the kind, and of distributions their width, None for the one given."""
    training: Template | None = None
    inference: Template | None = None


@dataclass(frozen=True, slots=True)
class LayerKind:
    """A kind of layer; variants go by options, the last fastest, then by axes of a sample, from ``least_axes`` to
    ``MOST_AXES``. ``left``: fields that the library leaves; ``takes_statistics``: of a batch, in training."""

    name: str
    fields: tuple[ValueField, ...]
    left: tuple[str, ...]
    options: tuple[VariantOption, ...]
    checks: tuple[SizeCheck, ...]
    variants: tuple[LayerVariant, ...]
    least_axes: int
    takes_statistics: bool
    holds: str
    rate: int
    """Which field is the rate of its weights, -1 for none."""


def kinds_of_layers() -> list[LayerKind]:
    """Return the kinds of layers that the library has."""
    return [_kind(name, covered) for name, covered in COVERED.items()]


def _kind(name: str, covered: CoveredLayer) -> LayerKind:
    config = LAYERS[name]
    fields = tuple(value_fields(config))
    options = tuple(_options(name, fields, covered))
    choices = itertools.product(*(range(option.count) for option in options))
    variants = [
        _variant(name, fields, options, chosen, axes)
        for chosen in choices
        for axes in range(MOST_AXES + 1)
        if axes >= covered.least_axes
    ]
    return LayerKind(
        name,
        fields,
        covered.leaves,
        options,
        tuple(_checks(name, fields, covered)),
        tuple(variants),
        covered.least_axes,
        issubclass(config, BatchNorm),
        covered.holds,
        _rate_field(name, fields, options),
    )


def _rate_field(name: str, fields: tuple[ValueField, ...], options: tuple[VariantOption, ...]) -> int:
    """Return the field that is the rate of all weights of a kind, -1 if the training's is."""
    rates = _config(name, fields, options, (0,) * len(options), Symbols(0)).own_rates()
    if not rates:
        return -1
    (told,) = map(expression_of, rates.values())
    return next(number for number in range(len(fields)) if told == ("symbol", f"field.{number}"))


def _options(name: str, fields: tuple[ValueField, ...], covered: CoveredLayer) -> Iterator[VariantOption]:
    for number, f in enumerate(fields):
        if f.name in covered.leaves:
            continue
        if isinstance(f.rule, Choice):
            known = tuple(str(m.value) for m in f.rule.members)
            yield VariantOption(number, tuple(n for n in known if n in covered.members.get(f.name, known)))
        elif isinstance(f.rule, Flag) and (f.name != "frozen" or name == "batch_norm"):
            yield VariantOption(number)
        elif f.name in covered.special:
            yield VariantOption(number, (), covered.special[f.name])


def _config(
    name: str,
    fields: tuple[ValueField, ...],
    options: tuple[VariantOption, ...],
    chosen: tuple[int, ...],
    symbols: Symbols,
) -> Layer:
    """Return the config of a variant: options as chosen, other settings and needed sizes symbols."""
    told: dict[str, Any] = {}
    for number, f in enumerate(fields):
        if f.name in COVERED[name].leaves:
            continue
        if isinstance(f.rule, Whole) and f.default is MISSING:
            told[f.name] = symbols.size(f"field.{number}")
        elif isinstance(f.rule, Real):
            told[f.name] = symbols.setting(f"field.{number}")
    for option, choice in zip(options, chosen, strict=True):
        f = fields[option.field]
        if option.names:
            members: Any = f.rule
            told[f.name] = next(m for m in members.members if m.value == option.names[choice])
        elif option.special:
            told |= {f.name: option.special[choice]} if choice < len(option.special) else {}
        else:
            told[f.name] = bool(choice)
    if COVERED[name].holds:
        told["layers"] = (_InnerLayers(),)
    return LAYERS[name](**told)


@dataclass(frozen=True, slots=True, kw_only=True)
class _InnerLayers(Layer):
    """Stands for the layers that a layer holds."""

    meaning: Meaning = NUMBERS

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        del place
        return shape

    def means(self, shape: Shape, given: Meaning) -> Meaning:
        del shape, given
        return self.meaning


PART = TensorOp("part", NodeKind.KERNEL)
"""What the layers held make of their input: rows of their own take its place."""
PART_GRADIENT = TensorOp("part_gradient", NodeKind.KERNEL)
"""The gradient of that input, of the gradient of what they give."""


@derivative(PART)
def _part(node: Any, g: Any) -> list[Any]:
    return [make(PART_GRADIENT, [g], node.inputs[0].shape, g.dtype)]


class _HoldingContext(Context):
    """Records what a layer holds as one node."""

    def part(self, config: Layer, x: Tensor, key: str) -> Tensor:
        """Record the layers held, of which there is one here, under ``layers.0``."""
        assert isinstance(config, _InnerLayers), key
        assert key == "layers.0"
        return make(PART, [x], x.shape, x.dtype)


def sum_meanings() -> list[int]:
    """Return what the sum of an input and of what is made of it means, by the kinds of both."""
    kinds = tuple(NumberKind)
    made = [Residual(layers=(_InnerLayers(meaning=inner),)).means((3,), given) for given in _GIVEN for inner in _GIVEN]
    return [kinds.index(each.kind) for each in made]


def _sample(symbols: Symbols, axes: int) -> tuple[Size, ...]:
    return tuple(symbols.size(symbol_of_axis(axis)) for axis in range(axes))


def _variant(
    name: str, fields: tuple[ValueField, ...], options: tuple[VariantOption, ...], chosen: tuple[int, ...], axes: int
) -> LayerVariant:
    where = f"{name} {chosen} of {axes} axes"
    told, other = (_describe(_config(name, fields, options, chosen, s), _sample(s, axes)) for s in map(Symbols, (0, 1)))
    if told.problem is None and told != other:
        raise StateError(
            f"loom.export, library, {where}",
            "shapes or first weights depend on values",
            expected=str(told),
            got=str(other),
            remedy="Keep the expressions",
        )
    if told.problem is not None:
        return told

    def record(training: bool) -> Template:
        def record_variant(symbols: Symbols) -> dict[str, Tensor]:
            made = _config(name, fields, options, chosen, symbols)
            return _record(made, _sample(symbols, axes), symbols, training=training)

        return record_template(record_variant, where)

    return replace(told, training=record(True), inference=record(False))


def _describe(config: Layer, shape: tuple[Size, ...]) -> LayerVariant:
    """Return all of a variant but its templates."""
    reading = Reading()
    config.inspect(Place(reading))
    if reading.problems:
        return LayerVariant(reading.problems[0], is_of_fields=True)
    out = config.infer(shape, Place(reading))
    if out is None:
        return LayerVariant(reading.problems[0])
    assert not reading.problems, reading.problems
    arrays = {**config.own_weights(shape), **config.own_state(shape)}
    starts = init(config, arrays, _RecordingKey(0, {}))
    own = [OwnArray(key, tuple(map(expression_of, each)), *_start(starts[key])) for key, each in arrays.items()]
    weights = len(config.own_weights(shape))
    return LayerVariant(
        None,
        False,
        tuple(map(expression_of, out)),
        tuple(own[:weights]),
        tuple(own[weights:]),
        tuple(_means(config, shape)),
    )


def _record(config: Layer, shape: tuple[Size, ...], symbols: Symbols, *, training: bool) -> dict[str, Tensor]:
    """Record a layer as a network does, with the gradients of its input and weights, and new values of its state."""
    x = tensor.input("x", (symbols.batch(), *shape))
    arrays = {**config.own_weights(shape), **config.own_state(shape)}
    own = {f"layer.{key}": tensor.input(f"own.{n}", each) for n, (key, each) in enumerate(arrays.items())}
    frozen = [key for key in own if config.frozen]
    record = ForwardPass(
        tensors=own,
        names={"layer": tuple(arrays)},
        inputs={"x": x},
        dtype=f32,
        device=find_device("cpu"),
        seed=0,
        training=training,
        step=tensor.input("step", (), "u32"),
        frozen=frozen,
    )
    y = (_HoldingContext if isinstance(config, (Residual, Sequential)) else Context)("layer", record).run(config, x)
    ends = {"y": y}
    if not training:
        return ends
    weights = [own[f"layer.{key}"] for key in config.own_weights(shape)]
    given = tensor.input("gradient", y.shape)
    parts = tensor.grad(y, [x, *weights], seed=given)
    ends |= {"x": parts[0]} | {f"own.{n}": part for n, part in enumerate(parts[1:])}
    states = {id(own[f"layer.{key}"]): len(weights) + n for n, key in enumerate(config.own_state(shape))}
    return ends | {f"own.{states[id(old)]}": new for old, new in record.updates.items()}


class _RecordingKey(Key):
    """Tells how an array begins in place of its numbers."""

    def spread(self, name: str, shape: Any, reach: float) -> Any:
        del name, shape
        return "spread", reach

    def normal(self, name: str, shape: Any, deviation: float) -> Any:
        del name, shape
        return "normal", deviation


def _start(made: Any) -> tuple[str, Expression]:
    if isinstance(made, tuple):
        name, reach = cast("tuple[str, float]", made)
        return name, expression_of(reach)
    values = np.unique(made)
    assert len(values) == 1, "first weights are drawn, or all one number"
    return "fill", ("number", float(values[0]))


_GIVEN = (NUMBERS, probabilities(3), INDEPENDENT, NEITHER)
"""What a layer may be given, by ``NumberKind``; 3 is no width of a record."""


def _means(config: Layer, shape: tuple[Size, ...]) -> Iterator[tuple[NumberKind, Expression | None]]:
    for given in _GIVEN:
        made: Meaning = config.means(shape, given)
        is_kept = not is_symbolic((made.width,)) and made.width in (given.width, 0)
        yield made.kind, None if is_kept else expression_of(made.width)


def _checks(name: str, fields: tuple[ValueField, ...], covered: CoveredLayer) -> Iterator[SizeCheck]:
    """Yield the fields that are compared with the size of an axis, found by one that is wrong."""
    for number, f in enumerate(fields):
        if f.name in covered.leaves or not isinstance(f.rule, Whole) or f.default is not None:
            continue
        symbols, reading = Symbols(0), Reading()
        needed = {
            each.name: symbols.size(each.name)
            for each in fields
            if isinstance(each.rule, Whole) and each.default is MISSING
        }
        first = {
            each.name: next(iter(each.rule.members))
            for each in fields
            if isinstance(each.rule, Choice) and each.default is MISSING
        }
        shape = _sample(symbols, 2)
        given: dict[str, Any] = {**needed, **first, f.name: 7}
        config = LAYERS[name](**given)
        config.infer(shape, Place(reading))
        (problem,) = reading.problems
        met = int(problem.expected.split(",")[0].split("=")[0])
        axis = next(n for n, size in enumerate(shape) if size == met)
        assert problem.path == f"$.{f.name}", problem
        yield SizeCheck(number, ("symbol", symbol_of_axis(axis - 2 if axis else 0)), problem.what)


def choices_of(rule: Choice) -> list[str]:
    """Return the names that a rule knows."""
    members: type[enum.Enum] = rule.members
    return [str(m.value) for m in members]
