"""Losses and optimisers as tables: templates, the options that choose one, and which loss a name means.

Layer: export. Invariant: a loss is that of ``nn.train.losses``, an update that of ``nn.train.updates``; a step whose
loss is not finite changes nothing, as in ``nn.train.programs``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from loom import tensor
from loom.core.dtype import f32, i32
from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.export.library.layervariants import MOST_AXES, VariantOption
from loom.export.library.recordtemplates import Symbols, Template, record_template, symbol_of_axis
from loom.nn.base.random import normal_pair
from loom.nn.spec.base.meaning import INDEPENDENT, NEITHER, NUMBERS, NumberKind, probabilities
from loom.nn.train.losses import CHANCE_LOSSES, LOSSES, NEXT_TOKEN, loss_of
from loom.nn.train.optimizers import OPTIMIZERS, Optimizer
from loom.nn.train.targets import Output, interpret_loss
from loom.nn.train.updates import next_values
from loom.tensor import Tensor

__all__ = [
    "KINDS",
    "LOSS_NAMES",
    "LossTemplate",
    "OptimizerRow",
    "loss_meanings",
    "loss_templates",
    "normal_template",
    "optimizer_rows",
]

LOSS_NAMES = (*(name for name in LOSSES if name != "nll"), NEXT_TOKEN)
"""Losses of networks; ``nll`` has no meaning for their outputs."""
KINDS = tuple(NumberKind)
_OF_KIND = {
    NumberKind.NUMBERS: NUMBERS,
    NumberKind.INDEPENDENT: INDEPENDENT,
    NumberKind.NEITHER: NEITHER,
}


@dataclass(frozen=True, slots=True)
class LossTemplate:
    """A loss of an output of ``axes`` axes, of probabilities or not, of targets that are ``classes`` or numbers."""

    loss: int
    probabilities: bool
    classes: bool
    axes: int
    template: Template


@dataclass(frozen=True, slots=True)
class OptimizerRow:
    """An optimiser: its settings with their defaults, those that choose a template, and the templates.

    Templates go by options, the last fastest, then by whether a weight decays. ``kept`` and ``powers``, by options: how
    many arrays and powers there are.
    """

    name: str
    settings: tuple[tuple[str, float], ...]
    options: tuple[VariantOption, ...]
    templates: tuple[Template | None, ...]


def loss_templates() -> Iterator[LossTemplate]:
    """Yield the losses in all their forms."""
    for number, name in enumerate(LOSS_NAMES):
        for of_probabilities, classes, axes in itertools.product((False, True), (False, True), range(MOST_AXES + 1)):
            if (classes and (name not in CHANCE_LOSSES or not axes)) or (name == NEXT_TOKEN and not classes):
                continue
            if not axes and name in CHANCE_LOSSES:
                continue
            where = f"{name} of {axes} axes, {'classes' if classes else 'numbers'}"
            made = record_template(_recorder_of_loss(name, of_probabilities, classes, axes), where)
            yield LossTemplate(number, of_probabilities, classes, axes, made)


def _recorder_of_loss(name: str, of_probabilities: bool, classes: bool, axes: int) -> Any:
    def record(symbols: Symbols) -> dict[str, Tensor]:
        shape = (symbols.batch(), *(symbols.size(symbol_of_axis(axis)) for axis in range(axes)))
        x = tensor.input("x", shape)
        target = tensor.input("target", shape[:-1], i32) if classes else tensor.input("target", shape)
        loss = loss_of(name, probabilities=of_probabilities)(x, target)
        return {"y": loss, "x": tensor.grad(loss, [x])[0]}

    return record


def normal_template() -> Template:
    """Return what makes pairs of normal numbers of the upper bits of words: first weights."""

    def record(symbols: Symbols) -> dict[str, Tensor]:
        shape = (symbols.size(symbol_of_axis(0)),)
        cosine, sine = normal_pair(tensor.input("x", shape), tensor.input("target", shape))
        return {"y": cosine, "x": sine}

    return record_template(record, "normal numbers")


def loss_meanings() -> list[int]:
    """Return the number of the loss that is meant, -1 for none: by name, kind of output, whether it is a single number,
    and whether distributions are as wide as the last axis."""
    return [
        _number_of_loss(name, kind, single=single, fits=fits)
        for name in LOSS_NAMES
        for kind in KINDS
        for single in (False, True)
        for fits in (False, True)
    ]


def _number_of_loss(name: str, kind: NumberKind, *, single: bool, fits: bool) -> int:
    last = 1 if single else 6
    meaning = _OF_KIND.get(kind, probabilities(last if fits else last + 1))
    try:
        return LOSS_NAMES.index(interpret_loss(name, Output((last,), meaning), "train, y"))
    except ArgumentError:
        return -1


def optimizer_rows() -> list[OptimizerRow]:
    """Return the optimisers."""
    return [_optimizer(name, kind) for name, kind in OPTIMIZERS.items()]


_ZERO_IS_NONE = ("momentum", "dampening", "weight_decay")
"""Settings of which 0 is none: another expression."""


def _optimizer(name: str, kind: type[Optimizer]) -> OptimizerRow:
    plain = kind()
    settings = tuple((f.name, float(getattr(plain, f.name))) for f in fields(kind) if f.name != "decay_all")
    options: list[VariantOption] = []
    for number, (setting, _) in enumerate(settings):
        if isinstance(getattr(plain, setting), bool):
            options.append(VariantOption(number))
        elif setting in _ZERO_IS_NONE:
            options.append(VariantOption(number, (), (0.0,)))
    made: list[Template | None] = []
    for chosen in itertools.product(*(range(option.count) for option in options)):
        for decays in (False, True):
            made.append(_template_of(name, kind, settings, options, chosen, decays))
    return OptimizerRow(name, settings, tuple(options), tuple(made))


def _template_of(
    name: str, kind: type[Optimizer], settings: Any, options: list[VariantOption], chosen: tuple[int, ...], decays: bool
) -> Template | None:
    """Return the template of an update; None of settings that have no effect together."""

    def make(symbols: Symbols) -> Optimizer:
        known = {
            settings[o.field][0]: (bool(c) if not o.special else 0.0)
            for o, c in zip(options, chosen, strict=True)
            if not o.special or c == 0
        }
        floats = [n for n, (setting, _) in enumerate(settings) if setting not in known]
        told = {settings[n][0]: symbols.setting(f"field.{n}") for n in floats}
        given: dict[str, Any] = {**known, **{setting: float(value) for setting, value in told.items()}}
        optimizer = kind(**given)
        for setting, value in told.items():  # which the checks made plain
            object.__setattr__(optimizer, setting, value)
        return optimizer

    try:
        make(Symbols(0))
    except ArgumentError:
        return None
    return record_template(lambda symbols: _record_update(make(symbols), symbols, decays), name)


def _record_update(optimizer: Optimizer, symbols: Symbols, decays: bool) -> dict[str, Tensor]:
    """Record the new values of a weight, one axis of all its elements or, where it decays, two of which one is 1."""
    shape = (symbols.size(symbol_of_axis(0)), *((symbols.size(symbol_of_axis(1)),) * decays))
    w, gradient = tensor.input("x", shape), tensor.input("gradient", shape)
    rate, loss = tensor.input("rate", (), f32), tensor.input("loss", (), f32)
    state = {f"{key}.w": tensor.input(f"kept.{n}", shape) for n, key in enumerate(optimizer.kept)}
    state |= {f"power.{key}": tensor.input(f"power.{n}", (), f32) for n, key in enumerate(optimizer.powers)}
    names = {id(w): "y"} | {id(each): each.name for each in state.values()}
    pairs = next_values(optimizer, {"w": w}, {"w": gradient}, state, rate, {})
    is_sound = tensor.isfinite(loss)
    found = {names[id(old)]: tensor.where(is_sound, new, old) for old, new in pairs}
    return {"y": found["y"]} | {name: end for name, end in sorted(found.items()) if name != "y"}
