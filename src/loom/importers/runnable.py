"""``RunnableGraph``: an imported graph over weights, recorded and run for each set of shapes.

Layer: importers. Invariant: the bits of outputs depend on graph, weights and inputs alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from loom import tensor
from loom.core.arrays import Array, read_array
from loom.core.conversions import show
from loom.core.dtype import DType
from loom.core.errors import ArgumentError, DTypeError, near_matches
from loom.core.given import is_mapping
from loom.core.late.dataclass import dataclass
from loom.importers.latestprograms import LatestPrograms, LimitedProgram
from loom.importers.ports import ArrayInfo, check_names, check_shapes
from loom.importers.recordings import GraphPass
from loom.nn.base.digests import digest_of
from loom.nn.base.held import HeldWeights
from loom.nn.spec.base.meaning import NUMBERS, Meaning
from loom.nn.train.samples import by_name, require_ids
from loom.runtime.port.device import Device
from loom.runtime.port.elements import Readable
from loom.runtime.registry import device as find_device
from loom.tensor import Tensor, TensorProgram
from loom.tensor.ops.precision import precision as in_precision
from loom.tensor.selecting.outside import IndexLimits

__all__ = ["Facts", "RunnableGraph"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Facts:
    """What a batch that is recorded tells of a training of some outputs.

    ``shapes``: those of one sample's outputs. ``unused``: inputs that nothing in the training is made of, with the
    shape of a sample. ``reached``: the parameters that these outputs are made of.
    """

    shapes: Mapping[str, Shape]
    unused: Mapping[str, tuple[Shape, DType]]
    reached: frozenset[str]


class RunnableGraph(HeldWeights, ABC):
    """A graph with weights on a device.

    ``inputs``, ``outputs``: what it takes and gives; ``parameters``: trained arrays by name; ``state``: arrays that
    only a pass in training changes; ``frozen``: names that training leaves as they are; ``state_updates``: (state, its
    new value) of the last ``apply``. ``seed``: of what it draws.
    """

    batch_size = 1
    """That of a training is told by who trains."""
    settings: tuple[str, ...] = ("validation", "optimizer", "schedule", "resume", "progress")
    """What ``train`` takes besides the settings of ``TrainConfig``."""
    facts: tuple[Any, Facts] | None = None
    """What the batch that was recorded last told of a training, and of what it is."""

    def __init__(
        self, inputs: Sequence[ArrayInfo], outputs: Sequence[ArrayInfo], parameters: Mapping[str, Any],
        state: Mapping[str, Any], *, on: str | Device | None = None, frozen: Collection[str] = (), seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.device, self.seed = find_device(on), seed
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.parameters = {name: self._store(name, a) for name, a in parameters.items()}
        self.state = {name: self._store(name, a) for name, a in state.items()}
        self.frozen = frozenset(frozen)
        self.learning_rates: dict[str, float] = {}
        self.state_updates: list[tuple[Tensor, Tensor]] = []
        self._programs = LatestPrograms[LimitedProgram]()

    def _store(self, name: str, values: Any) -> Tensor:
        return values if isinstance(values, Tensor) else tensor.parameter(values, name=name, on=self.device)

    @abstractmethod
    def record(self, inputs: Mapping[str, Tensor], run: GraphPass) -> Mapping[str, Tensor]:
        """Record the graph over tensors by the inputs' names; return its outputs by name."""

    def meaning(self, output: str, shape: tuple[int, ...]) -> Meaning:
        """Return what the numbers of an output mean, one sample of which has a shape; numbers, if nothing tells."""
        del output, shape
        return NUMBERS

    @property
    def mode(self) -> tuple[Any, ...]:
        """What recordings depend on besides inputs and weights; the programs of a training are of one mode."""
        return (self.seed,)

    @property
    def where(self) -> str:
        """How errors call it."""
        return f"loom.{type(self).__name__}"

    # weights

    def digest(self) -> str:
        """Return the SHA-256 of names, types, shapes and bits of all weights."""
        return digest_of(self.weights())

    def freeze(self, *names: str) -> None:
        """Have training leave weights as they are.

        Args:
            *names: Names of weights, or their beginnings up to a dot; none: all.

        Raises:
            ArgumentError: No weight is called so.
        """
        self.frozen = self.frozen | self._matching(names, "freeze")

    def unfreeze(self, *names: str) -> None:
        """Have training change weights again.

        Args:
            *names: Names of weights, or their beginnings up to a dot; none: all.

        Raises:
            ArgumentError: No weight is called so.
        """
        self.frozen = self.frozen - self._matching(names, "unfreeze")

    def _matching(self, names: Sequence[str], what: str) -> frozenset[str]:
        if not names:
            return frozenset(self.parameters)
        found: set[str] = set()
        for name in names:
            here = {n for n in self.parameters if n == name or n.startswith(f"{name}.")}
            if not here:
                raise ArgumentError(f"{self.where}.{what}", f"no weight is called {name!r}",
                                    remedy=near_matches(name, list(self.parameters)) or "Leave it out")  # fmt: skip
            found |= here
        return frozenset(found)

    # recording

    def apply(self, x: Tensor | Mapping[str, Tensor], **options: Any) -> Tensor:
        """Record the graph and return its only output.

        Args:
            x: Tensor, of several inputs a mapping by name.
            **options: ``training``, ``step``, ``compute`` and ``precision``, as of ``apply_all``.

        Returns:
            The tensor of the only output.

        Raises:
            ArgumentError: There are several outputs; names that are not those of the inputs.
            DTypeError: A tensor of another dtype.
            ShapeError: A tensor of another shape.
        """
        found = self.apply_all(x, **options)
        if len(found) != 1:
            raise ArgumentError(f"{self.where}.apply", "the model has several outputs", expected="one",
                                got=", ".join(found), remedy="Use apply_all")  # fmt: skip
        return next(iter(found.values()))

    def apply_all(
        self, x: Tensor | Mapping[str, Tensor], *, training: bool = False, step: Tensor | None = None,
        compute: DType | None = None, precision: str | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Record the graph on tensors, of several inputs a mapping by name; return its outputs by name.

        Args:
            x: Tensor, of several inputs a mapping by name.
            training: Whether the graph is in training.
            step: Number of the training step, a tensor of integers of one element, which draws depend on; None: 0.
            compute: Dtype that parameters and inputs are brought to; None: their own.
            precision: Precision of products of matrices; None: that of ``loom.precision``.

        Returns:
            Tensors of the outputs by name.

        Raises:
            ArgumentError: Names that are not those of the inputs; there is no such precision.
            DTypeError: A tensor of another dtype.
            ShapeError: A tensor of another shape.
        """
        made, run = self.trace(x, training=training, step=step, compute=compute, precision=precision)
        held = self.parameters | self.state
        self.state_updates = [(held[n], new) for n, new in run.updates.items()]
        return made

    def trace(
        self, x: Tensor | Mapping[str, Tensor], *, training: bool = False, step: Tensor | None = None,
        compute: DType | None = None, precision: str | None = None,
    ) -> tuple[dict[str, Tensor], GraphPass]:  # fmt: skip
        """Record the graph as ``apply_all`` does; return its outputs and the pass, and leave ``state_updates``."""
        given: dict[str, Any] = dict(x) if is_mapping(x) else {self.inputs[0].name: x}
        self.check(given, f"{self.where}.apply")
        weights = self.parameters
        if compute is not None:
            weights = {n: w.astype(compute) if w.dtype.is_float else w for n, w in weights.items()}
            given = {n: a.astype(compute) if a.dtype.is_float else a for n, a in given.items()}
        run = GraphPass(weights | self.state, training, step, self.seed)
        with in_precision(precision):
            return dict(self.record(given, run)), run

    def check(self, given: Mapping[str, Any], where: str) -> None:
        """See that arrays or tensors are the model's inputs, of its dtypes and shapes."""
        known = {i.name: i for i in self.inputs}
        check_names(given, list(known), list(known), where)
        for name, a in given.items():
            if isinstance(a, Tensor) and a.dtype != known[name].type:
                raise DTypeError(where, f"{name!r} has another dtype", expected=known[name].dtype, got=a.dtype,
                                 remedy="Convert with astype")  # fmt: skip
        check_shapes(given, known, where)

    def not_trained(self, outputs: Sequence[str]) -> frozenset[str]:
        """Return the names of parameters that a training of some outputs (none: all) leaves as they are."""
        del outputs
        return self.frozen

    # running

    def forward(self, x: Any) -> dict[str, Array]:
        """Return the outputs by name, for arrays by name, a list in the inputs' order, or the only input's array.

        Args:
            x: Arrays by the inputs' names, a list of them in their order, or the only input's.

        Returns:
            Arrays by the outputs' names.

        Raises:
            ArgumentError: Names that are not those of the inputs; an id that is no row of its table.
            DTypeError: An array of another dtype, or none of numbers.
            ShapeError: An array of another shape.
            IndexOutside: An index that the graph computes and that there is not.
        """
        given = self.read(x, f"{self.where}.forward")
        shapes = {n: tuple(a.shape) for n, a in given.items()}
        key = tuple(shapes.items())
        with self.lock:
            program = self._programs.find(key)
            if program is None:
                made = LimitedProgram(*self._ends(shapes), self.device, type(self).__name__)
                program = self._programs.add(key, made)
            found = program.run({feed: given[n] for n, feed in self._feeds().items()})
            return dict(zip((o.name for o in self.outputs), found, strict=True))

    def read(self, x: Any, where: str) -> dict[str, Any]:
        """Return arrays by the inputs' names, of their dtypes and shapes."""
        given = by_name(x, [i.name for i in self.inputs], where) if self.inputs else {}
        found = {i.name: self._array(given[i.name], i, where) for i in self.inputs}
        check_shapes(found, {i.name: i for i in self.inputs}, where)
        for name, rows in self.vocabularies().items():
            ids = found[name]
            require_ids(ids.host_elements()[0] if isinstance(ids, Readable) else ids, rows, where, f"{name!r}")
        return found

    def vocabularies(self) -> Mapping[str, int]:
        """Return input -> rows of the table that it is looked up in, as far as the graph tells."""
        return {}

    def _array(self, value: Any, info: ArrayInfo, where: str) -> Any:
        if isinstance(value, Readable):
            found, held = value, value.dtype
        else:
            found, held = read_array(value, f"{where}, {info.name!r}")
        if held != info.type:
            raise DTypeError(where, f"{info.name!r} has another dtype", expected=info.dtype, got=held,
                             remedy=f"Convert it to {info.dtype}")  # fmt: skip
        return found if isinstance(found, Readable) else show(found, held)

    def _feeds(self) -> dict[str, str]:
        """Return what programs call the inputs: as the model does where that is a name, and no weight's."""
        names = [info.name for info in self.inputs]
        if all(name.isidentifier() and name not in self.parameters and name not in self.state for name in names):
            return {name: name for name in names}
        return {name: f"x{n}" for n, name in enumerate(names)}

    def compile(self, shapes: Mapping[str, tuple[int, ...]]) -> TensorProgram:
        """Return a new program of the forward pass for inputs of these shapes: what exports take.

        Its inputs are called as the model's are, or x0, x1, ... where one of these is no identifier, or is called as a
        weight. Its outputs are in the order of ``outputs``; it reads the model's weights.

        Args:
            shapes: Shapes by the inputs' names.

        Raises:
            ArgumentError: Names that are not those of the inputs.
            ShapeError: A shape that the graph is not of.
        """
        known = [i.name for i in self.inputs]
        check_names(shapes, known, known, f"{self.where}.compile")
        return tensor.compile(self._ends(shapes)[0], on=self.device, name=type(self).__name__)

    def _ends(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[list[Tensor], IndexLimits]:
        """Return the model's outputs for inputs of these shapes, and the limits of the indices that it computes."""
        feeds = self._feeds()
        made, run = self.trace({i.name: tensor.input(feeds[i.name], shapes[i.name], i.type) for i in self.inputs})
        return [made[o.name] for o in self.outputs], run.limits
