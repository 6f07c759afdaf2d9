"""``from_torch``: a module, and an example of what it is called with, as a model of Loom.

Layer: pytorch. Invariant: what cannot be kept (hooks, derivatives of its own, control flow by elements) is refused by
name.
"""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from loom.core.errors import ArgumentError, DTypeError, near_matches
from loom.core.given import flag, is_array, is_list, is_mapping
from loom.core.numbers import whole
from loom.core.tracebacks import warn_caller
from loom.pytorch.exporting import Exported, NotExported, export
from loom.pytorch.lengths import outputs_of_all, special, with_own_constants
from loom.pytorch.model import Imported, TorchModel
from loom.pytorch.refusing import check_module, refuse_packed
from loom.pytorch.surroundings import memory, own_copy
from loom.pytorch.torchtypes import array_of, torch, trees
from loom.pytorch.trial import refuse_undone, why_untrainable
from loom.runtime.port.device import Device
from loom.tensor.arrays.tensor import Tensor, parameter

if TYPE_CHECKING:
    from loom.onnx import OnnxModel

__all__ = ["from_torch"]

_WHERE = "loom.from_torch"
_TRACING = threading.RLock()
"""``torch.export`` traces one module at a time: two at once spoil what PyTorch keeps for the whole process."""


def from_torch(
    module: Any, example: Any, *, dynamic: Any = None, training: bool = True, seed: int = 0,
    on: str | Device | None = None,
) -> TorchModel | Any:  # fmt: skip
    """Return a model of Loom that computes what a ``torch.nn.Module`` computes, and goes on training.

    Weights are copied; parameters that need no gradient are frozen.

    What ``torch.export`` cannot trace goes through ONNX if that can be (and ``onnx`` is installed), with a UserWarning
    that tells why: the result is then an ``OnnxModel``, of eval mode and of the example's lengths.

    Args:
        module: ``torch.nn.Module``.
        example: Arguments it is called with: a tensor, a tuple, or a dict by name; only shapes, dtypes and what is no
            tensor matter.
        dynamic: None: the first axis of all inputs is free ("batch") where the module allows it; False: all lengths are
            fixed; a mapping (``{"ids": {0: "batch", 1: "tokens"}}``, by the names of forward's parameters; names, or
            ``torch.export.Dim``): those axes are free.
        training: Whether training is imported as well: in the modes that its parts have if it is in training, else all
            in training.
        seed: Seed of dropout.
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: The module cannot be traced, with what stands in the way; it has operators that are not done, or
            hooks.
        DTypeError: Not a module; dtypes that Loom has not.
    """
    if isinstance(module, (str, bytes, os.PathLike)):
        raise DTypeError(_WHERE, "a file of weights tells no module", expected="a torch.nn.Module",
                         got=type(cast("Any", module)).__name__,
                         remedy="Make the module and load the weights into it, torch.load(path, weights_only=True); "
                         "models saved by Loom are read by loom.pytorch.load")  # fmt: skip
    with _TRACING:
        return _import(module, example, dynamic, training, seed, on)


def _import(
    module: Any, example: Any, dynamic: Any, training: bool, seed: int, on: str | Device | None
) -> TorchModel | OnnxModel:
    """Return what ``from_torch`` returns; no other thread imports meanwhile.

    A copy of the module is traced, which leaves the module to other threads; itself where a function of its own would
    reach past the copy, into the module's weights.
    """
    check_module(module)
    args, kwargs = _arguments(example)
    args, kwargs = _tensors(args), {n: _tensors(a) for n, a in kwargs.items()}
    names = _parameters(module)
    wanted, notes = flag(training, f"{_WHERE}, training"), list[str]()
    number = whole(seed, f"{_WHERE}, seed", least=0, most=(1 << 64) - 1)
    own = memory((*module.parameters(), *module.buffers()))
    module, original = own_copy(module), module
    try:
        evaluation, trained, untrained = _export(module, args, kwargs, names, dynamic, wanted, notes)
        if module is not original and any(own & each.memory for each in (*evaluation, *trained)):
            module = original
            notes.clear()
            evaluation, trained, untrained = _export(module, args, kwargs, names, dynamic, wanted, notes)
    except NotExported as error:
        return _otherwise(module, names, args, kwargs, dynamic, error, on)
    notes += _unkept(evaluation[0])
    every, constants = with_own_constants([*evaluation, *trained])
    evaluation, trained = every[: len(evaluation)], every[len(evaluation) :]
    parameters, state, tied, order = _weights(module, every, on)
    unknown = {w for e in every for w in e.graph.weights.values()}
    unknown -= {*parameters, *state, *tied, *constants}
    assert not unknown, unknown
    imported = Imported(
        tuple(e.way for e in evaluation), tuple(e.way for e in trained), untrained, evaluation[0].inputs,
        outputs_of_all(evaluation[0], evaluation[1:]), evaluation[0].call, evaluation[0].result, names, order, tied,
        {n: a for n, a in constants.items() if n not in state}, tuple(notes), _needs(module, names, args, kwargs),
    )  # fmt: skip
    frozen = [n for n, p in module.named_parameters() if not p.requires_grad]
    model = TorchModel(imported, parameters, state, on=on, frozen=frozen, seed=number)
    weights = model.named(model.parameters | model.state)
    refuse_undone(evaluation[0], weights, model.device)
    reason = why_untrainable(trained[0], weights, model.device) if trained else ""
    if reason:
        imported = replace(imported, training=(), untrained=reason, notes=(*imported.notes, f"untrained: {reason}"))
        model = TorchModel(imported, parameters, state, on=on, frozen=frozen, seed=number)
    return model


