"""Modules as graphs: ``torch.export``, made functional, its operators decomposed until all are known here.

Layer: pytorch. What stands under ``no_grad`` is detached before PyTorch makes the graph functional, which would
forget it. Invariant: the module is left as it was: its modes, its weights, its buffers.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, cast

from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import is_list
from loom.core.late.dataclass import dataclass
from loom.importers.ports import ArrayInfo
from loom.pytorch.graph import AtenGraph, AtenNode, Ref, TypeName
from loom.pytorch.ranges import LEAST, Ranges, Way, open_guards
from loom.pytorch.recording import is_done
from loom.pytorch.refusing import custom_functions, short
from loom.pytorch.structure import Leaf
from loom.pytorch.surroundings import memory, modes, quiet, states_of_lstms
from loom.pytorch.torchtypes import Constant, array_of, dtype_name, torch, trees

__all__ = ["Exported", "Made", "NotExported", "export"]

_WHERE = "loom.from_torch"
_CHECKS = ("_assert_async", "_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range",
           "sym_constrain_range_for_size", "_functional_assert_async", "_functional_assert_scalar")  # fmt: skip
"""Operators that only check."""
_MOST_ROUNDS = 8
"""Decompositions of decompositions."""


Made = tuple[tuple[str, tuple[int, ...]] | None, ...]
"""Dtypes and lengths of the tensors of a value, None for what is none."""


class NotExported(Exception):
    """``torch.export`` cannot take the module; another way may."""


@dataclass(frozen=True)
class Exported:
    """A graph, what it takes and gives, and the constants that it holds. ``custom``: functions with own derivatives."""

    graph: AtenGraph
    inputs: tuple[ArrayInfo, ...]
    outputs: tuple[ArrayInfo, ...]
    result: Any
    """What the module returns: nested tuples, lists and dicts of ``{"output": name}`` and ``{"fixed": value}``."""
    call: Any
    """What it is called with: ``[args, kwargs]``, nested, of ``{"input": name}`` and ``{"fixed": value}``."""
    constants: Mapping[str, Constant] = field(default_factory=dict[str, Any])
    custom: tuple[str, ...] = ()
    ranges: Ranges = field(default_factory=dict[str, Any])
    """As PyTorch tells them: from 0, 1 or 2 on; the graph is of 2 and more."""
    memory: frozenset[int] = frozenset()
    """Where the constants lie in PyTorch."""
    hints: Mapping[str, Made] = field(default_factory=dict[str, Any])
    """Of the example, the dtypes and lengths of the values, by name."""

    @property
    def way(self) -> Way:
        """The graph with the lengths that it is of."""
        ranges = {name: (max(least, LEAST), most) for name, (least, most) in self.ranges.items()}
        return Way(self.graph, tuple(i.shape for i in self.inputs), ranges)


def export(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], shapes: Any, *, training: bool) -> Exported:
    """Return the graph of a module in a mode; ``shapes``: torch.export's ``dynamic_shapes``.

    NotExported where PyTorch cannot trace it, and for operators that are not done.
    """
    with modes(module, training=training), quiet(), states_of_lstms(), torch.enable_grad():
        try:
            program = torch.export.export(module, args, kwargs, dynamic_shapes=shapes, strict=False)
        except Exception as error:  # whatever PyTorch, or the module, raises
            raise NotExported(short(error)) from error
        if any("embedding_renorm" in name for name in _operators(program)):
            raise ArgumentError(_WHERE, "an embedding with max_norm, which writes its weights when it is called",
                                expected="max_norm=None", got="max_norm",
                                remedy="Normalise what the embedding gives")  # fmt: skip
        left = open_guards(getattr(program, "_guards_code", None) or [], _shapes(program, module))
        if left:
            raise NotExported(f"it asks for lengths that no range tells: {left[0]}")
        program = _functional(program)
        program = _decompose(program)
        custom = custom_functions(module, args, kwargs) if training else []
    return _Reading(program, shapes, tuple(custom)).read()


def _shapes(program: Any, module: Any) -> dict[str, object]:
    """Return what forward is called with, by its parameters, tensors as shapes of ints and of sympy's symbols."""

    def shape(value: object) -> object:
        lengths: Sequence[Any] | None = getattr(value, "shape", None)
        return None if lengths is None else tuple(n.node.expr if hasattr(n, "node") else n for n in lengths)

    held = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
    leaves = [shape(held.get(str(name))) for name in program.graph_signature.user_inputs]
    args, kwargs = _plain(_unflatten(leaves, program.call_spec.in_spec)[0])
    return dict(inspect.signature(module.forward).bind(*args, **kwargs).arguments)


