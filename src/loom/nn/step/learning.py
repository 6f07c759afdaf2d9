"""A tick that learns: ticks, loss, the gradient of what the ticks computed, and the update, as one program.

Layer: nn. The same record is compiled here and written down by ``loom.export.freeze_program``. Invariant: a tick whose
loss or gradient is NaN or infinite moves the buffers and no weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.dtype import DType, f64, i32
from loom.core.errors import ArgumentError, ShapeError
from loom.core.late.dataclass import dataclass
from loom.nn.spec import Shape
from loom.nn.step.gradients import Gradients, record_gradient_then, spread
from loom.nn.step.programs import StepPrograms
from loom.nn.step.record import Tick
from loom.nn.train.config import TrainConfig
from loom.nn.train.losses import CHANCE_LOSSES, Loss
from loom.nn.train.optimizers import Optimizer, number_type, optimizer_of
from loom.nn.train.samples import WHOLE, by_name, check_inputs, for_each, numbers
from loom.nn.train.scalars import real
from loom.nn.train.targets import Losses, fit_all_targets, outputs_of
from loom.nn.train.updates import Pairs, as_type_of, next_values, wide
from loom.tensor import Tensor

__all__ = ["Lesson", "ends_of", "input_names", "read_lesson", "read_optimizer", "read_rate", "record_learning",
           "record_plain"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learned: for each output a loss, and the targets' shape and type; and who moves the weights."""

    losses: tuple[Loss, ...]
    targets: tuple[tuple[Shape, DType], ...]
    optimizer: Optimizer


def read_lesson(
    programs: StepPrograms, y: Any, loss: Losses, optimizer: Optimizer, where: str
) -> tuple[Lesson, dict[str, Array]]:
    """Return what a tick learns from targets ``y``, and the targets as it is fed them."""
    outputs = outputs_of(programs.wiring.spec)
    names = tuple(outputs)
    told, targets = fit_all_targets(outputs, y, loss, f"{where}, y")
    meant = {n: o.gives_probabilities for n, o in outputs.items()}
    several = names if len(names) > 1 else ()
    config = TrainConfig(loss=told, probabilities=meant if several else next(iter(meant.values())))
    given, losses = by_name(targets, names, where, "y"), for_each(told, names)
    feeds: dict[str, Array] = {}
    kinds: list[tuple[Shape, DType]] = []
    for name, feed in zip(names, input_names(len(names), "t"), strict=True):
        found = numbers(given[name], where, "y")
        of_classes = isinstance(losses[name], str) and losses[name] in CHANCE_LOSSES
        dtype = i32 if of_classes and found.dtype.kind in WHOLE else programs.model.result_type
        feeds[feed] = check_inputs(found, dtype, where, "y")
        if len(found) != programs.batch:
            raise ShapeError(f"{where}, y", "not a target for each sample", expected=programs.batch, got=len(found),
                             remedy="One target for each sample of the state")  # fmt: skip
        kinds.append((found.shape, dtype))
    return Lesson(tuple(config.loss_functions(several)), tuple(kinds), optimizer), feeds


def read_optimizer(optimizer: Any, where: str) -> Optimizer:
    """Return an optimiser, given as one or by name; ArgumentError for anything else."""
    chosen = optimizer_of(optimizer) if isinstance(optimizer, str) else optimizer
    if not isinstance(chosen, Optimizer):
        raise ArgumentError(f"{where}, optimizer", "not an optimiser", expected="a name, or one of loom.nn.train",
                            got=repr(optimizer)[:200], remedy='Pass for example "adam"')  # fmt: skip
    return chosen


def read_rate(programs: StepPrograms, rate: Any, where: str) -> Array:
    """Return a learning rate as updates are fed it; ArgumentError for one that their type does not hold."""
    dtype = number_type(programs.model.parameters)
    most = 1e300 if dtype == f64 else 1e38
    return np.asarray(real(f"{where}, learning_rate", rate, below=most), dtype.numpy)


def ends_of(recorded: tuple[dict[str, Tensor], Pairs]) -> tuple[list[Tensor], Pairs]:
    """Return outputs without their names, and updates."""
    return list(recorded[0].values()), recorded[1]


