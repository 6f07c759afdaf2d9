"""``TrainableGraph``: the base of models that are imported as graphs over weights.

Layer: importers. Who imports says how the graph is recorded; everything else is as of ``loom.Network``: training by
``nn.train``, measures. Invariant: the bits of weights after a training depend on graph, weights, data and settings
alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from loom.core.errors import ArgumentError
from loom.core.given import flag
from loom.importers.runnable import RunnableGraph
from loom.importers.trainingtasks import Task, config_of_task, outputs_to_train, read_task, trainer_for
from loom.nn.spec import Snapshot
from loom.nn.train.config import TrainConfig
from loom.nn.train.loop.history import History
from loom.nn.train.loop.progress import show_progress
from loom.nn.train.loop.trainer import Trainer
from loom.nn.train.optimizers import Optimizer
from loom.nn.train.schedules import Schedule

__all__ = ["TrainableGraph"]


class TrainableGraph(RunnableGraph):
    """A graph that is trained. ``training``: where the last training stopped."""

    training: Snapshot | None = None
    _trainer: Trainer | None = None
    _batches: tuple[Any, ...] | None = None
    """What ``train_batch`` was told last, if nothing else was trained or loaded since."""

    def train(
        self, x: Any, y: Any, *, validation: tuple[Any, Any] | None = None, optimizer: str | Optimizer = "sgd",
        schedule: str | Schedule | None = None, resume: bool = False, progress: bool | None = None, **settings: Any,
    ) -> History:  # fmt: skip
        """Train with samples ``x`` (n, ...) and targets ``y`` (n, ...); return the history.

        Of several inputs ``x`` is a mapping by name or a list; of several outputs ``y`` is a mapping by name, of those
        that are trained on. ``settings`` are those of ``TrainConfig`` (``loss``, ``learning_rate``, ``epochs``,
        ``batch_size``, ``clip_norm``, ...). Without ``loss``: cross-entropy of logits for classes and one-hot rows,
        else the mean squared error; ``loss="nll"`` of logarithms of probabilities. ``probabilities``: True for an
        output of probabilities, "independent" for chances of their own, where the graph does not tell and the loss is
        one that takes them for something else than logits.

        Args:
            x: Samples (n, ...), of several inputs a mapping by name or a list.
            y: Targets (n, ...), of several outputs a mapping by name, of those that are trained on.
            validation: Pair of samples and targets that are measured after each epoch; None: none.
            optimizer: Name of an optimiser, or one with settings.
            schedule: Name of a schedule of learning rates, or one with settings; None: the rate stays.
            resume: Whether it goes on, up to ``epochs`` in all, from the folder ``checkpoint`` or where the last
                training stopped.
            progress: Whether a bar is drawn; None: on a terminal or in a notebook.
            **settings: Settings of ``loom.nn.train.TrainConfig``, ``loss`` and ``probabilities`` among them.

        Returns:
            ``History``: losses, rates and measures of each epoch.

        Raises:
            ArgumentError: A setting is unknown, unusable or has no effect; names are not those of inputs or outputs;
                targets that do not fit; the graph cannot be trained.
            DTypeError: Not numbers, or not of the kind needed.
            ShapeError: Samples and targets differ in number, or from the shapes of the model.
            EmptyError: No samples.
            NotFinite: NaN or an infinity among the samples, or met in training.
            StateError: Another training is under way.
        """
        with self.alone(f"{self.where}.train"):
            return self.train_alone(x, y, validation, (optimizer, schedule, resume, progress), settings)

    def train_alone(
        self, x: Any, y: Any, validation: Any, how: tuple[Any, Any, bool, bool | None], settings: Mapping[str, Any]
    ) -> History:
        """Train, as ``train`` does, within ``alone``; ``how``: optimizer, schedule, resume, progress."""
        where, (optimizer, schedule, resume, progress) = f"{self.where}.train", how
        resume = flag(resume, f"{where}, resume")
        task, config, trainer = self._trainer_of(x, y, optimizer, schedule, settings, where)
        held_out = None
        if validation is not None:
            if not (isinstance(validation, (tuple, list)) and len(cast("Sequence[Any]", validation)) == 2):
                raise ArgumentError(f"{where}, validation", "not samples and their targets",
                                    expected="a pair (x, y)", got=type(cast("Any", validation)).__name__,
                                    remedy="Hold some out and pass validation=(x, y)")  # fmt: skip
            held_out = self._read_validation(
                *cast("tuple[Any, Any]", validation), task, settings, f"{where}, validation"
            )
        self._batches = None
        start = self.training if resume and config.checkpoint is None and self.training is not None else resume
        try:
            with show_progress(progress) as report:
                return trainer.fit(self._plain(task.given), task.targets, held_out, resume=start, report=report)
        finally:
            if trainer.has_run:
                self.training = trainer.kept

    def _read_validation(self, x: Any, y: Any, task: Task, settings: Mapping[str, Any], where: str) -> tuple[Any, Any]:
        """Return samples and targets for validation, of the inputs and outputs of a task."""
        names = outputs_to_train(self, y, where)
        if tuple(names) != task.outputs:
            raise ArgumentError(where, "targets of other outputs than are trained", expected=", ".join(task.outputs),
                                got=", ".join(names), remedy="Pass targets of the same outputs")  # fmt: skip
        other = read_task(self, x, y, task.loss, settings.get("probabilities"), where)
        return self._plain({n: other.given[n] for n in task.given}), other.targets

    def train_batch(
        self, x: Any, y: Any, *, optimizer: str | Optimizer = "sgd", schedule: str | Schedule | None = None,
        **settings: Any,
    ) -> float:  # fmt: skip
        """Make one update of one batch and return its loss; the next call with these settings goes on from there.

        What the optimiser keeps begins anew after other settings, other
        weights or a ``train``.

        Args:
            x: Samples (n, ...), of several inputs a mapping by name or a list.
            y: Targets (n, ...), of several outputs a mapping by name, of those that are trained on.
            optimizer: Name of an optimiser, or one with settings.
            schedule: Name of a schedule of learning rates, or one with settings; None: the rate stays.
            **settings: Settings of ``loom.nn.train.TrainConfig``, ``loss`` and ``probabilities`` among them.

        Returns:
            Loss of the batch.

        Raises:
            ArgumentError: A setting is unknown, unusable or has no effect; names are not those of inputs or outputs;
                targets that do not fit; the graph cannot be trained.
            DTypeError: Not numbers, or not of the kind needed.
            ShapeError: Samples and targets differ in number, or from the shapes of the model.
            EmptyError: No samples.
            NotFinite: NaN or an infinity among the samples, or met in training.
            StateError: Another training is under way.
        """
        where = f"{self.where}.train_batch"
        with self.alone(where):
            task, config, trainer = self._trainer_of(x, y, optimizer, schedule, settings, where, self._batches)
            self._batches = self._likes(config, task)
            return trainer.train_batch(self._plain(task.given), task.targets)

    def _trainer_of(
        self, x: Any, y: Any, optimizer: Any, schedule: Any, settings: Mapping[str, Any], where: str, same: Any = None
    ) -> tuple[Task, TrainConfig, Trainer]:
        """Return what is trained, how, and by whom: the trainer there is, if the settings are the ``same``."""
        task = read_task(self, x, y, settings.get("loss"), settings.get("probabilities"), where)
        config = config_of_task(self, task, optimizer, schedule, settings, where)
        if same != self._likes(config, task) or self._trainer is None:
            self._trainer = trainer_for(self, config, task, self._trainer)
        return task, config, self._trainer

    def _likes(self, config: TrainConfig, task: Task) -> tuple[Any, ...]:
        return config, task.outputs, self.mode, task.facts.unused, task.facts.reached

    def _plain(self, given: Mapping[str, Any]) -> Any:
        return given if len(given) > 1 else next(iter(given.values()))
