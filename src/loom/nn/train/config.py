"""What a training is told: loss, optimiser, rate, batches, when to stop, where to keep checkpoints.

Layer: nn. Invariant: two trainings of equal configs, data and starting weights give the same bits on every device.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, cast

from loom.core.errors import ArgumentError
from loom.core.given import is_mapping
from loom.core.late.dataclass import dataclass
from loom.kernels.precisions import check_precision
from loom.nn.train.losses import Loss, loss_of
from loom.nn.train.lossscale import compute_name, start_of_scale
from loom.nn.train.optimizers import SGD, Optimizer
from loom.nn.train.scalars import flag, real, whole
from loom.nn.train.schedules import Schedule

__all__ = ["TrainConfig"]

_OPTIONAL = ("micro_batch", "patience", "budget_nbytes", "clip_value", "clip_norm", "evaluate_every")
_LEAST_CLIP = 2.0**-126
"""The least normal f32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Settings of a training.

    ``loss``: a name of ``LOSSES`` or a function of output and target; ``probabilities``: the output is not logits. Of
    several outputs both are mappings by the outputs' names, and training makes the sum of the losses small.
    ``schedule`` gives the rate of each update, in place of the constant ``learning_rate``. ``accumulate``: batches
    whose gradients make one update, weighted by their samples. ``micro_batch``: samples of the micro-batches that each
    batch is cut into, whose gradients are added by a fixed tree (docs/numerics.md, section 5); None: a batch is one.
    Gradients are clipped element by element to ``clip_value``, then scaled so that the norm of all is at most
    ``clip_norm``. ``patience``: training stops after so many epochs in a row (0: after one) whose
    loss, of validation, else of training, is not lower by more than ``least_gain`` than the best, whose weights are put
    back. ``checkpoint``: a folder, written
    every ``checkpoint_every`` epochs, at the end, and at Ctrl-C. ``budget_nbytes``: the most memory for weights, state
    and programs. ``evaluate_every``: epochs after which all measures of the validation samples are kept in
    ``History.evaluations``. ``compute``: ``"f16"`` or ``"bf16"``, in which layers are then computed, forward and
    backward, while weights, losses and the optimiser stay f32 (mixed precision, of networks of f32); in f16 steps whose
    gradients are too large are skipped and the loss scale is halved, which begins as ``loss_scale``, a power of two.
    ``precision``: that of all products of layers, forward and backward ("full", "x12", "q8", "q12" or "q24", as of
    ``loom.precision``), None for the document's.

    Args:
        loss: Name of ``LOSSES``, or a function of output and target; of several outputs a mapping by name, and the sum
            of the losses is made small.
        probabilities: Whether the output is of probabilities, not of logits; of several outputs a mapping by name.
        optimizer: Optimiser, as ``Adam()``.
        learning_rate: Rate of each update.
        schedule: Schedule of the rates, in place of ``learning_rate``; None: none.
        epochs: Times that all samples are met.
        batch_size: Samples of a batch.
        accumulate: Batches whose gradients make one update, weighted by their samples.
        micro_batch: Samples of the micro-batches that each batch is cut into, whose gradients are added by a fixed tree
            (docs/numerics.md, section 5); None: a batch is one.
        shuffle: Whether samples are met in an order drawn by ``seed``, another each epoch.
        seed: Seed of orders, dropout and noise.
        clip_value: Most that an element of a gradient may be; None: no limit.
        clip_norm: Most that the norm of all gradients may be, clipped after ``clip_value``; None: no limit.
        patience: Epochs in a row (0: one) without a loss, of validation, else of training, lower by more than
            ``least_gain`` than the best, after which training stops and the best weights are put back; None: all epochs
            are done.
        least_gain: Gain that counts for ``patience``.
        checkpoint: Folder, written every ``checkpoint_every`` epochs, at the end, and at Ctrl-C; None: none.
        checkpoint_every: Epochs between two checkpoints.
        budget_nbytes: Most memory for weights, state and programs; None: no limit.
        evaluate_every: Epochs after which all measures of the validation samples are kept in ``History.evaluations``;
            None: none are.
        compute: "f16" or "bf16", in which layers are computed, forward and backward, while weights, losses and the
            optimiser stay f32 (mixed precision, of networks of f32); in f16 steps whose gradients are too large are
            skipped and the loss scale is halved; None: the network's type.
        precision: Precision of all products of layers, forward and backward ("full", "x12", "q8", "q12" or "q24", as of
            ``loom.precision``); None: the document's.
        loss_scale: Scale that f16 begins with, a power of two; None: the default.

    Raises:
        ArgumentError: A setting is unusable, or has no effect alone; there is no such loss.
    """

    loss: str | Loss | Mapping[str, str | Loss] = "mse"
    probabilities: bool | Mapping[str, bool] = False
    optimizer: Optimizer = field(default_factory=SGD)
    learning_rate: float = 0.01
    schedule: Schedule | None = None
    epochs: int = 1
    batch_size: int = 32
    accumulate: int = 1
    micro_batch: int | None = None
    shuffle: bool = True
    seed: int = 0
    clip_value: float | None = None
    clip_norm: float | None = None
    patience: int | None = None
    least_gain: float = 0.0
    checkpoint: str | Path | None = None
    checkpoint_every: int = 1
    budget_nbytes: int | None = None
    evaluate_every: int | None = None
    compute: str | None = None
    precision: str | None = None
    loss_scale: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("accumulate", 1), ("micro_batch", 1),
                            ("checkpoint_every", 1), ("seed", 0), ("patience", 0),
                            ("budget_nbytes", 1), ("evaluate_every", 1)):  # fmt: skip
            if getattr(self, name) is not None or name not in _OPTIONAL:
                most = (1 << 64) - 1 if name == "seed" else sys.float_info.max
                self._keep(name, whole(f"train, {name}", getattr(self, name), least=least, most=most))
        for name, least in (("learning_rate", 0.0), ("least_gain", 0.0), ("clip_value", _LEAST_CLIP),
                            ("clip_norm", _LEAST_CLIP)):  # fmt: skip
            if getattr(self, name) is not None or name not in _OPTIONAL:
                self._keep(name, real(f"train, {name}", getattr(self, name), least=least))
        self._keep("shuffle", flag("train, shuffle", self.shuffle))
        for name, default, needed in (("least_gain", 0, "patience"), ("checkpoint_every", 1, "checkpoint")):
            if getattr(self, name) != default and getattr(self, needed) is None:
                raise ArgumentError(f"train, {name}", "has no effect alone", expected=f"{needed}=... as well",
                                    got=f"no {needed}", remedy=f"Pass {needed}, or leave {name} out")  # fmt: skip
        self._keep("compute", compute_name(self.compute))
        start_of_scale(self.loss_scale, self.compute)
        check_precision(self.precision, None, "train")
        _require_kind("optimizer", self.optimizer, Optimizer, "an optimiser, for example Adam()")
        _require_kind(
            "schedule", self.schedule, (Schedule, type(None)), "a schedule, for example Cosine(0.1, steps=100)"
        )
        _require_kind("checkpoint", self.checkpoint, (str, Path, type(None)), "the path of a folder")
        if self.checkpoint == "":
            raise ArgumentError("train, checkpoint", "not usable", expected="the path of a folder", got="''",
                                remedy="Name a folder, '.' for the one at hand, or leave it out")  # fmt: skip
        self.loss_functions(tuple(self.loss) if is_mapping(self.loss) else ())

    def _keep(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def first_loss_scale(self) -> float | None:
        """The loss scale that a training in f16 begins with, else None."""
        return start_of_scale(self.loss_scale, self.compute)

    def loss_functions(self, outputs: Sequence[str] = ()) -> list[Loss]:
        """Return the functions of the losses of outputs.

        Args:
            outputs: Names of several outputs; none: of the only one.

        Raises:
            ArgumentError: No loss is called so.
        """
        found: list[Loss] = []
        for name in outputs or ("",):
            loss: Any = self.loss[name] if is_mapping(self.loss) else self.loss
            given = self.probabilities
            of: Any = given.get(name, False) if is_mapping(given) else given
            if not callable(loss):
                _require_kind("loss", loss, str, "a name, or a function of output and target")
            found.append(loss_of(loss, probabilities=of) if isinstance(loss, str) else cast("Loss", loss))
        return found

    def facts(self) -> dict[str, str]:
        """Return what a training must have in common with the one it resumes, as texts."""
        names = ("loss", "probabilities", "optimizer", "learning_rate", "schedule", "batch_size", "accumulate",
                 "shuffle", "seed", "clip_value", "clip_norm", "patience", "least_gain")  # fmt: skip
        found = {name: repr(getattr(self, name)) for name in names}
        if self.compute is not None:  # trainings kept before it could be told go on
            found |= {"compute": self.compute, "loss_scale": repr(self.first_loss_scale)}
        if self.precision is not None:
            found["precision"] = self.precision
        if self.micro_batch is not None:
            found["micro_batch"] = repr(self.micro_batch)
        loss = _name_of(self.loss)
        found["loss"] = loss if callable(self.loss) else repr(loss)
        return found


def _name_of(loss: Any) -> Any:
    """Return losses by their names, functions by theirs."""
    if is_mapping(loss):
        return {name: _name_of(each) for name, each in loss.items()}
    return loss if isinstance(loss, str) else getattr(loss, "__name__", "a function")


def _require_kind(name: str, value: object, kinds: type | tuple[type, ...], expected: str) -> None:
    if not isinstance(value, kinds):
        raise ArgumentError(f"train, {name}", "not usable", expected=expected, got=repr(value), remedy="Correct it")