def _otherwise(
    module: Any, names: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any], dynamic: Any,
    error: NotExported, on: str | Device | None,
) -> OnnxModel:  # fmt: skip
    """Return the module through ONNX; ArgumentError with both reasons if that cannot be either."""
    from loom.pytorch.throughonnx import through_onnx

    refuse_packed(module, args, kwargs)
    try:
        if dynamic:
            raise NotExported("lengths that are asked to be free are fixed there")
        found = through_onnx(module, names, args, kwargs, on)
    except NotExported as other:
        raise ArgumentError(
            _WHERE, f"torch.export cannot trace the module ({error}), and it does not go through ONNX ({other})",
            expected="a forward without control flow that depends on elements", got=type(module).__name__,
            remedy="Write it with torch.where, pass what decides as Python numbers, or fix lengths: dynamic=False",
        ) from None  # fmt: skip
    warn_caller(f"loom.from_torch: torch.export cannot trace the module ({error}); it came through ONNX, in eval mode")
    return found


def _arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, Mapping):
        return (), {str(k): v for k, v in cast("Mapping[Any, Any]", example).items()}
    given: tuple[Any, ...] = cast("tuple[Any, ...]", example) if isinstance(example, tuple) else (example,)
    return given, {}


def _parameters(module: Any) -> tuple[str, ...]:
    """Return the names of the parameters of a module's forward."""
    found = inspect.signature(module.forward).parameters.values()
    return tuple(p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))


def _unkept(graph: Exported) -> list[str]:
    """Return a note of buffers that forward writes in eval mode too, which calls leave as they are."""
    written = ", ".join(map(repr, graph.graph.updates))
    return [f"calls do not keep what forward writes in eval mode: {written}"] if written else []


def _needs(module: Any, names: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, ...]:
    """Return the arguments that are not what forward takes where they are left out."""
    defaults = {p.name: p.default for p in inspect.signature(module.forward).parameters.values()}
    placed = [*names, *(f"args_{k}" for k in range(len(names), len(args)))]
    given = dict(zip(placed, args, strict=False)) | kwargs

    def is_default(name: str, value: Any) -> bool:
        default = defaults.get(name, inspect.Parameter.empty)
        return type(default) is type(value) and repr(default) == repr(value)

    return tuple(name for name, value in given.items() if not is_default(name, value))


def _export(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], names: Sequence[str], dynamic: Any, training: bool,
    notes: list[str],
) -> tuple[list[Exported], list[Exported], str]:  # fmt: skip
    """Return the module's graphs in eval mode and in training, none with the reason if there are none.

    The first of each is that of lengths in general.
    """
    told = dynamic is not None
    args, kwargs = _apart(args, kwargs)
    ways = [_spec(args, kwargs, names, dynamic)]
    if not told:
        args, kwargs, shapes = _free_first_axis(args, kwargs)
        ways = [shapes, None] if shapes is not None else [None]
    error: NotExported | None = None
    first = ""
    for shapes in ways:
        try:
            found = {False: [export(module, args, kwargs, shapes, training=False)]}
            reason, found[True] = "training=False", []
            if training:
                found[True] = [export(module, args, kwargs, shapes, training=True)]
                if found[True][0].custom:
                    reason = f"{found[True][0].custom[0]} is an autograd.Function with a derivative of its own"
                    found[True] = []
        except NotExported as failed:
            error, first = failed, first or str(failed)
            continue
        for mode, graphs in found.items():
            for general in graphs[:1] if shapes is not None else []:
                graphs += special(general, module, (args, kwargs), shapes, notes, training=mode)
        if not told and shapes is None:
            notes.append("all lengths are fixed" + (f": {first}" if first else ""))
        return found[False], found[True], "" if found[True] else reason
    assert error is not None
    raise error


