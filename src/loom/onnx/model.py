"""``load`` and ``OnnxModel``: a model that runs, compiled for each shape of its inputs, and that trains.

Layer: onnx. Invariant: the same inputs and weights give the same bits on every device, whatever was run before.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.arrays import read_as
from loom.core.errors import ArgumentError, ShapeError
from loom.formats.file_writes import path_to_write, write_file
from loom.importers.latestprograms import LatestPrograms, LimitedProgram
from loom.importers.ports import check_names, name_arguments
from loom.onnx.given import arrays_of, check_output, info_of, read_inputs
from loom.onnx.reading import ReadModel, read_model
from loom.onnx.recording import GraphRecording
from loom.onnx.values import EMPTY, Held, Value, ValueSequence, ValuesNeeded, onnx
from loom.onnx.weights import Weights, untie
from loom.onnx.writing import with_weights
from loom.runtime.registry import device as device_of
from loom.tensor.arrays.tensor import Tensor, array
from loom.tensor.arrays.tensor import input as tensor_input
from loom.tensor.selecting.outside import IndexLimits

if TYPE_CHECKING:
    from loom.importers.recordings import GraphPass
    from loom.nn.base.locks import Lock
    from loom.nn.spec import Snapshot
    from loom.nn.train.loop.history import History
    from loom.nn.train.optimizers import Optimizer
    from loom.nn.train.schedules import Schedule
    from loom.onnx.training import OnnxGraph

__all__ = ["OnnxModel", "load"]

_Maker = Callable[[list[np.ndarray[Any, Any]]], Any]
"""What makes an output of the arrays that a program gave."""


def _first(pair: tuple[str, Any]) -> str:
    return pair[0]


def _maker(value: Held, ends: list[Tensor]) -> _Maker:
    """Return what makes an output, and note the tensors that it is made of among the ends of the program."""
    if isinstance(value, ValueSequence):
        each = [_maker(v, ends) for v in value.values]
        return lambda read: value.finish([make(read) for make in each])
    if isinstance(value, np.ndarray):
        return lambda _: value.copy()
    at = len(ends)
    ends.append(value)
    return lambda read: read[at]


class _Compiled(LimitedProgram):
    """A program, the places of inputs that it is ``fed``, and what makes its ``results``."""

    def __init__(
        self, values: Sequence[Held], limits: IndexLimits, device: Any, fed: Mapping[str, tuple[str, int]]
    ) -> None:
        ends: list[Tensor] = []
        self.results = [_maker(value, ends) for value in values]
        super().__init__(ends, limits, device, "onnx")
        self.fed = {feed: at for feed, at in fed.items() if feed in self.inputs}


def load(
    source: str | os.PathLike[str] | bytes | Any, *, on: Any = None, trained: Sequence[str] | None = None
) -> OnnxModel:
    """Return the model of an ONNX file, to run on a device.

    Args:
        source: ONNX file, its bytes, or a ``ModelProto``.
        on: Device, or its name; None: the default device.
        trained: Names of the initializers that ``parameters`` has; None: all of floats that have axes and that
            operators take as weights.

    Raises:
        ArgumentError: Not a model; operators that are not done, by domain, name and opset.
        DTypeError: A dtype that Loom has not; not a device.
        FileError: It cannot be read, is cut off or malformed, or has data outside its folder.
        DeviceError: There is no such device.
    """
    import loom.onnx.operators  # pyright: ignore[reportUnusedImport] - enters the operators  # noqa: F401

    return OnnxModel(read_model(source), None if on is None else device_of(on), trained)


class OnnxModel:
    """A model of ONNX. ``inputs`` and ``outputs`` say what it takes and gives; ``run`` computes, ``train`` trains.

    Lengths may differ from run to run: a program is compiled for each set of shapes, and the latest are kept. Inputs
    whose values decide shapes (``specialised``) are compiled in: another value is another program. ``lock``: held while
    a program runs and is read, and while weights are written.
    """

    def __init__(self, read: ReadModel, device: Any, trained: Sequence[str] | None = None) -> None:
        self._read, self._device = read, device
        graph = read.graph
        arrays = read.initializers(graph)
        self._nodes: Any = graph.node
        self._initializers: dict[str, np.ndarray[Any, Any]] = dict(arrays)
        self._arrays: dict[Any, Any] = {id(a): (a, array(a, on=device)) for a in arrays.values()}
        self.inputs = tuple(info_of(i) for i in graph.input if i.name not in arrays)
        self.outputs = tuple(info_of(o) for o in graph.output)
        self._infos = {i.name: i for i in self.inputs} | {i.name: info_of(i) for i in graph.input if i.name in arrays}
        self._specialised: frozenset[str] = frozenset()
        self._programs = LatestPrograms[_Compiled]()
        self._trained = trained
        self._weights: Weights | None = None
        self._training: OnnxGraph | None = None
        self.lock: Lock = threading.RLock()
        if trained is not None:
            self._as_weights()

    @property
    def opsets(self) -> dict[str, int]:
        """The version of each domain's operators."""
        return dict(self._read.opsets)

    @property
    def proto(self) -> Any:
        """The ``ModelProto`` as it was read; its weights are those at the start."""
        return self._read.proto

    @property
    def specialised(self) -> frozenset[str]:
        """Inputs whose values were needed to record the graph: each new value of them is compiled anew."""
        return self._specialised

    # weights

    def _as_weights(self) -> Weights:
        """Return the initializers as parameters; programs made before, which have them as constants, are dropped."""
        with self.lock:
            if self._weights is None:
                self._nodes, twins = untie(self._nodes, self._initializers)
                self._initializers |= {name: self._initializers[old] for name, old in twins.items()}
                graph = onnx.GraphProto(node=self._nodes, output=self._read.graph.output)
                self._weights = Weights(graph, self._initializers, self._device, self._trained)
                self._programs.shrink(0)
            return self._weights

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The initializers that are trained, by name: parameters of ``loom.tensor``, which programs may update.

        From the first look on ``run`` takes them as they are then.
        """
        return dict(self._as_weights().parameters)

    @property
    def state(self) -> dict[str, Tensor]:
        """Running means and variances, by name: no gradient moves them, training by batches does."""
        return dict(self._as_weights().state)

    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return copies of parameters and state by name."""
        with self.lock:
            return {name: held.numpy() for name, held in self._as_weights().all.items()}

    def load_weights(self, weights: Mapping[str, Any]) -> None:
        """Write parameters and state, or, where there is an error, none.

        Args:
            weights: Arrays by name, all or some.

        Raises:
            ArgumentError: The model has no such weight; a number that its dtype does not hold.
            DTypeError: Not numbers.
            ShapeError: An array of another shape.
        """
        held = self._as_weights().all
        check_names(weights, [], list(held), "onnx.load_weights")
        for name, value in weights.items():
            found = read_as(value, held[name].dtype, f"onnx.load_weights, {name!r}")
            if found.shape != held[name].shape:
                raise ShapeError(
                    f"onnx.load_weights, {name!r}",
                    "another shape",
                    expected=held[name].shape,
                    got=found.shape,
                    remedy="Nothing was written. Match it",
                )
        with self.lock:
            for name, value in weights.items():
                held[name].assign(value)
            if self._training is not None:
                self._training.training = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file with its weights as they are now.

        Args:
            path: File, in place of one there.

        Raises:
            DTypeError: Not a path.
            FileError: The file cannot be written, or the model is too large for one.
        """
        write_file(path_to_write(path, "onnx.save"), self._encode(), "onnx.save")

    def _encode(self) -> bytes:
        """Return the bytes of the file of the model."""
        changed = {} if self._weights is None else self.weights()
        return with_weights(self._read, self._nodes, self._initializers | changed)

    @classmethod
    def _restore(
        cls,
        data: bytes,
        device: str | None,
        trained: Sequence[str] | None,
        known: Sequence[str] | None,
        snapshot: Snapshot | None,
    ) -> OnnxModel:
        """Return a copied model; ``known``: its parameters, if somebody has asked for them."""
        made = load(data, on=device, trained=trained if known is None else known)
        if snapshot is not None:
            made._trainee().training = snapshot
        return made

    def __reduce__(self) -> tuple[object, ...]:
        """Have ``pickle`` and ``copy`` make a model of its own: what ``save`` writes, and where training stopped."""
        with self.lock:
            trained = None if self._weights is None else tuple(self._weights.parameters)
            snapshot = None if self._training is None else self._training.training
            device = None if self._device is None else self._device.name
            return self._restore, (self._encode(), device, self._trained, trained, snapshot)

    # recording

    def record(self, inputs: Mapping[str, Any], *, learning: GraphPass | None = None) -> dict[str, Tensor]:
        """Return the outputs by name as tensors that are made of the inputs and of ``parameters``.

        What is returned is differentiable, compiled and exported as any tensor.

        Args:
            inputs: Tensors by name; an input whose values decide shapes may be an array.
            learning: Pass of a training, which draws what Dropout drops and takes new running means; None: none.

        Raises:
            ArgumentError: Names are missing or strange; a tensor whose values are needed.
            DTypeError: An input of another dtype.
            ShapeError: An input of another shape.

        >>> import loom.onnx, numpy, onnx
        >>> text = '<ir_version: 8, opset_import: ["": 17]> g (float[n, 2] x) => (float[n, 2] y) <float[2] w = {2, 3}>'
        >>> model = loom.onnx.load(onnx.parser.parse_model(text + " { y = Mul (x, w) }"))
        >>> y = model.record({"x": loom.tensor.input("x", (1, 2))})["y"]
        >>> (slope,) = loom.tensor.grad(y.sum(), [model.parameters["w"]])
        >>> program = loom.tensor.compile([slope])
        >>> program.run(x=[[5.0, 7.0]])
        >>> program.read()[0].tolist()
        [5.0, 7.0]
        """
        where = "onnx.record"
        given = read_inputs(inputs, self._infos, [i.name for i in self.inputs], where, tensors=True)
        try:
            made, _ = self._run_graph(given, self._as_weights().all, learning)
        except ValuesNeeded as needed:
            raise ArgumentError(where, "the values of an input are needed to record the graph", expected="an array",
                                got=", ".join(sorted(needed.names)) or "a tensor made of others",
                                remedy="Shapes or branches are made of it: pass a numpy array") from None  # fmt: skip
        found: dict[str, Tensor] = {}
        for info, value in zip(self.outputs, made, strict=True):
            if isinstance(value, ValueSequence):
                raise ArgumentError(where, f"output {info.name!r} is no tensor", expected="tensors", got=info.kind,
                                    remedy="Call run, or export the model without it")  # fmt: skip
            found[info.name] = value if isinstance(value, Tensor) else array(value, on=self._device)
        return found

    def _run_graph(
        self, given: Mapping[str, Held], weights: Mapping[str, Tensor], run: GraphPass | None = None
    ) -> tuple[list[Held], IndexLimits]:
        read = self._read
        recording = GraphRecording(
            read.opsets, read.functions, self._device, self._arrays, read.initializers, read.array, run
        )
        scope: dict[str, Held | None] = {**self._initializers, **weights, **given}
        made = recording.within(scope, self._nodes, [o.name for o in read.graph.output], read.opsets)
        return made, recording.limits

    # running

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs by name; sequences are lists of arrays.

        Args:
            inputs: Arrays by the names of the inputs; a list of them for a sequence.

        Raises:
            ArgumentError: Names are missing or strange.
            DTypeError: An array of another dtype.
            ShapeError: An array of another shape.
            IndexOutside: An index that an operator is given is outside.
        """
        given = read_inputs(inputs, self._infos, [i.name for i in self.inputs], "onnx.run")
        with self.lock:
            found = self._programs.find(self._key(given))
            if found is None:
                found = self._compile(given)
                self._programs.add(self._key(given), found)
            values = {n: arrays_of(v) for n, v in given.items()}
            read = found.run({fed: values[name][k] for fed, (name, k) in found.fed.items()})
        return {info.name: make(read) for info, make in zip(self.outputs, found.results, strict=True)}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the only output, or a tuple of all: of arrays in the inputs' order, or by the inputs' names.

        Tensors of PyTorch are taken as arrays are. Errors are those of ``run``.
        """
        found = tuple(self.run(name_arguments(list(self._infos), args, kwargs, "onnx.run")).values())
        return found[0] if len(found) == 1 else found

    def _key(self, given: Mapping[str, Any]) -> Any:
        def key_of(name: str, a: np.ndarray[Any, Any]) -> tuple[Any, ...]:
            return a.shape, hashlib.sha256(a.tobytes()).digest() if name in self._specialised else b""

        return tuple(
            (name, isinstance(v, list), v is None, *(key_of(name, a) for a in arrays_of(v)))
            for name, v in sorted(given.items(), key=_first)
        )

    def _compile(self, given: Mapping[str, Any]) -> _Compiled:
        """Record, again with the values of inputs that decided something, until all that is needed is known."""
        fed = {
            f"i{i}_{k}": (name, k) for i, (name, v) in enumerate(sorted(given.items(), key=_first))
            for k in range(len(arrays_of(v)))
        }  # fmt: skip
        while True:
            try:
                return self._record(given, fed)
            except ValuesNeeded as needed:
                more = {fed[name][0] for name in needed.names} - self._specialised
                if not more:
                    raise AssertionError("the values were given") from None
                self._specialised |= more

    def _record(self, given: Mapping[str, Any], fed: Mapping[str, tuple[str, int]]) -> _Compiled:
        places: dict[str, list[Value]] = {name: [] for name in given}
        for feed, (name, k) in fed.items():
            a = arrays_of(given[name])[k]
            is_fed = name not in self._specialised
            places[name].append(tensor_input(feed, a.shape, self._infos[name].type) if is_fed else a)
        scope: dict[str, Held] = {
            name: EMPTY if v is None else ValueSequence(places[name]) if isinstance(v, list) else places[name][0]
            for name, v in given.items()
        }
        made, limits = self._run_graph(scope, {} if self._weights is None else self._weights.all)
        for info, value in zip(self.outputs, made, strict=True):
            check_output(info, value)
        return _Compiled(made, limits, self._device, fed)

    # training

    def _trainee(self) -> OnnxGraph:
        """Return the model as it is trained, made once."""
        from loom.onnx.training import OnnxGraph

        with self.lock:
            if self._training is None:
                self._training = OnnxGraph(
                    self.inputs, self.outputs, self._as_weights(), self._read,
                    lambda inputs, run: self.record(inputs, learning=run), self.lock, self._device,
                )  # fmt: skip
            return self._training

    def train(
        self,
        x: Any,
        y: Any,
        *,
        validation: tuple[Any, Any] | None = None,
        optimizer: str | Optimizer = "sgd",
        schedule: str | Schedule | None = None,
        frozen: Sequence[str] = (),
        batch_statistics: bool = False,
        resume: bool = False,
        progress: bool | None = None,
        **settings: Any,
    ) -> History:
        """Train ``parameters`` with samples and targets.

        Without ``loss``: cross-entropy for classes and one-hot rows, of probabilities where a Softmax or Sigmoid makes
        the output, else the mean squared error. Dropout whose graph says ``training_mode`` is drawn by ``seed`` and
        step.

        Args:
            x: Samples (n, ...), of several inputs by name.
            y: Targets (n, ...), of several outputs by name.
            validation: Pair of samples and targets that are measured after each epoch; None: none.
            optimizer: Name of an optimiser, or one with settings.
            schedule: Name of a schedule of learning rates, or one with settings; None: the rate stays.
            frozen: Names of parameters that stay as they are.
            batch_statistics: Whether normalisation uses the means of each batch, and moves the running ones; else those
                are constants.
            resume: Whether it goes on from where the last training stopped, up to ``epochs`` in all.
            progress: Whether a bar is drawn; None: on a terminal or in a notebook.
            **settings: Settings of ``loom.nn.train.TrainConfig`` (``loss``, ``learning_rate``, ``epochs``,
                ``batch_size``, ``clip_norm``, ...).

        Returns:
            History: losses, rates and measures of each epoch.

        Raises:
            ArgumentError: A setting is unknown, unusable or has no effect; names are not those of inputs or outputs; a
                class outside; nothing can be trained.
            DTypeError: Not numbers, or not of the kind needed.
            ShapeError: Samples and targets differ in number, or from the shapes of the model.
            EmptyError: No samples.
            NotFinite: NaN or an infinity among the samples, or met in training.
        """
        how = (optimizer, schedule, resume, progress)
        return self._trainee().fit(x, y, validation, how, frozen, batch_statistics, settings)
