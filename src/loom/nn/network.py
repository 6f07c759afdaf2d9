"""``loom.Network``: a network of a JSON document: run, trained, measured, saved and loaded.

Layer: nn, its door. Invariant: every way of running it is the same recorded programs; the digest of its weights after
a training depends on document, data and settings alone.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import warn

import numpy as np

from loom import tensor
from loom.core.conversions import show
from loom.core.dtype import DType, bf16
from loom.core.errors import ArgumentError, ShapeError, near_matches
from loom.core.given import path as path_of
from loom.nn.elsewhere import called_here, of_network
from loom.nn.layers.scale import learn_scaling
from loom.nn.model import Model
from loom.nn.persistence import (
    SAFETENSORS,
    of_elsewhere,
    read_model,
    read_safetensors,
    write_file,
    write_models,
    write_older,
    write_safetensors,
)
from loom.nn.room import no_room, require_room
from loom.nn.spec import NetworkSpec, SavedModel, Snapshot, convert, read_bundle
from loom.nn.tensorfile import is_safetensors
from loom.nn.torchnames import Names
from loom.nn.train.config import TrainConfig
from loom.nn.train.history import History
from loom.nn.train.losses import Loss
from loom.nn.train.measures import Evaluation, classes_said, confusion_of, deviation_metrics
from loom.nn.train.optimizers import Optimizer, optimizer_of
from loom.nn.train.progress import shown_progress
from loom.nn.train.samples import batches, checked_inputs, checked_samples, named, numbers
from loom.nn.train.scalars import flag
from loom.nn.train.schedules import Schedule, schedule_of
from loom.nn.train.targets import Losses, fitted_all, outputs_of
from loom.nn.train.trainer import Trainer
from loom.runtime.device import Device

__all__ = ["Network"]

Array = np.ndarray[Any, Any]
Document = str | bytes | dict[str, Any] | Path

_EVALUATED_AT_ONCE = 256
_OWN_SETTINGS = ("validation", "resume", "progress")
"""Those that ``train`` has besides ``TrainConfig``'s."""