def _graphs(module: Any) -> list[Any]:
    return [part for part in module.modules() if isinstance(part, torch.fx.GraphModule)]


def _functional(program: Any) -> Any:
    """Return the program without writes and without parts under other modes, if it has any."""
    plain = True
    for node in program.graph.nodes:
        if node.op == "call_function" and isinstance(node.target, torch._ops.HigherOrderOperator):
            plain = False
        if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
            plain = plain and not node.target._schema.is_mutable
    if plain:
        return program
    for part in _graphs(program.graph_module):
        for node in list(part.graph.nodes):
            if node.op == "call_function" and getattr(node.target, "__name__", "") == "wrap_with_set_grad_enabled":
                if node.args[0] is False:
                    _detach_results(getattr(part, node.args[1].target))
    return _rewritten(program, {})


def _detach_results(part: Any) -> None:
    """Have what a part computes under ``no_grad`` be detached."""
    (end,) = (n for n in part.graph.nodes if n.op == "output")
    with part.graph.inserting_before(end):
        made: list[Any] = []
        for value in end.args[0]:
            if isinstance(value, torch.fx.Node) and isinstance(value.meta.get("val"), torch.Tensor):
                cut = part.graph.call_function(torch.ops.aten.detach.default, (value,))
                cut.meta = dict(value.meta)
                value = cut
            made.append(value)
    end.args = (tuple(made),)
    part.recompile()


def _rewritten(program: Any, table: dict[Any, Any]) -> Any:
    try:
        return program.run_decompositions(table)
    except Exception as error:
        raise NotExported(short(error)) from error


def _operators(program: Any) -> dict[str, Any]:
    """Return the operators of a program by our names for them."""
    return {_name_of(n.target): n.target for n in program.graph.nodes if n.op == "call_function"}


def _name_of(target: Any) -> str:
    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    if isinstance(target, torch._ops.HigherOrderOperator):
        return f"higher_order.{target.__name__}"
    return str(getattr(target, "__name__", target))


def _is_check(name: str) -> bool:
    return name.startswith("aten.") and name.split(".")[1] in _CHECKS


def _decompose(program: Any) -> Any:
    """Return the program with operators that are not done made of others, as PyTorch decomposes them."""
    lost: set[str] = set()
    for _ in range(_MOST_ROUNDS):
        missing = {
            n: t for n, t in _operators(program).items() if not is_done(n) and not _is_check(n) and n not in lost
        }
        if not missing:
            break
        known = torch.export.default_decompositions()
        more = torch._decomp.decomposition_table
        table = {t: known[t] if t in known else more[t] for t in missing.values() if t in known or t in more}
        lost |= {n for n, t in missing.items() if t not in table}
        if table:
            program = _rewritten(program, table)
    else:
        lost |= {n for n in _operators(program) if not is_done(n) and not _is_check(n)}
    if lost:
        raise _missing(sorted(lost))
    return program


def _missing(names: Sequence[str]) -> NotExported:
    return NotExported(f"no such operators in docs/guide/from-torch.md: {', '.join(names)}")


