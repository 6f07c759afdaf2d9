"""``loom.Network``: a network of a JSON document: run, trained, measured, saved and loaded.

Layer: nn, its door. Invariant: every way of running it is the same recorded programs; the digest of its weights after
a training depends on document, data and settings alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from loom.core.arrays import Array
from loom.core.conversions import show
from loom.core.errors import ArgumentError, StateError
from loom.core.late import late
from loom.core.tracebacks import brief_class, warn_caller
from loom.nn.base.digests import digest_of
from loom.nn.base.elsewhere import of_network
from loom.nn.base.room import no_room, require_room
from loom.nn.base.torchnames import Names
from loom.nn.running import Runner
from loom.nn.spec import NetworkSpec, convert
from loom.nn.spec.document import Document
from loom.nn.train.config import TrainConfig
from loom.nn.train.samples import Samples, check_samples
from loom.nn.train.scalars import flag
from loom.nn.train.targets import Losses, fit_all_targets, outputs_of
from loom.nn.weights.model import Model, require_weights
from loom.runtime.port.device import Device
from loom.runtime.registry import device as find_device

if TYPE_CHECKING:
    from loom.formats import file_writes
    from loom.nn.inspect.activity import Observation
    from loom.nn.inspect.blueprint import Blueprint
    from loom.nn.inspect.difference import NetworkDiff
    from loom.nn.integer import IntegerNetwork
    from loom.nn.layers import scale
    from loom.nn.numeric import storage as stored
    from loom.nn.spec import SavedModel, Snapshot, freezing, savedmodels, snapshot
    from loom.nn.step import StepState
    from loom.nn.train import settings as training
    from loom.nn.train.loop import progress as progressing
    from loom.nn.train.loop import trainer as looping
    from loom.nn.train.loop.history import History
    from loom.nn.train.optimizers import Optimizer
    from loom.nn.train.parallel.crew import Crew
    from loom.nn.train.schedules import Schedule
    from loom.nn.tween import TweenConfig, TweenMode, TweenState
    from loom.tensor.ops import fast
    from loom.workers import WorkerPool
else:
    file_writes, fast = late("loom", "formats.file_writes tensor.ops.fast")
    scale, stored, training, progressing, looping = late(
        "loom.nn", "layers.scale numeric.storage train.settings train.loop.progress train.loop.trainer"
    )
    freezing, savedmodels, snapshot = late("loom.nn.spec", "freezing savedmodels snapshot")

__all__ = ["Document", "Network", "digest_of"]

_MOST_DRAWN = 200
"""Layers of a network that a notebook shows as a picture."""


def _files():
    """Return what reads and writes files of networks, which most processes never ask for."""
    from loom.nn.weights import saved

    return saved


@brief_class
class Network(Runner):
    """A network with weights on a device.

    Several threads may use one: each gets the answer to its own question, of one state of the weights. While one
    trains, the others' calls run between two of its steps; a second training, or other weights, are a StateError.

    Args:
        spec: Description that ``spec.parse`` gives of a document.
        on: Device, or its name; None: the default device.
        warnings: Texts about what a conversion from an older format changed.
        weights: Arrays of finite floats by name to start with (those of bf16 also as its 16 bits, uint16), or tensors,
            which are shared; others are drawn by the seed of the document, as all are for None.

    Raises:
        ArgumentError: The network has no weight of a name; a number is too large for the network's type.
        DTypeError: Not a device; weights that are no mapping; integers, whose scale is not told.
        ShapeError: A weight has another shape.
        NotFinite: NaN or an infinity among the weights.
        DeviceError: There is no such device.

    >>> net = Network.from_json({"format": "loom/1", "input": {"shape": [2]}, "layers": [
    ...     {"type": "dense", "output_size": 3}]})
    >>> net.forward([[1.0, 2.0]]).shape
    (1, 3)
    """

    def __init__(
        self, spec: NetworkSpec, *, on: str | Device | None = None, warnings: tuple[str, ...] = (),
        weights: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        require_room(spec)
        if weights is not None:
            unknown = require_weights(weights, spec)
            if unknown:
                _files().require_numbers(unknown, spec.dtype, "loom.Network, weights")
        self.spec = spec
        try:
            self.model = Model(spec, on, weights)
        except MemoryError:
            raise no_room("memory for all of them", "a refusal of the system while they were drawn") from None
        self.warnings = warnings
        self.outputs = outputs_of(spec)
        self.training: Snapshot | None = None
        self._trainer: looping.Trainer | None = None
        self._storage: stored.StoredWeights | None = None

    @classmethod
    def from_json(
        cls,
        document: Document,
        *,
        input: int | Sequence[int] | None = None,  # noqa: A002
        on: str | Device | None = None,
    ) -> Network:
        """Return a network with starting weights drawn by its seed.

        What a conversion changed is shown as a ``UserWarning``.

        Args:
            document: JSON text, bytes, a dict or a Path, of ``loom/1`` or an older generation.
            input: Shape of a sample, for an older document that does not tell it; None: that of the document.
            on: Device, or its name; None: the default device.

        Raises:
            ArgumentError: ``input`` is no shape, or has no effect: the document tells it.
            DTypeError: Not a document; not a device.
            SpecError: The document has problems, all of them listed.
            FileError: The file cannot be read.
        """
        found = convert(document, input)
        net = cls(found.network, on=on, warnings=tuple(found.warnings))
        if found.weights:
            net.model.load({**net.model.weights(), **found.weights})
        net._warn()
        return net

    if not TYPE_CHECKING:  # type checkers would take every name for an attribute

        def __getattr__(self, name: str) -> Any:
            """Tell what a name of another library is called here."""
            raise AttributeError(of_network(name, [n for n in dir(type(self)) if n[0] != "_"]), name=name, obj=self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Have ``pickle`` and ``copy`` make a network of its own: with the weights, and where its training stopped."""
        return self._remade, (self.save(), self.model.device.name, self.warnings)

    @classmethod
    def _remade(cls, text: str, device: str, warnings: tuple[str, ...]) -> Network:
        """Return a copied network."""
        net = cls._load(_files().read_model(text), device)
        net.warnings = warnings
        return net

    def __repr__(self) -> str:
        """Return what it is called, of what shapes, and where it runs."""
        shapes = ", ".join(str(i.shape) for i in self.spec.inputs)
        made = ", ".join(str(o.shape) for o in self.outputs.values())
        return f"<loom.Network {self.spec.name!r}: {shapes} to {made}, on {self.model.device.name}>"

    def _warn(self) -> None:
        """Show what a conversion changed to who called the function that calls this."""
        for text in self.warnings:
            warn_caller(f"loom.Network: {text}")

    @classmethod
    def load(
        cls,
        source: Document,
        id: str | None = None,  # noqa: A002
        *,
        input: int | Sequence[int] | None = None,  # noqa: A002
        on: str | Device | None = None,
    ) -> Network:
        """Return a network with its weights: of a bundle (file, text, bytes, dict), or of a .safetensors (file, bytes).

        Warns as ``from_json`` does.

        Args:
            source: Bundle (file, text, bytes, dict) or .safetensors (file, bytes); a text that does not begin with
                ``{`` is a file's name.
            id: Name of one of several models; None: the only one.
            input: Shape of a sample, for a bundle of the older generations that does not tell it (one that begins with
                a lone softmax); None: that of the document.
            on: Device, or its name; None: the default device.

        Raises:
            ArgumentError: No model of the bundle is called so, or it has several; the file holds no network, or weights
                that are missing, strange or do not fit; ``input`` has no effect.
            DTypeError: Not a document; not a device.
            SpecError: Neither a bundle nor a .safetensors; the document has problems, all of them listed.
            FileError: The file cannot be read.
        """
        net = cls._load(_files().read_saved(source, id, input), on)
        net._warn()
        return net

    @classmethod
    def _load(cls, saved: SavedModel, on: str | Device | None) -> Network:
        net = cls(saved.network, on=on, warnings=saved.warnings)
        net.model.load(saved.weights)
        net._storage = stored.StoredWeights.of(saved.stored, saved.network) if saved.stored else None
        if saved.training is not None:
            net.training = saved.training.complete(net.model.weights())
        return net

    def save(
        self,
        path: str | os.PathLike[str] | None = None,
        id: str = "model",  # noqa: A002
        *,
        training: bool = True,
        older: bool = False,
    ) -> str:
        """Write the network, weights and all; return the bundle's text.

        Args:
            path: File to write, in place of one there: a bundle or, of a name that ends so, a .safetensors; None: none.
            id: Name of the model in the bundle; a .safetensors keeps none.
            training: Whether where its training stopped (the optimiser's state, the epoch, the history) goes with it.
            older: Whether it is written as programs of the first generation read it: weights alone.

        Returns:
            Text of the bundle; "" of a .safetensors.

        Raises:
            ArgumentError: A flag is no truth; an unusable id; of ``older``, a layer that the first generation has not.
            DTypeError: Not a path.
            FileError: Nothing can be written there.
        """
        target = None if path is None else file_writes.path_to_write(path, "loom.Network.save, path")
        training = flag("loom.Network.save, training", training)
        older = flag("loom.Network.save, older", older)
        saved = self._as_saved(id, training and not older)
        return _files().write_older(target, saved) if older else _files().write_saved(target, saved)

    def _as_saved(self, model_id: str, training: bool) -> SavedModel:
        weights = self.model.weights()
        kept = None if self.training is None or not training else self.training.without(weights)
        storage = self.storage
        stored = {} if storage is None else dict(storage.arrays)
        return snapshot.SavedModel(id=model_id, network=self.spec, weights=weights, training=kept, stored=stored)

    @staticmethod
    def save_all(
        networks: Mapping[str, Network], path: str | os.PathLike[str] | None = None, *, training: bool = True
    ) -> str:
        """Write several networks, by their ids, as one bundle; return its text.

        Args:
            networks: Networks by their ids.
            path: File to write, in place of one there; None: none.
            training: Whether where its training stopped (the optimiser's state, the epoch, the history) goes with it.

        Returns:
            Text of the bundle.

        Raises:
            ArgumentError: Not networks by name; an unusable id; ``training`` is no truth.
            DTypeError: Not a path.
            FileError: Nothing can be written there.
        """
        if not isinstance(networks, Mapping) or not all(isinstance(net, Network) for net in networks.values()):
            raise ArgumentError("loom.Network.save_all", "not networks by name", expected="a dict of networks by id",
                                got=repr(networks)[:200], remedy='Write {"model": net}')  # fmt: skip
        training = flag("loom.Network.save_all, training", training)
        text = _files().write_models([net._as_saved(model_id, training) for model_id, net in networks.items()])
        if path is not None:
            where = "loom.Network.save_all"
            file_writes.write_file(file_writes.path_to_write(path, f"{where}, path"), text.encode(), where)
        return text

    @classmethod
    def load_all(
        cls,
        source: Document,
        *,
        input: int | Sequence[int] | None = None,  # noqa: A002
        on: str | Device | None = None,
    ) -> dict[str, Network]:
        """Return all networks of a bundle by their ids.

        Args:
            source: Bundle: file, text, bytes or dict.
            input: Shape of a sample, for an older document that does not tell it; None: that of the document.
            on: Device, or its name; None: the default device.

        Raises:
            ArgumentError: ``input`` is no shape, or has no effect; weights that are missing, strange or do not fit.
            DTypeError: Not a document; not a device.
            SpecError: Not a bundle; a document has problems, all of them listed.
            FileError: The file cannot be read.
        """
        return {
            model.id: cls._load(model, on) for model in savedmodels.read_bundle(_files().as_document(source), input)
        }

    # weights

    def weights(self) -> dict[str, Array]:
        """Return copies of all weights and running means by name; those of bf16 as ``tensor.numpy`` gives them."""
        return {name: show(a, self.spec.dtype) for name, a in self.model.weights().items()}

    def load_weights(
        self, source: Mapping[str, Any] | str | bytes | os.PathLike[str], *, names: Names = None, layout: str = "loom"
    ) -> None:
        """Write all weights, or, where there is an error, none.
        of one model (file or bytes).

        Args:
            source: Mapping of arrays by name, a .safetensors (file or bytes, whoever wrote it), or a bundle of one
                model (file or bytes).
            names: Names here by names there: of arrays, or of modules (``{"fc1": "layers.0"}``: all names that begin
                with it), None to leave one out; a function does the same; None: they are the same.
            layout: "loom"; "torch": arrays of PyTorch's modules (``state_dict``), turned, split by gate and added as
                this network's layers have them; "older": those of a .safetensors of the first generation.

        Raises:
            ArgumentError: Names are missing or strange; a number is too large for the network's type; there is no such
                layout; not a model, or one of another document.
            DTypeError: Not weights; integers, whose scale is not told; ``names`` is neither a mapping nor a function.
            ShapeError: An array has another shape.
            NotFinite: NaN or an infinity among them.
            FileError: The file cannot be read.
            StateError: The network is being trained.
        """
        if isinstance(source, Mapping):
            fast.refuse_fast(source.values(), "loom.Network.load_weights")
        source = _files().of_elsewhere(source, self.spec, names, layout)
        with self.model.alone("loom.Network.load_weights"):
            self.model.load(source)
            self.training = None

    def convert(
        self, dtype: Any, *, scales: Any = "auto", power_of_two: bool = False, keep: Sequence[str] = ()
    ) -> Network:
        """Return a network whose weights are as after being stored in another type; ``storage`` tells each one's error.

        Args:
            dtype: Type of storage (``"i8"``, ``"f4"``), or types by patterns of names.
            scales: Rule of the scales, or numbers, as of ``nn.numeric.store_weights``.
            power_of_two: Whether scales are rounded to powers of two.
            keep: Names, or patterns of them, of weights that stay as they are.

        Raises:
            ArgumentError: An unusable scale or rule; no weight is called so; ``power_of_two`` is no truth.
            DTypeError: Not a type of storage.
            NotFinite: A weight has a NaN or an infinity.
        """
        weights = self.model.weights()
        found = stored.store_weights(self.spec, weights, dtype, scales=scales, power_of_two=power_of_two, keep=keep,
                              held=self.storage)  # fmt: skip
        return self._with_storage(Network(self.spec, on=self.model.device, warnings=self.warnings), weights, found)

    @staticmethod
    def _with_storage(net: Network, weights: Mapping[str, Array], storage: stored.StoredWeights) -> Network:
        net.model.load({**weights, **{name: a.decode() for name, a in storage.arrays.items()}})
        net._storage = storage
        return net

    @property
    def storage(self) -> stored.StoredWeights | Any:
        """How weights are stored, after ``convert`` or loading such a file; None once a weight was changed."""
        found = self._storage
        return found if found is not None and found.is_that_of(self.model.weights(), self.spec.dtype) else None

    def digest(self) -> str:
        """Return the SHA-256 of names, types, shapes and bits of all weights."""
        return digest_of(self.model.weights())

    # structure

    def to(self, device: str | Device) -> Network:
        """Move it to another device, in place, and return it: weights and where its training stopped keep their bits.

        Nothing is done if it is there. Observers go along; programs made of it before keep the old weights; step states
        and tweening of before are refused.

        Args:
            device: Device, or its name.

        Returns:
            The network.

        Raises:
            DTypeError: Not a device.
            DeviceError: There is no such device.
            StateError: The network is being trained; its weights are another's too (``graft``).
        """
        found, where = find_device(device), "loom.Network.to"
        if found is not self.model.device:
            with self.model.alone(where):
                if self.model.is_shared:
                    raise StateError(where, "its weights are another's too", expected="weights of its own",
                                     got="shared ones", remedy="Copy it first: copy.copy(network).to(...)")  # fmt: skip
                before = self.model
                with before.lock:
                    made = Model(self.spec, found, before.weights_for(found))
                    made.watch, self.model, self._trainer = before.watch, made, None
        return self

    def freeze(self, *layers: str | int) -> Network:
        """Have training leave the weights of layers as they are, in place, and in its document.

        Args:
            *layers: Names, numbers, or patterns such as ``layers.*``; none: all.

        Returns:
            The network.

        Raises:
            ArgumentError: There is no such layer; its weights are another layer's.
        """
        return self._freeze(freezing.with_frozen(self.spec, layers, True, "loom.Network.freeze"))

    def unfreeze(self, *layers: str | int) -> Network:
        """Have training change layers (none: all), and all within them, again .

        Args:
            *layers: Names, numbers, or patterns such as ``layers.*``; none: all.

        Returns:
            The network.

        Raises:
            ArgumentError: There is no such layer; it is within a frozen one.
        """
        return self._freeze(freezing.with_frozen(self.spec, layers, False, "loom.Network.unfreeze"))

    def _freeze(self, spec: NetworkSpec) -> Network:
        with self.model.alone("loom.Network.freeze"):
            self.model.describe_as(spec)
            self.spec = spec
        return self

    def quantize(self, dtype: str = "int8", *, calibration: Any) -> IntegerNetwork:
        """Return it as a network of integers (``loom.nn.integer``), of these weights.

        Args:
            dtype: "int8" or "int16".
            calibration: Samples, of which the ranges of inputs and of layers' outputs are taken.

        Raises:
            ArgumentError: There is no such type; a layer or a function has no rule in integers.
            DTypeError: The samples are no numbers.
            ShapeError: Samples of another shape.
            EmptyError: No samples.
            NotFinite: NaN or an infinity among the samples.
        """
        from loom.nn.integer import quantised

        return quantised(self.spec, self.weights(), dtype, calibration, self.model.device)

    # training

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
        mode: str | TweenMode = "normal",
        devices: Sequence[str | Device] | None = None,
        workers: int | Sequence[str] | WorkerPool | None = None,
        address: str | None = None,
        audit: float | None = None,
        **settings: Any,
    ) -> History:
        """Train with samples and targets; return the history.

        ``loss`` is one for all outputs or a mapping by name, and the sum of the losses is made small. Without ``loss``:
        cross-entropy for integers or truths with an axis less than an output of several classes, and for one-hot rows
        of them; else the mean squared error. What it is the cross-entropy of follows from what the output means:
        logits; probabilities (of a softmax, a kmeans, a mean of such); or independent probabilities (of a sigmoid), for
        which it is the binary one, of truths of the output's shape as well. What is wrong with data is told before
        anything runs.

        Args:
            x: Samples, an array (n, *shape); of several inputs a mapping by name, or a list in the document's order.
            y: Targets (n, ...), classes or numbers; of several outputs a mapping by name, or a list in the document's
                order.
            validation: Pair of samples and targets that are measured after each epoch; None: none.
            optimizer: Name of an optimiser, or one with settings.
            schedule: Name of a schedule of learning rates, or one with settings; None: the rate stays.
            resume: Whether it goes on up to ``epochs`` in all, from the folder ``checkpoint``, if it has one, or, if no
                folder is named, from ``self.training``; the bits are those of one training that was never interrupted
                or saved.
            progress: Whether a bar is drawn; None: on a terminal or in a notebook.
            mode: "normal", or one of ``tween``, whose ``fit`` it is then (``config``, ``epochs``, ``batch_size``,
                ``learning_rate``, ``schedule``, ``shuffle``, ``seed``).
            devices: Devices that share out the micro-batches of ``micro_batch`` (then needed), each with a copy of the
                weights; the digest is that of one device.
            workers: Number of processes that do so, or the device of each by name, or an open pool
                (``loom.cluster.connect``).
            address: Address of the Ray cluster of ``workers``; None: this machine.
            audit: Share of batches that other workers compute as well; one that is found wrong is named in a
                UserWarning, left out, and all is trained again without it.
            **settings: Settings of ``TrainConfig``; ``seed`` and ``batch_size`` (if above 1) are else the document's.

        Returns:
            History: losses, rates and measures of each epoch.

        Raises:
            ArgumentError: A setting is unknown, unusable or has no effect; names are not those of inputs or outputs; a
                class outside; nothing can be trained.
            DTypeError: Not numbers, or not of the kind needed; not a device.
            ShapeError: Samples and targets differ in number, or from the shapes of the network.
            EmptyError: No samples.
            NotFinite: NaN or an infinity among the samples, or met in training.
            StateError: The network is being trained; ``resume`` of weights that are another's too.
            DeviceError: There is no such device.
            CheckpointError: The folder cannot be written, or what it holds is of another training.
        """
        resume = flag("train, resume", resume)
        progress = None if progress is None else flag("train, progress", progress)
        if resume and self.model.is_shared:
            raise StateError("train, resume", "its weights are another's too, who may have changed them",
                             expected="weights of its own", got="shared ones", remedy="Train anew")  # fmt: skip
        if not isinstance(mode, str) or mode != "normal" or "config" in settings:
            from loom.nn.tween.fitting import train_in

            for name, given in (("devices", devices), ("workers", workers), ("address", address), ("audit", audit)):
                if given is not None:
                    raise ArgumentError(f"train, {name}", f"the mode {mode!r} is of one device", got=given,
                                        expected="mode='normal'", remedy=f"Leave {name} out")  # fmt: skip
            return train_in(self, mode, x, y, validation, (optimizer, schedule, resume, progress), settings)
        from loom.nn.train.parallel.choosing import open_crew

        with self.model.alone("loom.Network.train"), ExitStack() as opened:
            given, targets, config = self._read_training(x, y, "train", optimizer, schedule, settings)
            held_out = None if validation is None else self._hold_out(validation, config.loss)
            crew = opened.enter_context(open_crew(devices, workers, address, audit, config, self.model))
            trainer = self._trainer = self._trainer_for(config, self._trainer, crew)
            before = scale.learn_scaling(self.spec, self.model.state, given)
            start = self.training if resume and config.checkpoint is None and self.training is not None else resume
            try:
                with progressing.show_progress(progress) as report:
                    return trainer.fit(self._plain(given), targets, held_out, resume=start, report=report)
            finally:
                if trainer.has_run:
                    self.training = trainer.kept
                else:  # refused: nothing was learned of these samples
                    for name, value in before.items():
                        self.model.state[name].assign(value)

    def tween(self, mode: str | TweenMode = "step_tween_chain", config: TweenConfig | None = None) -> TweenState:
        """Return a state that moves this network towards targets, one update at a time: see ``TweenState``.

        Args:
            mode: "normal", "step", "tween", "tween_chain", "step_tween" or "step_tween_chain".
            config: Settings; None: the defaults of ``TweenConfig``.

        Raises:
            ArgumentError: There is no such mode; not a config, or one with a setting that has no effect in the mode.
            StateError: The weights are kept quantised.
        """
        from loom.nn.tween import TweenState

        self.model.require_numbers("tweening")
        return TweenState(self, mode, config)

    def read_training(
        self, x: Any, y: Any, where: str, optimizer: str | Optimizer = "sgd", schedule: str | Schedule | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> tuple[TrainConfig, Samples]:  # fmt: skip
        """Return the config and the samples that ``train`` would train with; nothing is trained.

        Args:
            x: Samples, an array (n, *shape); of several inputs a mapping by name, or a list in the document's order.
            y: Targets, as of ``train``.
            where: Beginning of errors' texts.
            optimizer: Name of an optimiser, or one with settings.
            schedule: Name of a schedule of learning rates, or one with settings; None: the rate stays.
            settings: Settings of ``TrainConfig``; None: none.

        Raises:
            ArgumentError: As of ``train``.
            DTypeError: As of ``train``.
            ShapeError: As of ``train``.
            EmptyError: No samples.
            NotFinite: NaN or an infinity among the samples.
        """
        given, targets, config = self._read_training(x, y, where, optimizer, schedule, settings or {})
        types, y_type = self._plain(self._types()), self.model.result_type
        found = check_samples(
            self._plain(given), targets, config.loss, types, where, y_type=y_type, outputs=self._names(),
            rows=self.spec.vocabularies(),
        )  # fmt: skip
        return config, found

    def _read_training(
        self, x: Any, y: Any, where: str, optimizer: str | Optimizer, schedule: str | Schedule | None,
        settings: Mapping[str, Any],
    ) -> tuple[dict[str, Any], Any, TrainConfig]:  # fmt: skip
        """Return inputs by name, targets as the loss takes them, and the config."""
        given = self._name_inputs(x, f"{where}, x")
        loss, targets = fit_all_targets(self.outputs, y, settings.get("loss"))
        told = {**settings, "loss": loss}
        return given, targets, training.config_of(self.spec, self._probabilities, given, optimizer, schedule, told)

    def _hold_out(self, validation: Sequence[Any], loss: Losses) -> tuple[Any, Any]:
        """Return samples held out, with targets as the loss of the training takes them."""
        if not (isinstance(validation, (tuple, list)) and len(validation) == 2):
            raise ArgumentError("train, validation", "not samples and their targets", expected="a pair (x, y)",
                                got=type(validation).__name__,
                                remedy="Hold some out and pass validation=(x, y)")  # fmt: skip
        x = self._plain(self._name_inputs(validation[0], "train, validation x"))
        return x, fit_all_targets(self.outputs, validation[1], loss, "train, validation y")[1]

    def _trainer_for(
        self, config: TrainConfig, after: looping.Trainer | None, crew: Crew | None = None
    ) -> looping.Trainer:
        model = self.model
        return looping.Trainer(
            model, config, frozen=model.frozen, rates=model.learning_rates, y_type=model.result_type, after=after,
            x_type=self._plain(self._types()), outputs=self._names(), crew=crew,
        )  # fmt: skip

    # introspection

    def observe(self, callback: Any = None, *, layers: Any = None, threshold: float = 0.0) -> Observation:
        """Have a function called for each layer of each pass, or keep the events.

        A training tells, forward and backward, those that observe when it begins; what runs within a callback is not
        told.

        Args:
            callback: Function of a ``LayerEvent``; None: the events are kept.
            layers: Names of layers (nested ones and inputs too) or numbers; None: all.
            threshold: Number of at least 0: an element further from 0 counts as active.

        Returns:
            Observation, in force until ``close``, or the end of a ``with``.

        Raises:
            ArgumentError: There is no such layer; the threshold is no number, or below 0.
            DTypeError: ``callback`` is no function.
        """
        from loom.nn.inspect.activity import observe

        return observe(self, callback, layers, threshold)

    def blueprint(self, batch_size: int = 1) -> Blueprint:
        """Return its layers with shapes, weights, bytes, multiply-adds and dispatches; ``print`` it for a table.

        Args:
            batch_size: Samples of the pass that is counted.

        Raises:
            ArgumentError: Not a whole number, at least 1.
            ShapeError: Too many elements.
        """
        from loom.nn.inspect.blueprint import blueprint_of

        return blueprint_of(self.model, batch_size)

    def diff(self, other: Network | Document) -> NetworkDiff:
        """Return how another network, or the model of a file, differs: in its document, and in bits of weights.

        Args:
            other: Network, or the model of a file, a text, bytes or a dict.

        Raises:
            ArgumentError: The file holds no network, or several.
            DTypeError: Not a document.
            SpecError: Not a bundle; the document has problems, all of them listed.
            FileError: The file cannot be read.
        """
        from loom.nn.inspect.difference import diff_models

        return diff_models(self.model, (other if isinstance(other, Network) else Network.load(other, on="cpu")).model)

    def diagram(self) -> str:
        """Return a picture as SVG: a box for each layer, branches within, inputs above and outputs below."""
        from loom.nn.inspect.diagram import diagram_of

        return diagram_of(self.spec)

    def _repr_svg_(self) -> str | None:
        """Return the picture for a notebook, of networks that fit one."""
        return self.diagram() if len(self.spec.nodes) <= _MOST_DRAWN else None

    def step(self, batch: int = 1, *, training: bool = False, gradient: str | None = "true",
             horizon: int | None = None) -> StepState:  # fmt: skip
        """Return a new ``nn.step.StepState`` of ``batch`` samples: the layers advance tick by tick.

        Args:
            batch: Number of samples that advance side by side.
            training: Whether ticks are those of training: dropout and noise, drawn by the tick's number, and batch
                statistics.
            gradient: "true", "current", "rescaled" (see ``StepState``), or None: no gradient.
            horizon: Most ticks that a gradient reaches back; None: as many as the network is deep.

        Raises:
            ArgumentError: Not a whole number, at least 1; ``training`` is no truth; there is no such way, or it has no
                effect.
            ShapeError: Too many elements.
        """
        from loom.nn.step import StepState

        return StepState(self, batch=batch, training=training, gradient=gradient, horizon=horizon)
