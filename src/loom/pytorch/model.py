"""``TorchModel``: a module of PyTorch that runs and goes on training in Loom.

Layer: pytorch. Invariant: weights keep PyTorch's names and layouts; a name that is tied to another is the same array.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.conversions import show
from loom.core.dlpack import require_no_gradient
from loom.core.errors import ArgumentError, DTypeError, near_matches
from loom.core.given import is_mapping
from loom.core.late.dataclass import dataclass
from loom.importers.ports import ArrayInfo
from loom.importers.recordings import GraphPass
from loom.importers.trainable import TrainableGraph
from loom.pytorch.files import encode_model, read_state_dict, save
from loom.pytorch.graph import AtenGraph, weights_behind
from loom.pytorch.ranges import Way, select
from loom.pytorch.recording import AtenRecording
from loom.pytorch.structure import bind, fill
from loom.pytorch.torchtypes import torch
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = ["Imported", "TorchModel"]


@dataclass(frozen=True)
class Imported:
    """What an imported module is, besides its weights.

    ``evaluation``: its graphs in eval mode, each with the lengths that it is of; ``training``: those in training, none
    with ``untrained`` the reason. ``call``, ``result``: the structures of what it takes and returns; ``names``: the
    parameters of its forward; ``needed``: those that were not forward's own default. ``order``: the names of its
    state_dict; ``tied``: a name to the one it shares its array with. ``notes``: what the import decided.
    """

    evaluation: tuple[Way, ...]
    training: tuple[Way, ...]
    untrained: str
    inputs: tuple[ArrayInfo, ...]
    outputs: tuple[ArrayInfo, ...]
    call: Any
    result: Any
    names: tuple[str, ...]
    order: tuple[str, ...]
    tied: Mapping[str, str]
    constants: Mapping[str, tuple[Array, str]]
    notes: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()

    @property
    def graph(self) -> AtenGraph:
        """The graph in eval mode, of lengths in general."""
        return self.evaluation[0].graph


def _restore(data: bytes, device: str) -> TorchModel:
    """Return a copied model."""
    return import_module("loom.pytorch.loading").load(data, on=device)  # which makes models, and so stands above


class TorchModel(TrainableGraph):
    """A module imported by ``loom.from_torch``: it is called as the module is, and trained by ``train``.

    ``parameters`` and ``state`` (buffers) have PyTorch's names; ``inputs`` and ``outputs`` tell shapes, with names for
    lengths that are free; ``notes``: what the import decided. Calls compute what the module computes in eval mode;
    ``train`` what it computes in training, with dropout drawn by Loom (``seed`` and step).
    """

    def __init__(
        self, imported: Imported, parameters: Mapping[str, Any], state: Mapping[str, Any], *,
        on: str | Device | None = None, frozen: Collection[str] = (), seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(imported.inputs, imported.outputs, parameters, state, on=on, frozen=frozen, seed=seed)
        self.imported = imported
        self.notes = imported.notes
        self._constants = {n: tensor.array(a, t, on=self.device) for n, (a, t) in imported.constants.items()}
        names = dict(zip(imported.graph.inputs, (i.name for i in imported.inputs), strict=True))
        tables = {n: imported.tied.get(w, w) for n, w in imported.graph.lookups().items()}
        held = self.parameters | self.state
        self._vocabularies = {names[n]: held[w].shape[0] for n, w in tables.items() if w in held}

    @property
    def where(self) -> str:
        """How errors call it."""
        return "from_torch"

    def __repr__(self) -> str:
        """Return what it takes, gives and holds."""
        count = sum(w.size for w in self.parameters.values())
        shapes = ", ".join(f"{i.name}: {i.shape}" for i in self.inputs)
        made = ", ".join(f"{o.name}: {o.shape}" for o in self.outputs)
        return f"<loom.TorchModel: {shapes} to {made}, {count} weights, on {self.device.name}>"

    def __reduce__(self) -> tuple[object, ...]:
        """Have ``pickle`` and ``copy`` make a model of its own by what ``save`` writes."""
        with self.lock:
            return _restore, (encode_model(self).whole(), self.device.name)

    def vocabularies(self) -> Mapping[str, int]:
        """Return input -> rows of the table that an embedding looks it up in."""
        return self._vocabularies

    # recording

    def named(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return weights, constants and what is tied by the names that graphs have for them."""
        held = {**self._constants, **weights}
        return held | {name: held[other] for name, other in self.imported.tied.items()}

    def record(self, inputs: Mapping[str, Tensor], run: GraphPass) -> dict[str, Tensor]:
        """Record the module's graph, in training or not; return its outputs by name."""
        ways = self.imported.training if run.training else self.imported.evaluation
        if not ways:
            raise ArgumentError("from_torch, train", f"the module cannot be trained: {self.imported.untrained}",
                                expected="a graph of its training", got="none",
                                remedy="Import it with training=True, without what is named")  # fmt: skip
        given = [inputs[i.name] for i in self.inputs]
        graph = select(ways, [i.name for i in self.inputs], [tuple(x.shape) for x in given], training=run.training)
        made, updates = AtenRecording(self.named(run.weights), self.device, run).outputs(graph, given)
        run.updates.update({n: tensor.detach(new) for n, new in updates.items() if n in self.state})
        return dict(zip((o.name for o in self.outputs), made, strict=True))

    def not_trained(self, outputs: Sequence[str]) -> frozenset[str]:
        """Return frozen parameters and those that outputs do not depend on, whose gradient PyTorch leaves None."""
        graph = (self.imported.training or self.imported.evaluation)[0].graph
        ends = {o.name: ref for o, ref in zip(self.outputs, graph.outputs, strict=True)}
        reached = weights_behind(graph, [ref for o, ref in ends.items() if not outputs or o in outputs])
        reached = {self.imported.tied.get(w, w) for w in reached}
        return self.frozen | {n for n in self.parameters if n not in reached}

    # running

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the module returns in eval mode, its tensors as arrays; of tensors of Loom as tensors, recorded.

        Arguments are those of the module's forward, arrays in the places of tensors. ArgumentError, DTypeError and
        ShapeError tell of what it does not take.
        """
        told = self.imported
        bound = bind(told.call, told.names, args, kwargs, "from_torch", told.needed)
        given = {n: _on_host(a) for n, a in bound.items()}
        if any(isinstance(a, Tensor) for a in given.values()):
            fed = {n: a if isinstance(a, Tensor) else tensor.array(a, on=self.device) for n, a in given.items()}
            return fill(self.imported.result, self.apply_all(fed))
        return fill(self.imported.result, self.forward(given))

    # weights

    def state_dict(self) -> dict[str, Array]:
        """Return copies of parameters and buffers under PyTorch's names, in its layouts: arrays of numpy.

        bf16 comes as ``ml_dtypes.bfloat16`` where that is installed, else as float32.
        """
        held = self.weights()
        every = self.parameters | self.state
        shown = {n: show(a, every[n].dtype) for n, a in held.items()}
        return {name: shown[self.imported.tied.get(name, name)] for name in self.imported.order}

    def load_state_dict(self, weights: Mapping[str, Any] | str | os.PathLike[str], *, strict: bool = True) -> None:
        """Write weights under PyTorch's names: arrays, tensors of PyTorch, or a file of them (``read_state_dict``).

        Where there is an error nothing is written. What the optimiser keeps begins anew.

        Args:
            weights: Arrays or tensors of PyTorch by name, or a file of them.
            strict: Whether all names are needed, and no others are taken.

        Raises:
            ArgumentError: Names are missing or unknown; tied names with different numbers.
            DTypeError: Not weights by name; not numbers.
            ShapeError: An array of another shape.
            FileError: The file cannot be read.
        """
        where = "from_torch.load_state_dict"
        if isinstance(weights, (str, os.PathLike)):
            weights = read_state_dict(weights)
        if not is_mapping(weights):
            raise DTypeError(
                where,
                "not weights",
                expected="arrays by name, or a file of them",
                got=type(weights).__name__,
                remedy="Pass module.state_dict()",
            )
        known = set(self.imported.order)
        unknown = [n for n in weights if n not in known]
        missing = [n for n in self.imported.order if n not in weights]
        if strict and (unknown or missing):
            what = f"{(unknown or missing)[0]!r} is {'unknown' if unknown else 'missing'}"
            raise ArgumentError(where, what, expected=f"{len(known)} arrays", got=len(weights),
                                remedy=near_matches(unknown[0],
                                                    list(known)) if unknown else "Pass strict=False to write some",
                                )  # fmt: skip
        given: dict[str, Any] = {}
        for name in self.imported.order:
            if name not in weights:
                continue
            own, value = self.imported.tied.get(name, name), _on_host(weights[name], wide=True)
            if own in given and not _is_same(np.asarray(given[own]), np.asarray(value)):
                raise ArgumentError(where, f"{name!r} and {own!r} are one array", expected="the same numbers for both",
                                    got="others", remedy="Untie them in the module, and import it again")  # fmt: skip
            given[own] = value
        with self.alone(where):
            self.load({**self.weights(), **given})
            self.training = self._batches = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write model, weights and where its training stopped as a .safetensors, which ``loom.pytorch.load`` reads.

        Args:
            path: File that ends with .safetensors, in place of one there.

        Raises:
            ArgumentError: Another kind of file.
            DTypeError: Not a path.
            FileError: The file cannot be written.
        """
        save(self, path)

    def copy_into(self, module: Any) -> None:
        """Write the weights into a module of PyTorch that has these names; else nothing is written.

        Args:
            module: Module of PyTorch with weights of these names and shapes.

        Raises:
            ArgumentError: A module of other weights, or none.
        """

        def as_torch(a: Array) -> Any:
            if a.dtype.name == "bfloat16":
                return torch.from_numpy(a.astype(np.float32)).to(torch.bfloat16)
            return torch.from_numpy(np.ascontiguousarray(a))

        try:
            weights = {name: as_torch(a) for name, a in self.state_dict().items()}
            there = module.state_dict()
            if {n: a.shape for n, a in weights.items()} != {n: a.shape for n, a in there.items()}:
                copy.deepcopy(module).load_state_dict(weights)  # PyTorch writes what fits before it refuses
            module.load_state_dict(weights)
        except (RuntimeError, AttributeError) as error:
            raise ArgumentError("from_torch.copy_into", str(error).replace("\n\t", " ").strip(),
                                expected="a module of the same parts", got=type(module).__name__,
                                remedy="Pass the module that was imported, or one made alike") from None  # fmt: skip


def _is_same(a: Array, b: Array) -> bool:
    return np.array_equal(a, b, equal_nan=all(x.dtype.kind in "fc" for x in (a, b)))


def _on_host(array: Any, *, wide: bool = False) -> Any:
    """Return PyTorch's tensors as arrays; bf16, which numpy lacks, as it lies on the host.

    ``wide``: of weights to copy, whose gradients stay where they are; bf16 in f32.
    """
    if not hasattr(array, "detach") or isinstance(array, Tensor):
        return array
    if str(array.layout) != "torch.strided" or array.is_meta:
        raise DTypeError("from_torch", "a tensor without elements side by side", expected="a dense tensor",
                         got="a meta tensor" if array.is_meta else str(array.layout),
                         remedy="Pass tensor.to_dense()")  # fmt: skip
    if not wide:
        require_no_gradient(array, "from_torch")
    held = array.detach().cpu().resolve_conj().resolve_neg()
    if str(held.dtype) == "torch.bfloat16":
        return held.float().numpy() if wide else held.contiguous()
    return held.numpy()