class _Reading:
    """An exported program being read."""

    def __init__(self, program: Any, shapes: Any, custom: tuple[str, ...]) -> None:
        self.program, self.shapes, self.custom = program, shapes, custom
        self.constants: dict[str, Constant] = {}
        self.tensors: list[Any] = []
        """The constants, as PyTorch has them."""
        self.weights: dict[str, str] = {}
        self.symbols: dict[str, str] = {}

    def read(self) -> Exported:
        """Return the graph as plain data."""
        signature = self.program.graph_signature
        inputs: list[str] = []
        for spec in signature.input_specs:
            kind, name = spec.kind.name, spec.arg.name
            if kind == "USER_INPUT":
                inputs.append(name)
            elif kind in ("PARAMETER", "BUFFER"):
                self.weights[name] = spec.target
                if kind == "BUFFER" and spec.persistent is False:
                    self.constants[spec.target] = array_of(self.program.constants[spec.target])
            elif kind == "CONSTANT_TENSOR":
                self.weights[name] = spec.target
                self.constants[spec.target] = array_of(self.program.constants[spec.target])
                self.tensors.append(self.program.constants[spec.target])
            else:
                raise ArgumentError(_WHERE, f"an input of another kind ({kind.lower()})", expected="tensors",
                                    got=spec.target, remedy="Keep such objects out of forward")  # fmt: skip
        self._name_lengths()
        placeholders = {n.name: n for n in self.program.graph.nodes if n.op == "placeholder"}
        infos = [self._info(placeholders[name]) for name in inputs]
        given = [name for name, info in zip(inputs, infos, strict=True) if info is not None]
        outputs, updates = self._ends(signature)
        nodes = self._nodes()
        told, result = self._result(outputs)
        graph = AtenGraph(
            tuple(given),
            self._weights_in_use(nodes, outputs, updates),
            nodes,
            tuple(o for o, i in outputs if i is not None),
            updates,
        )
        leaves = [Leaf(input=n) if i is not None else Leaf(fixed=s.arg.value) for n, i, s in zip(
            inputs, infos, (s for s in signature.input_specs if s.kind.name == "USER_INPUT"), strict=True)]  # fmt: skip
        call = _plain(_unflatten(leaves, self.program.call_spec.in_spec)[0])
        return Exported(
            graph, tuple(i for i in infos if i is not None), told, result, call, self.constants, self.custom,
            self._ranges([i for i in infos if i is not None]), memory(self.tensors), self._hints(),
        )  # fmt: skip

    def _hints(self) -> dict[str, Made]:
        """Return dtypes and lengths of values as they are for the example."""
        found: dict[str, Made] = {}
        for node in self.program.graph.nodes:
            value = node.meta.get("val")
            several: Sequence[Any] = value if is_list(value) else [value]
            try:
                found[node.name] = tuple(
                    (dtype_name(v.dtype), tuple(n if isinstance(n, int) else int(n.node.hint) for n in v.shape))
                    if isinstance(v, torch.Tensor) else None for v in several
                )  # fmt: skip
            except (DTypeError, TypeError, RuntimeError, AttributeError):
                continue  # nothing will stand in for it
        return found

    def _name_lengths(self) -> None:
        """Learn which lengths have the names that were asked for."""
        told = trees.tree_flatten(self.shapes, is_leaf=_is_axes)[0]
        names = [s.arg.name for s in self.program.graph_signature.input_specs if s.kind.name == "USER_INPUT"]
        placeholders = {n.name: n for n in self.program.graph.nodes if n.op == "placeholder"}
        axes: Any
        for name, axes in zip(names, told, strict=False):
            value = placeholders[name].meta.get("val")
            if isinstance(value, torch.Tensor) and _is_axes(axes):
                freed: dict[int, Any] = axes or {}
                for axis, dim in freed.items():
                    length = value.shape[axis]
                    if isinstance(length, torch.SymInt) and hasattr(dim, "__name__"):
                        self.symbols.setdefault(str(length.node.expr), dim.__name__)

    def _ranges(self, inputs: Sequence[ArrayInfo]) -> Ranges:
        """Return the ranges of free lengths by name; NotExported for one that is the length of no axis."""
        found: dict[str, tuple[int, int | None]] = {}
        shown = {n for i in inputs for n in i.shape or () if isinstance(n, str)}
        if any(n is None for i in inputs for n in i.shape or ()):
            raise NotExported("a free length is computed of another")
        for symbol, told in self.program.range_constraints.items():
            name = self.symbols.get(str(symbol), str(symbol))
            least = max(int(told.lower), 0) if getattr(told.lower, "is_Integer", False) else 0
            most = int(told.upper) if getattr(told.upper, "is_Integer", False) else None
            if name in shown:
                found[name] = least, most
            elif least > LEAST or most is not None:
                raise NotExported(f"a length of {least} to {most} is the length of no axis")
        return found

    def _weights_in_use(
        self, nodes: Sequence[AtenNode], outputs: Sequence[tuple[Any, Any]], updates: Mapping[str, str]
    ) -> dict[str, str]:
        from loom.pytorch.graph import references

        used = {name for node in nodes for a in node.arguments.values() for name in references(a)}
        used |= {name for o, _ in outputs for name in references(o)} | set(updates.values())
        return {name: weight for name, weight in self.weights.items() if name in used}

    def _info(self, node: Any) -> ArrayInfo | None:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            return None
        return ArrayInfo(
            node.name, dtype_name(value.dtype, f"{_WHERE}, {node.name!r}"), tuple(map(self._length, value.shape))
        )

    def _length(self, n: Any) -> int | str | None:
        if not isinstance(n, torch.SymInt):
            return int(n)
        text = str(n.node.expr)
        if any(str(symbol).startswith("u") for symbol in n.node.expr.free_symbols):
            raise NotExported("the length of a result depends on elements")
        return self.symbols.get(text, text) if text.isidentifier() else None

    def _ends(self, signature: Any) -> tuple[list[tuple[Any, ArrayInfo | None]], dict[str, str]]:
        (end,) = (n for n in self.program.graph.nodes if n.op == "output")
        outputs: list[tuple[Any, ArrayInfo | None]] = []
        updates: dict[str, str] = {}
        for spec, value in zip(signature.output_specs, end.args[0], strict=True):
            kind = spec.kind.name
            if kind == "BUFFER_MUTATION":
                updates[spec.target] = value.name
            elif kind == "USER_OUTPUT":
                outputs.append((self._argument(value), self._info(value) if hasattr(value, "meta") else None))
            else:
                raise ArgumentError(_WHERE, f"forward writes what it must not ({kind.lower()})",
                                    expected="buffers alone",
                                    got=spec.target, remedy="Return it instead, or copy it first")  # fmt: skip
        return outputs, updates

    def _result(self, outputs: Sequence[tuple[Any, ArrayInfo | None]]) -> tuple[tuple[ArrayInfo, ...], Any]:
        """Return the outputs that are tensors, and what the module returns."""
        spec = self.program.call_spec.out_spec
        paths = _unflatten(list(range(len(outputs))), spec)[1]
        names = [n if n.isidentifier() else f"output_{n}" for n in ("_".join(map(_key, p)) or "output" for p in paths)]
        told = [ArrayInfo(n, i.dtype, i.shape) for n, (_, i) in zip(names, outputs, strict=True) if i is not None]
        leaves = [
            Leaf(output=n) if i is not None else Leaf(fixed=_refuse_length(o))
            for n, (o, i) in zip(names, outputs, strict=True)
        ]
        return tuple(told), _plain(_unflatten(leaves, spec)[0])

    def _nodes(self) -> tuple[AtenNode, ...]:
        found: list[AtenNode] = []
        for node in self.program.graph.nodes:
            if node.op == "get_attr":
                held = getattr(self.program.graph_module, node.target)
                self.weights[node.name] = node.target
                self.constants[node.target] = array_of(held)
                self.tensors.append(held)
            if node.op == "call_function" and not _is_check(_name_of(node.target)):
                found.append(self._node(node))
        return tuple(found)

    def _node(self, node: Any) -> AtenNode:
        name = _name_of(node.target)
        if not isinstance(node.target, torch._ops.OpOverload):
            arguments = {str(k): self._argument(a) for k, a in enumerate((*node.args, *node.kwargs.values()))}
            return AtenNode(name, node.name, arguments, frozenset(arguments), ())
        given = dict(zip((a.name for a in node.target._schema.arguments), node.args, strict=False)) | dict(node.kwargs)
        arguments, told = dict[str, Any](), set[str]()
        for argument in node.target._schema.arguments:
            default = self._argument(argument.default_value) if argument.has_default_value() else None
            value = self._argument(given[argument.name]) if argument.name in given else default
            arguments[argument.name] = value
            if argument.name in given and (type(value), value) != (type(default), default):
                told.add(argument.name)
        return AtenNode(name, node.name, arguments, frozenset(told), self._result_types(node.meta.get("val")))

    def _result_types(self, value: Any) -> tuple[Any, ...]:
        several = value if is_list(value) else [value]
        return tuple(
            (dtype_name(v.dtype), tuple(n if isinstance(n, int) else None for n in v.shape))
            if isinstance(v, torch.Tensor) else None
            for v in several
        )  # fmt: skip

    def _argument(self, value: Any) -> Any:
        if isinstance(value, torch.fx.Node):
            return Ref(value.name)
        if isinstance(value, torch.dtype):
            return TypeName(dtype_name(value))
        if isinstance(value, (torch.device, torch.layout, torch.memory_format)):
            return None
        if isinstance(value, (list, tuple)):
            return [self._argument(v) for v in cast("Sequence[Any]", value)]
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise ArgumentError(_WHERE, f"an argument of another kind, {type(value).__name__}",
                            expected="tensors and numbers",
                            got=repr(value)[:80], remedy="Write the operator otherwise")  # fmt: skip