def _tensors(value: Any) -> Any:
    """Return arrays within arguments as tensors of PyTorch, and a float64 of numpy as a float."""
    if isinstance(value, np.generic):
        if isinstance(value, float):
            return float(value)
        raise DTypeError(_WHERE, "a scalar of numpy, which PyTorch does not trace", expected="a Python number",
                         got=type(cast("Any", value)).__name__, remedy="Pass value.item()")  # fmt: skip
    if is_array(value):
        return torch.from_numpy(value.copy())
    if is_list(value) and not hasattr(value, "_fields"):
        made = [_tensors(v) for v in value]
        return made if isinstance(value, list) else tuple(made)
    if isinstance(value, dict):
        return {k: _tensors(v) for k, v in cast("dict[Any, Any]", value).items()}
    return value


def _apart(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments of which no two are one tensor: forward may ask for that (``k is v``), and later calls differ.

    A module that asks takes the way of unlike ones, which is right for like ones as well.
    """
    leaves, spec = trees.tree_flatten((args, kwargs))
    seen, made = set[int](), list[Any]()
    for leaf in leaves:
        again = isinstance(leaf, torch.Tensor) and id(leaf) in seen
        seen.add(id(leaf))
        made.append(leaf.detach().clone() if again else leaf)
    return trees.tree_unflatten(made, spec)


def _free_first_axis(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """Return arguments of two samples at least,
    and shapes with the first axis of all inputs free; None if they differ."""
    leaves, spec = trees.tree_flatten((args, kwargs))
    held = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.ndim]
    lengths = {leaf.shape[0] for leaf in held}
    if len(lengths) != 1 or not held or 0 in lengths:
        return args, kwargs, None
    if lengths == {1}:  # PyTorch takes a length of 1 to be always 1
        leaves = [torch.cat([v, v]) if isinstance(v, torch.Tensor) and v.ndim else v for v in leaves]
        args, kwargs = trees.tree_unflatten(leaves, spec)
    batch = torch.export.Dim("batch")
    shapes = [{0: batch} if isinstance(v, torch.Tensor) and v.ndim else None for v in leaves]
    free_args, free_kwargs = trees.tree_unflatten(shapes, spec)
    return args, kwargs, _by_parameter(free_args, free_kwargs)


def _by_parameter(args: Any, kwargs: Any) -> Any:
    return kwargs if not args else tuple(args) if not kwargs else None


def _spec(args: tuple[Any, ...], kwargs: dict[str, Any], names: Sequence[str], dynamic: Any) -> Any:
    """Return ``dynamic`` as torch.export takes it."""
    if dynamic is None or dynamic is False:
        return None
    if not is_mapping(dynamic):
        raise DTypeError(f"{_WHERE}, dynamic", "not lengths by input", expected='{"x": {0: "batch"}}, False or None',
                         got=type(dynamic).__name__, remedy="Name inputs and axes")  # fmt: skip
    known = dict(zip(names, args, strict=False)) | kwargs
    dims: dict[str, Any] = {}

    def free(axes: Any) -> Any:
        if is_mapping(axes):
            return {
                int(a): dims.setdefault(d, torch.export.Dim(d)) if isinstance(d, str) else d for a, d in axes.items()
            }
        if is_list(axes):
            made = [free(a) for a in axes]
            return made if isinstance(axes, list) else tuple(made)
        return axes

    for name in dynamic:
        if name not in known:
            raise ArgumentError(f"{_WHERE}, dynamic", f"the example has no {name!r}", expected=", ".join(known),
                                got=name, remedy=near_matches(str(name), list(known)))  # fmt: skip
    found = {name: free(dynamic.get(name)) for name in known}
    return found if kwargs or not args else tuple(found[n] for n in list(known)[: len(args)])


def _weights(
    module: Any, graphs: Sequence[Exported], on: str | Device | None
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, str], tuple[str, ...]]:
    """Return parameters, buffers, tied names, and the names of the state_dict."""
    first: dict[int, str] = {}
    tied: dict[str, str] = {}
    parameters: dict[str, Tensor] = {}
    state: dict[str, Tensor] = {}
    written = {name for each in graphs for name in each.graph.updates}
    kept = set(module.state_dict(keep_vars=True))
    for table, every in ((parameters, module.named_parameters(remove_duplicate=False)),
                         (state, module.named_buffers(remove_duplicate=False))):  # fmt: skip
        for name, p in every:
            if id(p) in first:
                tied[name] = first[id(p)]
                continue
            first[id(p)] = name
            if table is parameters or name in kept or name in written:
                table[name] = parameter(*array_of(p), name=name, on=on)
    return parameters, state, tied, tuple(n for n in module.state_dict())
