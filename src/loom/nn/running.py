"""What a network does with samples: its outputs, and how good they are.

Layer: nn. Invariant: outputs of several batches are of one state of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.dtype import DType, bf16
from loom.core.errors import ShapeError
from loom.core.given import is_mapping
from loom.core.tracebacks import brief_class
from loom.nn.spec import NetworkSpec
from loom.nn.train.config import TrainConfig
from loom.nn.train.samples import batches, by_name, check_inputs, check_samples, for_each, numbers
from loom.nn.train.targets import Losses, Output, fit_all_targets
from loom.nn.weights.model import Model

if TYPE_CHECKING:
    from loom.nn.train.measures import Evaluation

__all__ = ["Runner"]

_EVALUATED_AT_ONCE = 256


@brief_class
class Runner:
    """The part of ``loom.Network`` that runs it and measures it; attributes are those of a network."""

    spec: NetworkSpec
    model: Model
    outputs: dict[str, Output]

    def forward(self, x: Any) -> Any:
        """Return the output for samples (n, *shape), or of one sample without its axis.

        Where an input's length may vary, all samples of a call have one; each length is compiled when it is first met.

        Args:
            x: Samples (n, *shape), or one sample without its axis; of several inputs a mapping by name, or a list.

        Returns:
            Outputs (n, *shape), or of the one sample; of several outputs a dict by name; of bf16 in f32.

        Raises:
            ArgumentError: The inputs are not those of the network.
            DTypeError: Not numbers, or not of the input's kind.
            ShapeError: Samples of another shape; inputs that differ in samples.
            EmptyError: No samples.
            NotFinite: NaN or an infinity among the inputs.
        """
        given = self._name_inputs(x, "loom.Network.forward, x")
        read = {n: numbers(a, "loom.Network", _place(n, given)) for n, a in given.items()}
        is_one = all(i.takes(read[i.name].shape) for i in self.spec.inputs)
        found = self._check({n: a[None] for n, a in read.items()} if is_one else read)
        out = self._readable(self.model.forward(self._plain(found)))
        if not is_one:
            return out
        return {name: value[0] for name, value in out.items()} if is_mapping(out) else out[0]

    def _check(self, given: Mapping[str, Any]) -> dict[str, Array]:
        """Return what is given as arrays of the inputs' types, all numbers finite, ids rows of their tables."""
        types, rows = self._types(), self.spec.vocabularies()
        return {n: check_inputs(a, types[n], "loom.Network", _place(n, given), rows.get(n)) for n, a in given.items()}

    def _readable(self, output: Any) -> Any:
        """Return outputs of bf16, which numpy lacks, as f32."""
        if is_mapping(output):
            return {name: self._readable(value) for name, value in output.items()}
        return output.astype(np.float32) if self.spec.dtype == bf16 else output

    def evaluate(self, x: Any, y: Any, *, loss: Losses = None) -> Evaluation:
        """Return loss, accuracy and confusion (of classes) and deviation metrics (of one number for each sample).

        Truths, 0 and 1, of one output with the binary cross-entropy are two classes.

        Args:
            x: Samples, an array (n, *shape); of several inputs a mapping by name, or a list in the document's order.
            y: Targets, as of ``train``.
            loss: Loss, as of ``train``; None: the one that the output and the targets ask for.

        Raises:
            ArgumentError: The names are not those of the inputs or outputs; a class outside; there is no such loss.
            DTypeError: Not numbers, or not of the kind needed.
            ShapeError: ``x`` and ``y`` differ in samples, or from the shapes of the network.
            EmptyError: No samples.
            NotFinite: NaN or an infinity among the samples or the outputs.
        """
        from loom.nn.train.measures import Evaluation, evaluation_of

        given = self._plain(self._name_inputs(x, "evaluate, x"))
        found, targets = fit_all_targets(self.outputs, y, loss, "evaluate, y")
        types = self._plain(self._types())
        y_type, names = self.model.result_type, self._names()
        data = check_samples(
            given, targets, found, types, "evaluate", y_type=y_type, outputs=names, rows=self.spec.vocabularies()
        )
        made = self._predict(data.x)
        losses, each = for_each(found, self.spec.outputs), dict[str, Evaluation]()
        functions = TrainConfig(loss=found, probabilities=self._probabilities).loss_functions(names)
        for name, function, true, held in zip(self.spec.outputs, functions, data.y, data.y_types, strict=True):
            wide = tensor.array(made[name], y_type, on=self.model.device)
            value = float(function(wide, tensor.array(true, held, on=self.model.device)).item())
            is_chance = self.outputs[name].gives_probabilities
            each[name] = evaluation_of(made[name], true, value, losses[name], probabilities=is_chance,
                                       names=self.spec.classes)  # fmt: skip
        if len(each) == 1:
            return each[self.spec.outputs[0]]
        return Evaluation(len(data), sum(e.loss for e in each.values()), None, None, None, each)

    def predict(self, x: Any) -> Any:
        """Return the outputs for samples (n, *shape), some hundred at a time.

        Args:
            x: Samples, an array (n, *shape); of several inputs a mapping by name, or a list in the document's order.

        Returns:
            Outputs (n, *shape); of several outputs a dict by name; of bf16 in f32.

        Raises:
            ArgumentError: The inputs are not those of the network.
            DTypeError: Not numbers, or not of the input's kind.
            ShapeError: Samples of another shape; inputs that differ in samples.
            EmptyError: No samples.
            NotFinite: NaN or an infinity among the inputs.
        """
        made = self._predict(tuple(self._check(self._name_inputs(x, "loom.Network.predict, x")).values()))
        return self._plain(made)

    def _predict(self, inputs: Sequence[Array]) -> dict[str, Array]:
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

    # names

    def _name_inputs(self, x: Any, where: str) -> dict[str, Any]:
        """Return what is given for the inputs by their names."""
        return by_name(x, [i.name for i in self.spec.inputs], where)

    def _plain(self, given: Mapping[str, Any]) -> Any:
        """Return what is by name, the only one without its name."""
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
        return self._plain({name: output.gives_probabilities for name, output in self.outputs.items()})


def _place(name: str, given: Mapping[str, Any]) -> str:
    """Return how messages call an input."""
    return "x" if len(given) == 1 else f"x {name!r}"