def _is_axes(value: Any) -> bool:
    """Tell whether part of a ``dynamic_shapes`` is of one tensor."""
    return value is None or (isinstance(value, dict) and all(isinstance(k, int) for k in cast("dict[Any, Any]", value)))


def _key(key: Any) -> str:
    for name in ("key", "idx", "name"):
        if hasattr(key, name):
            return str(getattr(key, name))
    return str(key)


class _Leaf:
    """A leaf of a tree, whatever it holds."""

    def __init__(self, held: Any) -> None:
        self.held = held


def _unflatten(leaves: Sequence[Any], spec: Any) -> tuple[Any, list[Any]]:
    """Return a tree of leaves, and the path of each."""
    tree = trees.tree_unflatten([_Leaf(leaf) for leaf in leaves], spec)
    return tree, [path for path, _ in trees.tree_flatten_with_path(tree)[0]]


def _refuse_length(value: Any) -> Any:
    if isinstance(value, Ref):
        raise ArgumentError(_WHERE, "forward returns a length, which is no tensor", expected="tensors", got=value.name,
                            remedy="Return the tensor, whose shape tells it")  # fmt: skip
    return value


def _plain(tree: Any) -> Any:
    """Return a tree as tuples, lists and dicts of what its leaves hold."""
    if isinstance(tree, _Leaf):
        return tree.held
    if isinstance(tree, Mapping):
        return {
            k if isinstance(k, (str, int, float)) else str(k): _plain(v)
            for k, v in cast("Mapping[Any, Any]", tree).items()
        }
    if isinstance(tree, (list, tuple)):
        made = [_plain(v) for v in cast("Sequence[Any]", tree)]
        return made if isinstance(tree, list) else tuple(made)
    if tree is None:
        return Leaf(fixed=None)
    held: dict[str, Any] = {
        k: _plain(v)
        for k, v in cast("dict[str, Any]", vars(tree)).items()
        if isinstance(v, (_Leaf, Mapping, list, tuple))
    }
    if held:
        return held
    raise DTypeError(_WHERE, "a structure that Loom does not know", expected="tensors, tuples, lists, dicts",
                     got=type(tree).__name__, remedy="Pass and return tensors in tuples, lists and dicts")  # fmt: skip
