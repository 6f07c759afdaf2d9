"""``StepState``: a network that advances tick by tick, every layer at once from what the tick before left.

Layer: nn. Invariant: the weights are the network's; everything else of a state is its own, in parameters that programs
update, so that a tick is one program and the same bits come of it on every device.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from loom.core.arrays import Array
from loom.core.conversions import widen
from loom.core.errors import ArgumentError, NotFinite, StateError, near_matches
from loom.nn.spec import NetworkSpec, Snapshot
from loom.nn.step.course import Course
from loom.nn.step.keeping import arrays_of, put_back, read_state, write_state
from loom.nn.step.learning import ends_of, read_lesson, read_optimizer, read_rate, record_learning, record_plain
from loom.nn.step.places import BufferPlace, fit
from loom.nn.step.programs import StepPrograms
from loom.nn.step.tokens import Forms, bare_shapes, one_token
from loom.nn.step.watching import copies, show_tick
from loom.nn.step.wiring import Wiring
from loom.nn.train.optimizers import Optimizer
from loom.nn.train.samples import by_name, require_ids
from loom.nn.train.scalars import flag, whole
from loom.nn.train.targets import Losses
from loom.nn.train.updates import Pairs
from loom.nn.weights.model import Model
from loom.tensor import Tensor

__all__ = ["GRADIENTS", "StepState"]

GRADIENTS = ("true", "current", "rescaled")
"""Ways to the gradient: see ``StepState``."""


class Stepped(Protocol):
    """What advances: ``loom.Network``. ``training``: where its last training stopped, None after other changes."""

    spec: NetworkSpec
    model: Model
    training: Snapshot | None


class StepState:
    """Buffers of a network's layers, and what moves them. ``network.step()`` makes one.

    There is a buffer for each input and each node of the network, of (batch, *shape), all zeros at first. A tick makes
    every node of what the buffers held before it: after ``depth`` ticks of the same input the outputs are those of
    ``network.forward``.

    ``gradient``: what ``step_backward`` computes. "true": the derivative of what the ticks computed; each layer at what
    it read when it made what reached the outputs, for which a history of reads is kept. "current": one pass back at
    what the buffers hold now, without a history; the same once the input was held for ``depth`` ticks. "rescaled":
    that, each array g of it times n softmax(abs(g)), as the older generations do. None: no gradient. Weights are those
    of now in each.

    ``tensors``: the buffers by name, on the device, parameters that programs may read and update.

    Args:
        network: Network, whose weights are those of now in every tick.
        batch: Number of samples that advance side by side.
        training: Whether ticks are those of training: dropout and noise, drawn by the tick's number, and batch
            statistics.
        gradient: "true", "current", "rescaled", or None: no gradient.
        horizon: Most ticks that a gradient reaches back; None: as many as the network is deep.

    Raises:
        ArgumentError: Not a whole number, at least 1; ``training`` is no truth; there is no such way; a horizon without
            a history.
        ShapeError: Too many elements.

    >>> import loom
    >>> net = loom.Network.from_json({"format": "loom/1", "input": {"shape": [2]}, "layers": [
    ...     {"type": "dense", "output_size": 3}, {"type": "dense", "output_size": 1}]})
    >>> state = net.step()
    >>> state.set_input([1.0, 2.0])
    >>> for _ in range(state.depth):
    ...     state.step_forward()
    >>> bool(state.get_output() == net.forward([1.0, 2.0]))
    True
    """

    def __init__(self, network: Stepped, *, batch: int = 1, training: bool = False, gradient: str | None = "true",
                 horizon: int | None = None) -> None:  # fmt: skip
        where = "loom.Network.step"
        self.network = network
        self.batch = whole(f"{where}, batch", batch, least=1)
        self.training = flag(f"{where}, training", training)
        if gradient is not None and not (isinstance(gradient, str) and gradient in GRADIENTS):
            raise ArgumentError(f"{where}, gradient", "no such way", expected="one of " + ", ".join(GRADIENTS),
                                got=repr(gradient), remedy=near_matches(str(gradient), GRADIENTS))  # fmt: skip
        if horizon is not None:
            if gradient != "true":
                raise ArgumentError(f"{where}, horizon", "has no effect without a history", expected='gradient="true"',
                                    got=repr(gradient), remedy="Leave it out")  # fmt: skip
            horizon = whole(f"{where}, horizon", horizon, least=1)
        self.gradient, self.horizon = gradient, horizon
        spec, self._timed = one_token(network.spec)
        if self.training:
            spec.require_several((self.batch,), f"{where}, batch", "Pass batch=2 or more")
        self.wiring = Wiring(spec)
        with network.model.lock:
            self.programs = StepPrograms(
                network.model, self.wiring, self.batch, gradient, horizon, training=self.training
            )
        self._inputs = [BufferPlace(self.tensors[n]) for n in self.wiring.inputs]
        self._outputs = [BufferPlace(self.tensors[n]) for n in self.wiring.spec.outputs]
        self._forms = {i.name: bare_shapes(self.batch, i.shape, has_tokens=i.name in self._timed) for i in spec.inputs}
        rows = {n: h.shape[0] for n, h in self.programs.history.items()}
        self._course = Course(self.wiring, rows, self.programs.horizon, is_cut=horizon is not None)
        self._form = False, False
        self._has_gradients = False

    # what there is

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The buffers by name, on the device: inputs, nodes, and what recurrent layers carry."""
        return self.programs.tensors

    @property
    def ticks(self) -> int:
        """How many ticks there were since it was made, or reset."""
        return self._course.ticks

    @property
    def depth(self) -> int:
        """Ticks until all outputs show what is held in the inputs."""
        return self.wiring.depth

    @property
    def delays(self) -> dict[str, int]:
        """Name -> ticks until a buffer shows what is held in the inputs, and nothing else."""
        return dict(self.wiring.delays)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all nodes, in the network's order."""
        return self.wiring.nodes

    @property
    def _model(self) -> Model:
        """The network's weights and lock; StateError if the network has others by now."""
        found = self.programs.model
        if self.network.model is not found:
            raise StateError("StepState", "the network was moved to another device", expected="its weights, which the "
                             "state shares", got="those that were left behind",
                             remedy="Go on with copy.copy(state), which is of the network as it is now")  # fmt: skip
        return found

    def __repr__(self) -> str:
        """Return what it is a state of, and where it is."""
        return f"<StepState of {self.network!r}: batch {self.batch}, depth {self.depth}, {self.ticks} ticks>"

    # forward

    def set_input(self, x: Any) -> None:
        """Put samples into the inputs, where they stay; where there is an error, nothing is changed.

        Args:
            x: Samples (batch, *shape), or, of a batch of 1, without the axis; of several inputs a mapping by name, or a
                list.

        Raises:
            ArgumentError: The names are not those of the inputs; an id that is no row of its table.
            DTypeError: Not numbers, or not of the input's kind.
            ShapeError: Samples of another shape.
            NotFinite: NaN or an infinity among them.
        """
        if type(x) is np.ndarray and len(self._inputs) == 1 and self._write_plain(x):
            return
        where = "StepState.set_input"
        given = by_name(x, self.wiring.inputs, f"{where}, x")
        fitted = [fit(a, self.tensors[n], f"{where}, {n!r}", self._forms[n]) for n, a in given.items()]
        for name, (array, _) in zip(given, fitted, strict=True):
            self._require_ids(name, array, where)
        with self._model.lock:
            for place, (array, _) in zip(self._inputs, fitted, strict=True):
                place.write(array)
        forms = [form for _, form in fitted]
        timed = [form[1] for n, form in zip(given, forms, strict=True) if n in self._timed]
        self._form = all(form[0] for form in forms), bool(timed) and all(timed)

    def _write_plain(self, x: Array) -> bool:
        """Write an array that is as the buffer; False for any other, which is converted or refused."""
        place = self._inputs[0]
        form = self._forms[self.wiring.inputs[0]].get(x.shape)
        if form is None or not place.holds(x):
            return False
        self._require_ids(self.wiring.inputs[0], x, "StepState.set_input")
        with self._model.lock:
            place.write(x.reshape(place.shape))
        self._form = form
        return True

    def _require_ids(self, name: str, x: Array, where: str) -> None:
        rows = self.wiring.spec.vocabularies().get(name)
        if rows is not None:
            require_ids(x, rows, where, f"{name!r}")

    def step_forward(self, nodes: Iterable[str] | None = None) -> None:
        """Advance layers at once, each from what the buffers hold.

        Args:
            nodes: Names of nodes, or one; None: all.

        Raises:
            ArgumentError: No node is called so.
        """
        every, model = self.wiring.nodes, self._model
        moved = every if nodes is None else self.wiring.read_nodes(nodes, "StepState.step_forward")
        watch = model.watch
        before = None if watch is None or watch.is_showing else copies(watch, self.wiring.spec, self.tensors)
        with model.lock:
            ready = self._course.ready(moved)
            (self.programs.every if ready is every else self.programs.tick(ready)).run()
            self._course.advance(ready)
        if watch is not None and before is not None:
            after = copies(watch, self.wiring.spec, self.tensors)
            show_tick(watch, self.wiring.spec, before, after, ready, self.ticks)

    def step_through(self) -> None:
        """Advance the layers one after the other in the network's order, each from what those before it just made.

        The outputs show at once what is in the inputs: the ordinary forward, but for what recurrent layers carry. It
        counts as a tick for each node.
        """
        model = self._model
        if self.gradient == "true" or model.watch is not None:  # of which each wants single ticks
            for name in self.wiring.nodes:
                self.step_forward([name])
            return
        with model.lock:
            self.programs.through().run()
            for name in self.wiring.nodes:
                self._course.advance((name,))

    def get_output(self) -> Any:
        """Return what the outputs show now: (batch, *shape), or without the axis as the input; several: a dict."""
        with self.programs.model.lock:
            made = [place.read() for place in self._outputs]
        if self._form != (False, False):
            made = [self._restore_axes(n, a) for n, a in zip(self.wiring.spec.outputs, made, strict=True)]
        return made[0] if len(made) == 1 else dict(zip(self.wiring.spec.outputs, made, strict=True))

    def _restore_axes(self, name: str, made: Array) -> Array:
        """Return an array of the network's with the axes that the input was given with."""
        is_single, is_bare = self._form
        if is_bare and name in self._timed:
            made = made[:, 0]
        return made[0] if is_single else made

    # backward

    def step_backward(self, gradient: Any) -> Any:
        """Compute the gradients of all weights.

        The gradient of an input is by what it held in all the ticks behind the outputs together; of an input that is no
        float None.

        Args:
            gradient: Gradient of what the outputs show; of several outputs a mapping by name, or a list.

        Returns:
            Gradient of the input, of several by name.

        Raises:
            ArgumentError: The names are not those of the outputs.
            DTypeError: Not numbers.
            ShapeError: It is not of the outputs' shape.
            StateError: Before the first tick; a state without gradients.
            NotFinite: A gradient is, or becomes, NaN or infinite; nothing can be applied then.
        """
        where = "StepState.step_backward"
        self.programs.require_way(where)
        if not self.ticks:
            raise StateError(where, "nothing was computed yet", expected="a tick", got="none",
                             remedy="Call step_forward first")  # fmt: skip
        outputs = self.wiring.spec.outputs
        given = by_name(gradient, outputs, f"{where}, gradient", "y")
        fitted = {n: fit(a, self.tensors[n], f"{where}, {n!r}", self._forms_of(n))[0] for n, a in given.items()}
        past = self._course.read_past(where) if self.gradient == "true" else None
        with self._model.lock:
            self._has_gradients = False
            program = self.programs.back(past)
            program.run(**{key: fitted[n] for i, n in enumerate(outputs) if (key := f"g{i}") in program.inputs})
            spread, *made = program.read()
        if spread != 0:
            raise NotFinite(where, "a gradient is NaN or infinite", expected="finite numbers",
                            remedy="Use a smaller rate; reset() empties the buffers")  # fmt: skip
        self._has_gradients = True
        floats = [i.name for i in self.wiring.spec.inputs if i.dtype.is_float]
        by_input = {n: self._restore_axes(n, g) for n, g in zip(floats, made, strict=True)}
        found = {n: by_input.get(n) for n in self.wiring.inputs}
        return found if len(found) > 1 else next(iter(found.values()))

    def gradients(self) -> dict[str, Array]:
        """Return copies of the weights' gradients by name, those of the last ``step_backward``.

        Raises:
            StateError: There is none.
        """
        self._require_gradients("StepState.gradients")
        with self.programs.model.lock:
            return {n: g.numpy() for n, g in self.programs.gradients.items()}

    def _require_gradients(self, where: str) -> None:
        if not self._has_gradients:
            raise StateError(where, "there are no gradients", expected="those of step_backward, not yet applied",
                             got="none", remedy="Call step_backward first")  # fmt: skip

    def apply_gradients(self, learning_rate: float = 0.01, optimizer: str | Optimizer = "sgd") -> None:
        """Move the network's weights along the gradients, which are gone then.

        Args:
            learning_rate: Rate of the move.
            optimizer: Name of an optimiser, or one with settings; what it keeps (momentum, means) stays from call to
                call.

        Raises:
            ArgumentError: The rate is no number of at least 0; no optimiser is called so.
            StateError: There are no gradients; the network is being trained.
        """
        where = "StepState.apply_gradients"
        rate, chosen = read_rate(self.programs, learning_rate, where), read_optimizer(optimizer, where)
        self._require_gradients(where)
        model = self._model
        with model.lock, model.alone(where):
            self.programs.require_weights(where)
            self.programs.move(chosen).run(rate=rate)
            self.network.training = None
            self._has_gradients = False

    def learn(self, x: Any, y: Any, learning_rate: float = 0.01, *, loss: Losses = None,
              optimizer: str | Optimizer = "sgd") -> float:  # fmt: skip
        """Put samples in, advance every layer, and move the weights along the gradient of the loss: all in one program.

        The bits are those of set_input, step_forward, step_backward and apply_gradients.

        Args:
            x: Samples, as of ``set_input``.
            y: Targets, as of ``Network.train``, of what the outputs show after this tick.
            learning_rate: Rate of the move.
            loss: Loss, as of ``Network.train``; None: the one that the output and the targets ask for.
            optimizer: Name of an optimiser, or one with settings; what it keeps (momentum, means) stays from call to
                call.

        Returns:
            Loss of this tick.

        Raises:
            ArgumentError: The rate is no number of at least 0; no optimiser or loss is called so; names are not those
                of inputs or outputs; a class outside.
            DTypeError: Not numbers, or not of the kind needed.
            ShapeError: Samples or targets of another shape.
            StateError: A state without gradients; a tick of the history was not one of all nodes, or a buffer was
                written by hand; the network is being trained.
            NotFinite: The samples, the loss or a gradient is NaN or infinite; no weight moved.
        """
        where = "StepState.learn"
        self.programs.require_way(where)
        rate, chosen = read_rate(self.programs, learning_rate, where), read_optimizer(optimizer, where)
        if not (self._course.is_regular if self.gradient == "true" else self._course.is_in_step):
            raise StateError(where, "a tick of the history was not one of all nodes, or a buffer was written by hand",
                             expected="ticks of all nodes", got="others",
                             remedy="Use step_backward and apply_gradients, or reset()")  # fmt: skip
        lesson, feeds = read_lesson(self.programs, y, loss, chosen, where)
        self.set_input(x)
        model = self._model
        with model.lock, model.alone(where):
            key = "learn", lesson, model.frozen
            program = self.programs.program(key, lambda: ends_of(record_learning(self.programs, lesson, fed=False)))
            program.run(**feeds, rate=rate)
            found, away = (float(x) for x in program.read()[-2:])
            self._course.advance(self._course.ready(self.wiring.nodes))
            self._has_gradients, self.network.training = False, None
        if not np.isfinite(found) or away != 0:
            what = "the loss" if not np.isfinite(found) else "a gradient"
            raise NotFinite(where, f"{what} is NaN or infinite", expected="finite numbers", got=found,
                            remedy="Use a smaller rate; no weight was moved")  # fmt: skip
        return found

    def record(
        self, y: Any = None, *, loss: Losses = None, optimizer: str | Optimizer = "sgd"
    ) -> tuple[dict[str, Tensor], Pairs]:
        """Return a tick as ``loom.export.freeze_program`` and ``tensor.compile`` take it: outputs, and updates.

        It is fed the inputs as x (of several x0, x1, ..) and gives the outputs as y (y0, y1, ..). With ``y``, targets
        like those to come, it is a tick that learns, as ``learn``: it is fed targets t (t0, ..) and ``rate`` as well,
        and gives the ``loss``, too. Buffers, history, weights and what the optimiser keeps are the program's state.

        Args:
            y: Targets like those to come, for a tick that learns; None: for one that does not.
            loss: Loss, as of ``learn``.
            optimizer: Optimiser, as of ``apply_gradients``.

        Raises:
            ArgumentError: ``loss`` or ``optimizer`` without targets; no optimiser or loss is called so; a class
                outside.
            DTypeError: Targets of another kind.
            ShapeError: Targets of another shape.
            StateError: A state without gradients.
        """
        where = "StepState.record"
        with self._model.lock:
            if y is None:
                if loss is not None or optimizer != "sgd":
                    raise ArgumentError(f"{where}, loss, optimizer", "has no effect without targets", expected="y",
                                        got="none", remedy="Pass targets like those to come")  # fmt: skip
                return record_plain(self.programs)
            self.programs.require_way(where)
            lesson, _ = read_lesson(self.programs, y, loss, read_optimizer(optimizer, where), where)
            return record_learning(self.programs, lesson, fed=True)

    # control

    def buffer(self, name: str) -> Array:
        """Return a copy of a buffer.

        Args:
            name: Name of an input, a node, or what a recurrent layer carries (``state.tensors``).

        Raises:
            ArgumentError: No buffer is called so.
        """
        with self.programs.model.lock:
            return widen(*self._tensor(name, "StepState.buffer").host_elements())

    def set_buffer(self, name: str, values: Any) -> None:
        """Write a buffer by hand. A gradient ends there: what was written is not the node's.

        Args:
            name: Name of the buffer.
            values: Array of its shape.

        Raises:
            ArgumentError: No buffer is called so; an id that is no row of its table.
            DTypeError: Not numbers, or not of its kind.
            ShapeError: An array of another shape.
            NotFinite: NaN or an infinity among them.
        """
        like = self._tensor(name, "StepState.set_buffer")
        array, _ = fit(values, like, f"StepState.set_buffer, {name!r}", self._forms_of(name))
        self._require_ids(name, array, "StepState.set_buffer")
        with self._model.lock:
            like.assign(array)
            if name not in self.wiring.inputs:
                self._course.write(name)

    def _tensor(self, name: str, where: str) -> Tensor:
        if name not in self.tensors:
            raise ArgumentError(where, f"no buffer is called {name!r}", expected="one of " + ", ".join(self.tensors),
                                got=repr(name), remedy=near_matches(str(name), list(self.tensors)))  # fmt: skip
        return self.tensors[name]

    def _forms_of(self, name: str) -> Forms:
        return bare_shapes(self.batch, self.tensors[name].shape[1:], has_tokens=name in self._timed)

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all it holds by name: buffers, history, what optimisers keep; no weights, which are the
        network's."""
        with self.programs.model.lock:
            return arrays_of(self.programs, self._course, self._form)

    def load_state_dict(self, arrays: Mapping[str, Any]) -> None:
        """Put back the arrays of ``state_dict``; where there is an error, nothing is changed.

        Args:
            arrays: Arrays that ``state_dict`` of a state made alike gave.

        Raises:
            ArgumentError: Arrays of another state.
        """
        with self._model.lock:
            self._form, self._has_gradients = put_back(self.programs, self._course, arrays), False

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``state_dict`` as a .npz.

        Args:
            path: File.

        Raises:
            FileError: Nothing can be written there.
        """
        write_state(path, self.state_dict())

    def load(self, path: str | os.PathLike[str]) -> None:
        """Put back the arrays of a file of ``save``.

        Args:
            path: File.

        Raises:
            ArgumentError: Arrays of another state.
            FileError: The file cannot be read.
        """
        self.load_state_dict(read_state(path))

    def __reduce__(self) -> Any:
        """Have ``pickle`` and ``copy`` make a state of its own, all but ``copy.copy`` of a network of its own."""
        settings = self.batch, self.training, self.gradient, self.horizon
        return _remade, (self.network, settings, self.state_dict())

    def reset(self) -> None:
        """Empty all buffers, and what layers carry; the next tick is the first. What optimisers keep stays."""
        programs = self.programs
        with programs.model.lock:
            for held in (*programs.tensors.values(), *programs.history.values(), programs.number):
                held.write_elements(np.zeros(held.shape, held.dtype.numpy))
            self._course.clear()
            self._has_gradients = False


def _remade(network: Stepped, settings: tuple[Any, ...], arrays: Mapping[str, Array]) -> StepState:
    batch, training, gradient, horizon = settings
    state = StepState(network, batch=batch, training=training, gradient=gradient, horizon=horizon)
    state.load_state_dict(arrays)
    return state