class Network:
    """A network with weights on a device.

    ``spec``: what its document says; ``model``: its recorded form; ``warnings``: what a conversion from an older
    format changed; ``training``: where its last training stopped, which ``train(..., resume=True)`` goes on from.

    Several threads may use one: each gets the answer to its own question, of one state of the weights. While one
    trains, the others' calls run between two of its steps; a second training, or other weights, are a StateError.

    >>> net = Network.from_json({"format": "loom/1", "input": {"shape": [2]}, "layers": [
    ...     {"type": "dense", "output_size": 3}]})
    >>> net.forward([[1.0, 2.0]]).shape
    (1, 3)
    """

    def __init__(self, spec: NetworkSpec, *, on: str | Device | None = None, warnings: tuple[str, ...] = ()) -> None:
        require_room(spec)
        self.spec = spec
        try:
            self.model = Model(spec, on)
        except MemoryError:
            raise no_room("memory for all of them", "a refusal of the system while they were drawn") from None
        self.warnings = warnings
        self.outputs = outputs_of(spec)
        self.training: Snapshot | None = None
        self._trainer: Trainer | None = None

    @classmethod
    def from_json(cls, document: Document, *, on: str | Device | None = None) -> Network:
        """Return a network with starting weights drawn by its seed.

        ``document``: JSON text, bytes, a dict or a Path, of ``loom/1`` or an older generation. ``on``: the device.
        SpecError lists every problem; what a conversion changed is shown as a ``UserWarning``, and in ``warnings``.
        """
        found = convert(document)
        net = cls(found.network, on=on, warnings=tuple(found.warnings))
        net._warn()
        return net

    if not TYPE_CHECKING:  # type checkers would take every name for an attribute

        def __getattr__(self, name: str) -> Any:
            """Tell what a name of another library is called here."""
            raise AttributeError(of_network(name, [n for n in dir(type(self)) if n[0] != "_"]), name=name, obj=self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Have ``pickle`` and ``copy`` make a network of its own: with the weights, and where its training stopped."""
        return _remade, (type(self), self.save(), self.model.device.name, self.warnings)

    def __repr__(self) -> str:
        """Return what it is called, of what shapes, and where it runs."""
        shapes = ", ".join(str(i.shape) for i in self.spec.inputs)
        made = ", ".join(str(o.shape) for o in self.outputs.values())
        return f"<loom.Network {self.spec.name!r}: {shapes} to {made}, on {self.model.device.name}>"

    def _warn(self) -> None:
        """Show what a conversion changed to who called the function that calls this."""
        for text in self.warnings:
            warn(f"loom.Network: {text}", UserWarning, stacklevel=3)

    @classmethod
    def load(cls, source: Document, id: str | None = None, *, on: str | Device | None = None) -> Network:  # noqa: A002
        """Return a network with its weights: of a bundle (file, text, bytes, dict), or of a .safetensors (file, bytes).

        ``id`` names one of several models. A text that does not begin with ``{`` is a file's name. FileError for a
        file that cannot be read, SpecError and ArgumentError for what is no model. Warns as ``from_json`` does.
        """
        source = _as_document(source)
        is_file = isinstance(source, Path) and source.suffix == SAFETENSORS
        if is_file or (isinstance(source, bytes) and is_safetensors(source)):
            assert isinstance(source, (Path, bytes))
            _require_no_id(id, None, "loom.Network.load, id")
            return cls._loaded(read_safetensors(source), on)
        net = cls._loaded(read_model(source, id), on)
        net._warn()
        return net

    @classmethod
    def _loaded(cls, saved: SavedModel, on: str | Device | None) -> Network:
        net = cls(saved.network, on=on, warnings=saved.warnings)
        net.model.load(saved.weights)
        if saved.training is not None:
            net.training = saved.training.completed(net.model.weights())
        return net

    def save(
        self,
        path: str | os.PathLike[str] | None = None,
        id: str = "model",  # noqa: A002
        *,
        training: bool = True,
        older: bool = False,
    ) -> str:
        """Write it, weights and all, as a bundle or (``.safetensors``) through that library; return the bundle's text.

        Where its training stopped (the optimiser's state, the epoch, the history) goes with it unless ``training`` is
        False. Without a path nothing is written; a .safetensors file returns "".

        ``older``: as programs of the first generation read it: weights alone. ArgumentError names a layer that it has
        not; FileError where nothing can be written.
        """
        target = None if path is None else _path(path, "loom.Network.save, path")
        training = flag("loom.Network.save, training", training)
        older = flag("loom.Network.save, older", older)
        saved = self._saved(id, training and not older)
        if older:
            return write_older(target, saved)
        if target is not None and target.suffix == SAFETENSORS:
            _require_no_id(id, "model", "loom.Network.save, id")
            write_safetensors(target, saved)
            return ""
        text = write_models([saved])
        if target is not None:
            write_file(target, text.encode(), "loom.Network.save")
        return text

    def _saved(self, model_id: str, training: bool) -> SavedModel:
        weights = self.model.weights()
        kept = None if self.training is None or not training else self.training.without(weights)
        return SavedModel(id=model_id, network=self.spec, weights=weights, training=kept)

    @staticmethod
    def save_all(
        networks: Mapping[str, Network], path: str | os.PathLike[str] | None = None, *, training: bool = True
    ) -> str:
        """Write several networks, by their ids, as one bundle; return its text. Arguments as in ``save``."""
        if not isinstance(networks, Mapping) or not all(isinstance(net, Network) for net in networks.values()):
            raise ArgumentError("loom.Network.save_all", "not networks by name", expected="a dict of networks by id",
                                got=repr(networks)[:200], remedy='Write {"model": net}')  # fmt: skip
        training = flag("loom.Network.save_all, training", training)
        text = write_models([net._saved(model_id, training) for model_id, net in networks.items()])
        if path is not None:
            write_file(_path(path, "loom.Network.save_all, path"), text.encode(), "loom.Network.save_all")
        return text

    @classmethod
    def load_all(cls, source: Document, *, on: str | Device | None = None) -> dict[str, Network]:
        """Return all networks of a bundle (file, text, bytes, dict) by their ids."""
        return {model.id: cls._loaded(model, on) for model in read_bundle(_as_document(source))}

    # weights

    def weights(self) -> dict[str, Array]:
        """Return copies of all weights and running means by name; those of bf16 as ``tensor.numpy`` gives them."""
        return {name: show(a, self.spec.dtype) for name, a in self.model.weights().items()}

    def load_weights(
        self,
        source: Mapping[str, Any] | str | bytes | os.PathLike[str],
        *,
        names: Names = None,
        layout: str = "loom",
    ) -> None:
        """Write all weights: of a mapping by name, of a .safetensors (file or bytes, whoever wrote it), or of a bundle
        of one model (file or bytes).

        ``names`` maps their names to ours: of arrays, or of modules (``{"fc1": "layers.0"}``: all names that begin with
        it); None leaves one out; a function does the same. ``layout="torch"``: the arrays are those of PyTorch's
        modules (``state_dict``), turned, split by gate and added as this network's layers have them;
        ``layout="older"``: those of a .safetensors file of the first generation.

        ArgumentError for names missing or strange and for numbers too large for the network's type, ShapeError,
        DTypeError for integers (quantised weights, whose scale is not told), NotFinite for NaN and infinities,
        FileError. Nothing is written then.
        """
        source = of_elsewhere(source, self.spec, names, layout)
        with self.model.alone("loom.Network.load_weights"):
            self.model.load(source)
            self.training = None

    def digest(self) -> str:
        """Return the SHA-256 of names, types, shapes and bits of all weights."""
        found = hashlib.sha256()
        for name, a in self.model.weights().items():
            found.update(f"{name} {a.dtype.newbyteorder('<').str} {a.shape}\n".encode())
            found.update(np.ascontiguousarray(a, a.dtype.newbyteorder("<")).tobytes())
        return found.hexdigest()

    # running

    def forward(self, x: Any) -> Any:
        """Return the output for samples (n, *shape), or of one sample without its axis.

        Networks of several inputs take a mapping by name or a list; of several outputs give a dict. Those of bf16
        give f32.
        """
        given = self._given(x, "loom.Network.forward, x")
        read = {n: numbers(a, "loom.Network", _place(n, given)) for n, a in given.items()}
        is_one = all(read[i.name].shape == i.shape for i in self.spec.inputs)
        found = self._checked({n: a[None] for n, a in read.items()} if is_one else read)
        out = self._readable(self.model.forward(self._plain(found)))
        if not is_one:
            return out
        return out[0] if not isinstance(out, dict) else {name: value[0] for name, value in out.items()}

    def _checked(self, given: Mapping[str, Any]) -> dict[str, Array]:
        """Return what is given as arrays of the inputs' types, all numbers finite."""
        types = self._types()
        return {n: checked_inputs(a, types[n], "loom.Network", _place(n, given)) for n, a in given.items()}

    def _readable(self, output: Any) -> Any:
        """Return outputs of bf16, which numpy lacks, as f32."""
        if isinstance(output, dict):
            return {name: self._readable(value) for name, value in output.items()}
        return output.astype(np.float32) if self.spec.dtype == bf16 else output

    def train(
        self,
        x: Any,
        y: Any,
        *,
        validation: tuple[Any, Any] | None = None,
        optimizer: str | Optimizer = "sgd",
        schedule: str | Schedule | None = None,
        resume: bool = False,
        progress: bool | None = None,
        **settings: Any,
    ) -> History:
        """Train with samples ``x`` (n, *shape) and targets ``y`` (n, ...), classes or numbers; return the history.

        Of several inputs or outputs ``x`` and ``y`` are mappings by name, or lists in the document's order; ``loss`` is
        one for all outputs or a mapping by name, and the sum of the losses is made small.
        ``settings`` are those of ``TrainConfig``; ``seed`` and ``batch_size`` (if above 1) are else the document's.
        Without ``loss``: cross-entropy for integers or truths with an axis less than an output of several classes, and
        for one-hot rows of them; else the mean squared error. What it is the cross-entropy of follows from what the
        output means: logits; probabilities (of a softmax, a kmeans, a mean of such); or independent probabilities (of
        a sigmoid), for which it is the binary one, of truths of the output's shape as well. ``validation``: samples
        measured after each epoch. ``optimizer`` and ``schedule``: by name or with settings. ``resume``: go on up to
        ``epochs`` in all, from the folder ``checkpoint``, if it has one, or, if no folder is named, from
        ``self.training``; the bits are those of one training that was never interrupted or saved. ``progress``: draw
        a bar (None: on a terminal alone).

        Errors are those of ``Trainer.fit``; DTypeError, ShapeError and NotFinite tell of data before anything runs.
        """
        resume = flag("train, resume", resume)
        progress = None if progress is None else flag("train, progress", progress)
        with self.model.alone("loom.Network.train"):
            given = self._given(x, "train, x")
            loss, targets = fitted_all(self.outputs, y, settings.get("loss"))
            config = self._config(_count(given), loss, optimizer, schedule, settings)
            held_out = None if validation is None else self._held_out(validation, loss)
            trainer = self._trainer = self._trainer_for(config, self._trainer)
            before = learn_scaling(self.spec, self.model.state, given)
            start = self.training if resume and config.checkpoint is None and self.training is not None else resume
            try:
                with shown_progress(progress) as report:
                    return trainer.fit(self._plain(given), targets, held_out, resume=start, report=report)
            finally:
                if trainer.has_run:
                    self.training = trainer.kept
                else:  # refused: nothing was learned of these samples
                    for name, value in before.items():
                        self.model.state[name].assign(value)

    def _held_out(self, validation: Any, loss: Losses) -> tuple[Any, Any]:
        """Return samples held out, with targets as the loss of the training takes them."""
        if not (isinstance(validation, (tuple, list)) and len(validation) == 2):
            raise ArgumentError("train, validation", "not samples and their targets", expected="a pair (x, y)",
                                got=type(validation).__name__,
                                remedy="Hold some out and pass validation=(x, y)")  # fmt: skip
        x = self._plain(self._given(validation[0], "train, validation x"))
        return x, fitted_all(self.outputs, validation[1], loss, "train, validation y")[1]

    def _trainer_for(self, config: TrainConfig, after: Trainer | None) -> Trainer:
        model, types = self.model, self._types()
        return Trainer(
            model, config, frozen=model.frozen, rates=model.learning_rates, y_type=model.result_type, after=after,
            x_type=types if len(types) > 1 else next(iter(types.values())), outputs=self._names(),
        )  # fmt: skip

    def evaluate(self, x: Any, y: Any, *, loss: Losses = None) -> Evaluation:
        """Return loss, accuracy and confusion (of classes) and deviation metrics (of one number for each sample).

        Truths, 0 and 1, of one output with the binary cross-entropy are two classes.

        ``x``, ``y`` and ``loss`` are those of ``train``.
        """
        given = self._plain(self._given(x, "evaluate, x"))
        found, targets = fitted_all(self.outputs, y, loss, "evaluate, y")
        types = self._types()
        data = checked_samples(given, targets, found, types if len(types) > 1 else next(iter(types.values())),
                               "evaluate", y_type=self.model.result_type, outputs=self._names())  # fmt: skip
        made = self._predicted(data.x)
        losses = found if isinstance(found, dict) else {self.spec.outputs[0]: found}
        each = {
            name: self._evaluation(name, losses[name], made[name], data.y[i], data.y_types[i])
            for i, name in enumerate(self.spec.outputs)
        }
        if len(each) == 1:
            return each[self.spec.outputs[0]]
        return Evaluation(len(data), sum(e.loss for e in each.values()), None, None, None, each)

    def _evaluation(self, name: str, loss: str | Loss, output: Array, y: Array, y_type: DType) -> Evaluation:
        config = TrainConfig(loss=loss, probabilities=self.outputs[name].gives_probabilities)
        (function,) = config.loss_functions()
        wide = tensor.array(output, self.model.result_type, on=self.model.device)
        value = float(function(wide, tensor.array(y, y_type, on=self.model.device)).item())
        deviation = deviation_metrics(output, y) if y.size == len(y) else None
        told = classes_said(output, y, loss, probabilities=self.outputs[name].gives_probabilities)
        if told is None:
            return Evaluation(len(y), value, None, None, deviation)
        said, true, _ = told
        return Evaluation(len(y), value, float((said == true).mean()), confusion_of(*told), deviation)

    def predict(self, x: Any) -> Any:
        """Return the outputs for samples (n, *shape), some hundred at a time.

        Networks of several inputs take a mapping by name or a list; of several outputs give a dict.
        """
        made = self._predicted(tuple(self._checked(self._given(x, "loom.Network.predict, x")).values()))
        return made if len(made) > 1 else made[self.spec.outputs[0]]

    def _predicted(self, inputs: Sequence[Array]) -> dict[str, Array]:
        """Return the outputs by name for arrays of the inputs' types, all of one state of the weights."""
        names = [i.name for i in self.spec.inputs]
        if len({len(a) for a in inputs}) > 1:
            sizes = ", ".join(f"{n!r}: {len(a)}" for n, a in zip(names, inputs, strict=True))
            raise ShapeError("loom.Network", "the inputs differ in samples", expected="as many of each", got=sizes,
                             remedy="The first axis of each counts samples")  # fmt: skip
        cuts = batches(len(inputs[0]), _EVALUATED_AT_ONCE)
        with self.model.lock:
            made = [self.model.forward(dict(zip(names, (a[cut] for a in inputs), strict=True))) for cut in cuts]
        if len(self.outputs) == 1:
            return {self.spec.outputs[0]: np.concatenate([self._readable(out) for out in made])}
        return {n: np.concatenate([self._readable(out[n]) for out in made]) for n in self.outputs}

    # settings

    def _given(self, x: Any, where: str) -> dict[str, Any]:
        """Return what is given for the inputs by their names."""
        return named(x, [i.name for i in self.spec.inputs], where)

    def _plain(self, given: dict[str, Any]) -> Any:
        return given if len(given) > 1 else next(iter(given.values()))

    def _types(self) -> dict[str, DType]:
        return {i.name: i.dtype for i in self.spec.inputs}

    def _names(self) -> tuple[str, ...]:
        """Return the names of several outputs."""
        return self.spec.outputs if len(self.spec.outputs) > 1 else ()

    @property
    def gives_probabilities(self) -> bool:
        """Tell whether the (first) output is probabilities: of a softmax, a sigmoid, a kmeans, or a mean of such."""
        return next(iter(self.outputs.values())).gives_probabilities

    @property
    def _probabilities(self) -> bool | dict[str, bool]:
        made = {name: output.gives_probabilities for name, output in self.outputs.items()}
        return made if len(made) > 1 else next(iter(made.values()))

    def _config(
        self, n: int, loss: Losses, optimizer: str | Optimizer, schedule: str | Schedule | None,
        settings: dict[str, Any],
    ) -> TrainConfig:  # fmt: skip
        """Return the settings of a training with n samples."""
        known = list(TrainConfig.__dataclass_fields__)
        for key in settings:
            if key not in known:
                raise ArgumentError("loom.Network.train", f"no setting is called {key!r}",
                                    remedy=called_here(key) or near_matches(key, [*known, *_OWN_SETTINGS]))  # fmt: skip
        if "learning_rate" in settings and isinstance(schedule, Schedule):
            raise ArgumentError("train, learning_rate", "has no effect: the schedule has its own rates",
                                expected="a schedule's name, or no learning_rate", got=repr(schedule),
                                remedy="Give the schedule the rate and leave this out")  # fmt: skip
        meant = self._probabilities
        if settings.get("probabilities", meant) != meant:
            raise ArgumentError("train, probabilities", "not what the network's output means", expected=meant,
                                got=settings["probabilities"], remedy="Leave it out: the last layers tell")  # fmt: skip
        given: dict[str, Any] = {"seed": self.spec.seed, "probabilities": meant}
        given |= {"batch_size": self.spec.batch_size} if self.spec.batch_size > 1 else {}
        chosen = optimizer_of(optimizer) if isinstance(optimizer, str) else optimizer
        config = TrainConfig(**{**given, **settings, "loss": loss, "optimizer": chosen})
        if isinstance(schedule, str):
            steps = math.ceil(math.ceil(n / config.batch_size) / config.accumulate) * config.epochs
            schedule = schedule_of(schedule, config.learning_rate, steps)
        return config if schedule is None else replace(config, schedule=schedule)


def _path(given: Any, where: str) -> Path:
    """Return the path of a file to write; a text that names none is told when it is written."""
    return Path(given) if isinstance(given, str) else path_of(given, where)


def _as_document(source: Document) -> Document:
    """Return a text that does not begin with ``{`` as the path of a file."""
    is_name = isinstance(source, str) and not source.lstrip().startswith("{")
    return Path(str(source)) if is_name else source


def _require_no_id(given: str | None, default: str | None, where: str) -> None:
    if given != default:
        raise ArgumentError(where, "a .safetensors file keeps no id", expected="none", got=repr(given),
                            remedy="Leave it out, or use a bundle (.json)")  # fmt: skip


def _place(name: str, given: Mapping[str, Any]) -> str:
    """Return how messages call an input."""
    return "x" if len(given) == 1 else f"x {name!r}"


def _count(given: Mapping[str, Any]) -> int:
    """Return how many samples are given; what is wrong with them is told by who reads them."""
    try:
        return len(next(iter(given.values())))
    except TypeError:
        return 1


def _remade(kind: type[Network], text: str, device: str, warnings: tuple[str, ...]) -> Network:
    """Return a copied network."""
    net = kind._loaded(read_model(text), device)
    net.warnings = warnings
    return net
