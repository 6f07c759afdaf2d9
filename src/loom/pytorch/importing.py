"""``from_torch``: a module, and an example of what it is called with, as a model of Loom.

Layer: pytorch. Invariant: what cannot be kept (hooks, derivatives of its own, control flow by elements) is refused by
name.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from loom.core.errors import ArgumentError, DTypeError, near_matches
from loom.core.given import flag, is_array, is_list, is_mapping
from loom.core.numbers import whole
from loom.core.tracebacks import warn_caller
from loom.pytorch.exporting import Exported, NotExported, array_of, export
from loom.pytorch.model import Imported, TorchModel
from loom.pytorch.ranges import are_alike
from loom.pytorch.refusing import check_module
from loom.runtime.device import Device
from loom.tensor.tensor import Tensor, parameter

if TYPE_CHECKING:
    from loom.onnx import OnnxModel

__all__ = ["from_torch"]

_WHERE = "loom.from_torch"


def from_torch(
    module: Any, example: Any, *, dynamic: Any = None, training: bool = True, seed: int = 0,
    on: str | Device | None = None,
) -> TorchModel | OnnxModel:  # fmt: skip
    """Return a model of Loom that computes what a ``torch.nn.Module`` computes, and goes on training.

    ``example``: what the module is called with: a tensor, a tuple of arguments, or a dict of them by name; only shapes,
    dtypes and what is no tensor matter. ``dynamic``: None lets the first axis of all inputs be free ("batch") where the
    module allows it; False fixes all lengths; a mapping (``{"ids": {0: "batch", 1: "tokens"}}``, by the names of
    forward's parameters; names, or ``torch.export.Dim``) frees what it tells. ``training``: also import what it
    computes in training: in the modes that its parts have if it is in training, else all in training. ``seed``: of
    dropout. Weights are copied; parameters that need no gradient are frozen.

    What ``torch.export`` cannot trace goes through ONNX if that can be (and ``onnx`` is installed), with a UserWarning
    that tells why: the result is then an ``OnnxModel``, of eval mode and of the example's lengths.

    ArgumentError, with what to do: for a module that cannot be traced, by what stands in the way; for operators that
    are not done, by their names; for hooks. DTypeError for dtypes that Loom has not.
    """
    if isinstance(module, (str, bytes, os.PathLike)):
        raise DTypeError(_WHERE, "a file of weights tells no module", expected="a torch.nn.Module",
                         got=type(cast("Any", module)).__name__,
                         remedy="Make the module and load the weights into it, torch.load(path, weights_only=True); "
                         "models saved by Loom are read by loom.pytorch.load")  # fmt: skip
    check_module(module)
    args, kwargs = _arguments(example)
    names = _parameters(module)
    wanted, notes = flag(training, f"{_WHERE}, training"), list[str]()
    number = whole(seed, f"{_WHERE}, seed", least=0, most=(1 << 64) - 1)
    try:
        plain, trained, untrained = _exported(module, args, kwargs, names, dynamic, wanted, notes)
    except NotExported as error:
        return _otherwise(module, args, kwargs, dynamic, error, on)
    parameters, state, tied, order = _weights(module, plain, on)
    unknown = {w for e in (plain, trained) if e is not None for w in e.graph.weights.values()}
    unknown -= {*parameters, *state, *tied, *plain.constants, *(trained.constants if trained is not None else ())}
    assert not unknown, unknown
    constants = {**plain.constants, **(trained.constants if trained is not None else {})}
    imported = Imported(
        plain.graph, None if trained is None else trained.graph, untrained, plain.inputs, plain.outputs, plain.call,
        plain.result, names, order, tied, {n: a for n, a in constants.items() if n not in state}, tuple(notes),
        plain.ranges,
    )  # fmt: skip
    frozen = [n for n, p in module.named_parameters() if not p.requires_grad]
    return TorchModel(imported, parameters, state, on=on, frozen=frozen, seed=number)


def _otherwise(
    module: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    dynamic: Any,
    error: NotExported,
    on: str | Device | None,
) -> OnnxModel:
    """Return the module through ONNX; ArgumentError with both reasons if that cannot be either."""
    from loom.pytorch.throughonnx import through_onnx

    try:
        if dynamic:
            raise NotExported("lengths that are asked to be free are fixed there")
        found = through_onnx(module, _tensors(args), {n: _tensors(a) for n, a in kwargs.items()}, on)
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


def _exported(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], names: Sequence[str], dynamic: Any, training: bool,
    notes: list[str],
) -> tuple[Exported, Exported | None, str]:  # fmt: skip
    """Return the module's graph in eval mode and in training, None with the reason if there is none."""
    told = dynamic is not None
    args, kwargs = _apart(_tensors(args), {n: _tensors(a) for n, a in kwargs.items()})
    ways = [_spec(args, kwargs, names, dynamic)]
    if not told:
        args, kwargs, shapes = _freed(args, kwargs)
        ways = [shapes, None] if shapes is not None else [None]
    error: NotExported | None = None
    for shapes in ways:
        try:
            plain = _of_ones(export(module, args, kwargs, shapes, training=False), module, args, kwargs)
            trained, reason = None, "training=False"
            if training:
                trained = export(module, args, kwargs, shapes, training=True)
                if trained.custom:
                    reason, trained = f"{trained.custom[0]} is an autograd.Function with a derivative of its own", None
        except NotExported as found:
            error = error or found
            continue
        if not told and shapes is None:
            notes.append("all lengths are fixed" + (f": {error}" if error is not None else ""))
        return plain, trained, "" if trained is not None else reason
    assert error is not None
    raise error


def _of_ones(plain: Exported, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Exported:
    """Return a graph with ranges that begin at 2 where that of a length of 1 is another."""
    torch: Any = import_module("torch")
    trees: Any = import_module("torch.utils._pytree")

    ranges = dict(plain.ranges)
    leaves, spec = trees.tree_flatten((args, kwargs))
    for name, (least, most) in plain.ranges.items():
        if least > 2:
            continue
        infos, ones = iter(plain.inputs), list[Any]()
        for leaf in leaves:
            if isinstance(leaf, torch.Tensor):
                for axis, length in enumerate(next(infos).shape or ()):
                    leaf = leaf.narrow(axis, 0, 1) if length == name else leaf
                leaf = leaf.detach().clone()
            ones.append(leaf)
        try:
            one_args, one_kwargs = trees.tree_unflatten(ones, spec)
            short = export(module, one_args, one_kwargs, None, training=False)
            alike = are_alike(plain.graph, short.graph) and plain.result == short.result
        except (NotExported, ArgumentError, DTypeError):
            alike = False
        ranges[name] = (0 if alike else 2), most
    return replace(plain, ranges=ranges)


def _tensors(value: Any) -> Any:
    """Return arrays within arguments as tensors of PyTorch."""
    torch: Any = import_module("torch")

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
    torch: Any = import_module("torch")
    trees: Any = import_module("torch.utils._pytree")

    leaves, spec = trees.tree_flatten((args, kwargs))
    seen, made = set[int](), list[Any]()
    for leaf in leaves:
        again = isinstance(leaf, torch.Tensor) and id(leaf) in seen
        seen.add(id(leaf))
        made.append(leaf.detach().clone() if again else leaf)
    return trees.tree_unflatten(made, spec)


def _freed(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """Return arguments of two samples at least,
    and shapes with the first axis of all inputs free; None if they differ."""
    torch: Any = import_module("torch")
    trees: Any = import_module("torch.utils._pytree")

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
    torch: Any = import_module("torch")

    if dynamic is None or dynamic is False:
        return None
    if not is_mapping(dynamic):
        raise DTypeError(f"{_WHERE}, dynamic", "not lengths by input", expected='{"x": {0: "batch"}}, False or None',
                         got=type(dynamic).__name__, remedy="Name inputs and axes")  # fmt: skip
    known = dict(zip(names, args, strict=False)) | kwargs
    dims: dict[str, Any] = {}

    def freed(axes: Any) -> Any:
        if is_mapping(axes):
            return {
                int(a): dims.setdefault(d, torch.export.Dim(d)) if isinstance(d, str) else d for a, d in axes.items()
            }
        if is_list(axes):
            made = [freed(a) for a in axes]
            return made if isinstance(axes, list) else tuple(made)
        return axes

    for name in dynamic:
        if name not in known:
            raise ArgumentError(f"{_WHERE}, dynamic", f"the example has no {name!r}", expected=", ".join(known),
                                got=name, remedy=near_matches(str(name), list(known)))  # fmt: skip
    found = {name: freed(dynamic.get(name)) for name in known}
    return found if kwargs or not args else tuple(found[n] for n in list(known)[: len(args)])


def _weights(
    module: Any, plain: Exported, on: str | Device | None
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, str], tuple[str, ...]]:
    """Return parameters, buffers, tied names, and the names of the state_dict."""
    first: dict[int, str] = {}
    tied: dict[str, str] = {}
    parameters: dict[str, Tensor] = {}
    state: dict[str, Tensor] = {}
    written = set(plain.graph.updates)
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