def input_names(count: int, letter: str) -> list[str]:
    """Return what programs call so many inputs or outputs: x, or x0, x1, ...

    >>> input_names(1, "x"), input_names(2, "y")
    (['x'], ['y0', 'y1'])
    """
    return [letter] if count == 1 else [f"{letter}{i}" for i in range(count)]


def _begin(programs: StepPrograms, *, fed: bool) -> tuple[dict[str, Tensor], Tick, Pairs]:
    """Record a tick: what it reads, its inputs from the buffers or ``fed``, what it makes, and what it changes."""
    wiring = programs.wiring
    buffers, moved = dict(programs.tensors), list[tuple[Tensor, Tensor]]()
    for i, name in zip(wiring.inputs, input_names(len(wiring.inputs), "x"), strict=True) if fed else ():
        buffers[i] = tensor.input(name, programs.tensors[i].shape, programs.tensors[i].dtype)
        moved.append((programs.tensors[i], buffers[i]))
    made = programs.make_tick(wiring.nodes, buffers)
    _wait(programs, made)
    return buffers, made, [*moved, *programs.pairs_of(made, buffers)]


def _wait(programs: StepPrograms, made: Tick) -> None:
    """Have nodes that carry state wait for the tick at which their first input is there."""
    for name, keys in programs.wiring.carried.items():
        first = programs.wiring.delays[name] - 1
        for key in (name, *keys) if first else ():
            found = made.made if key == name else made.carried
            found[key] = tensor.where(programs.number >= first, found[key], programs.tensors[key])


def record_plain(programs: StepPrograms) -> tuple[dict[str, Tensor], Pairs]:
    """Return the outputs of a tick whose inputs are fed, by the names y or y0, y1, .., and its updates."""
    _, made, updates = _begin(programs, fed=True)
    outputs = programs.wiring.spec.outputs
    return dict(zip(input_names(len(outputs), "y"), (made.made[n] for n in outputs), strict=True)), updates


def record_learning(programs: StepPrograms, lesson: Lesson, *, fed: bool) -> tuple[dict[str, Tensor], Pairs]:
    """Return the outputs of a tick that learns (the last is ``loss``; of one that is not ``fed`` a number follows that
    is 0 if all gradients are finite, else NaN) and its updates.

    It is fed the targets t and ``rate``, and, if its inputs are ``fed``, x; of several x0, x1, .., t0, t1, ...
    """
    buffers, made, updates = _begin(programs, fed=fed)
    names = programs.wiring.spec.outputs
    shown = {n: made.made[n] for n in names}
    targets = [tensor.input(n, shape, dtype)
               for n, (shape, dtype) in zip(input_names(len(names), "t"), lesson.targets, strict=True)]  # fmt: skip
    losses = [f(wide(x), t) for f, x, t in zip(lesson.losses, shown.values(), targets, strict=True)]
    loss = reduce(lambda a, b: a + b, [as_type_of(each, losses[0]) for each in losses])
    given = dict(zip(names, tensor.grad(loss, list(shown.values())), strict=True))
    found = _gradients(programs, made, buffers, given)
    rate = tensor.input("rate", (), number_type(programs.trained))
    moves = next_values(lesson.optimizer, programs.trained, found.weights, programs.state_of(lesson.optimizer), rate,
                        programs.model.learning_rates)  # fmt: skip
    away = spread(found.weights)
    is_sound = ((loss - loss) + as_type_of(away, loss)) == 0
    updates += [(old, tensor.where(is_sound, new, old)) for old, new in moves]
    made_names = input_names(len(names), "y")
    ends = {**dict(zip(made_names, shown.values(), strict=True)), "loss": loss}
    return ends if fed else {**ends, "spread": away}, updates


def _gradients(
    programs: StepPrograms, made: Tick, buffers: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> Gradients:
    """Record the gradients right after a tick, in the way of the state."""
    number = programs.number + 1
    if programs.gradient != "true":
        return programs.record_now(given, {**buffers, **made.made, **made.carried}, number)
    history = {**programs.history, **programs.next_history(buffers)}
    return record_gradient_then(programs.model, programs.wiring, programs.trained, history, given, number,
                                programs.horizon, training=programs.training, begins=True)  # fmt: skip
