"""Modules traced again for lengths of 0 and 1, which ``torch.export`` takes to be modules of their own.

Layer: pytorch. Invariant: every graph is traced with exactly the lengths that it is recorded for fixed or free; those
of one model give the same kinds of results, and constants of one name are one constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, combinations
from typing import Any, cast

import numpy as np

from loom.core.errors import ArgumentError, DTypeError
from loom.importers.ports import ArrayInfo
from loom.pytorch.exporting import Exported, NotExported, export
from loom.pytorch.graph import weights_behind
from loom.pytorch.ranges import LEAST
from loom.pytorch.torchtypes import Constant, torch, trees

__all__ = ["outputs_of_all", "special", "with_own_constants"]

_MOST_ONES = 3
"""Free lengths of which all sets are traced at 1; of more, single ones and all of them."""


def special(
    general: Exported, module: Any, given: tuple[tuple[Any, ...], dict[str, Any]], shapes: Any, notes: list[str], *,
    training: bool,
) -> list[Exported]:  # fmt: skip
    """Return the module's graphs for free lengths of 1, alone and together, and in evaluation for one of 0.

    The other lengths are free as they are in ``general``. ``shapes``: its dynamic_shapes, by argument. Left out is
    what PyTorch cannot trace, or gives something else than ``general``; ``notes`` gets the reasons of lengths of 1.
    """
    found: list[Exported] = []
    for fixed in _choices(general, training=training):
        try:
            args, kwargs, left = _fix_lengths(general, *given, shapes, fixed)
            made = export(module, args, kwargs, left, training=training)
            reason = _unlike(general, made, training=training)
        except (NotExported, ArgumentError, DTypeError) as error:
            reason, made = str(error), None
        if made is not None and not reason:
            found.append(made)
        elif 0 not in fixed.values():
            lengths = ", ".join(f"{name} = {n}" for name, n in fixed.items())
            notes.append(f"{lengths}{' in training' if training else ''} is refused: {reason}")
    return found


def _choices(general: Exported, *, training: bool) -> Iterator[dict[str, int]]:
    """Yield the lengths that are fixed, by name, of each graph."""
    lengths = general.inputs and {n for i in general.inputs for n in i.shape or () if isinstance(n, str)}
    free = [name for name, (least, _) in general.ranges.items() if least <= LEAST and name in (lengths or ())]
    counts = range(1, len(free) + 1) if len(free) <= _MOST_ONES else sorted({1, len(free)})
    for names in chain.from_iterable(combinations(free, n) for n in counts):
        yield dict.fromkeys(names, 1)
    if not training:
        yield from ({name: 0} for name in free if general.ranges[name][0] != 1)


def _fix_lengths(
    general: Exported, args: tuple[Any, ...], kwargs: dict[str, Any], shapes: Any, fixed: Mapping[str, int]
) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """Return arguments with some lengths as they are fixed, and dynamic_shapes without these."""
    leaves, spec = trees.tree_flatten((args, kwargs))
    infos, told, made = iter(general.inputs), dict[int, ArrayInfo](), list[Any]()
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            info = told[id(leaf)] = next(infos)
            for axis, length in enumerate(info.shape or ()):
                if isinstance(length, str) and length in fixed:
                    leaf = leaf.narrow(axis, 0, fixed[length])
            leaf = leaf.detach().clone()
        made.append(leaf)

    def free(axes: Any, value: Any) -> Any:
        if isinstance(value, torch.Tensor) and axes is not None:
            lengths = told[id(value)].shape or ()
            if isinstance(axes, Mapping):
                several = cast("Mapping[int, Any]", axes)
                return {a: d for a, d in several.items() if lengths[a] not in fixed} or None
            return [None if lengths[a] in fixed else d for a, d in enumerate(axes)]
        if isinstance(value, Mapping) and isinstance(axes, Mapping):
            named = cast("Mapping[Any, Any]", axes)
            return {k: free(named.get(k), v) for k, v in cast("Mapping[Any, Any]", value).items()}
        if isinstance(value, (list, tuple)) and isinstance(axes, (list, tuple)):
            found = [free(a, v) for a, v in zip(cast("Any", axes), cast("Any", value), strict=True)]
            return found if isinstance(axes, list) else tuple(found)
        return axes

    new_args, new_kwargs = trees.tree_unflatten(made, spec)
    if isinstance(shapes, tuple):
        return new_args, new_kwargs, free(shapes, args)
    by_name = dict(zip(shapes, args, strict=False)) | kwargs
    return new_args, new_kwargs, {n: free(axes, by_name[n]) for n, axes in shapes.items()}


def _unlike(general: Exported, made: Exported, *, training: bool) -> str:
    """Return in what a graph gives something else than that of lengths in general; "" if in nothing."""
    kinds = [[(o.name, o.dtype, len(o.shape or ())) for o in e.outputs] for e in (general, made)]
    if repr((general.result, general.call, kinds[0])) != repr((made.result, made.call, kinds[1])):
        return "forward returns something else"
    if general.custom != made.custom:
        return "it has other derivatives of its own"
    if training and set(general.graph.updates) != set(made.graph.updates):
        return "it writes other buffers"
    if training and weights_behind(general.graph, general.graph.outputs) != weights_behind(
        made.graph, made.graph.outputs
    ):
        return "it depends on other parameters"
    return ""


def outputs_of_all(general: Exported, others: Sequence[Exported]) -> tuple[ArrayInfo, ...]:
    """Return the outputs, with no name for lengths that are not, in all graphs, the inputs' of that name."""
    found: list[ArrayInfo] = []
    for k, info in enumerate(general.outputs):
        shape = list(info.shape or ())
        for other in others:
            fixed = {
                n: m for i, j in zip(general.inputs, other.inputs, strict=True)
                for n, m in zip(i.shape or (), j.shape or (), strict=True) if isinstance(n, str)
            }  # fmt: skip
            for axis, n in enumerate(other.outputs[k].shape or ()):
                own = shape[axis]
                if (fixed.get(own, own) if isinstance(own, str) else own) != n:
                    shape[axis] = None
        found.append(replace(info, shape=tuple(shape)))
    return tuple(found)


def with_own_constants(graphs: Sequence[Exported]) -> tuple[list[Exported], dict[str, Constant]]:
    """Return graphs whose constants have one name each, and these: of each graph PyTorch counts them from the first."""
    held: dict[str, Constant] = {}
    found: list[Exported] = []
    for each in graphs:
        names: dict[str, str] = {}
        for name, constant in each.constants.items():
            new, count = name, 0
            while new in held and not _is_same(held[new], constant):
                count += 1
                new = f"{name}#{count}"
            held[new] = constant
            names[name] = new
        weights = {value: names.get(weight, weight) for value, weight in each.graph.weights.items()}
        constants = {names[n]: c for n, c in each.constants.items()}
        found.append(replace(each, graph=replace(each.graph, weights=weights), constants=constants))
    return found, held


def _is_same(a: Constant, b: Constant) -> bool:
    return a[1] == b[1] and a[0].shape == b[0].shape and np.ascontiguousarray(a[0]).tobytes() == b[0].tobytes()
