"""The tables of a library as C: fields of documents, kinds of layers, templates, losses, optimisers.

Layer: export. Invariant: equal rows, expressions and templates stand once; what the machine cannot do is refused here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING
from typing import Any

from loom.core.dtype import DType
from loom.core.errors import StateError
from loom.core.numbers import Expression
from loom.export.c.levels import Compiled
from loom.export.c.tables import choice_of_levels
from loom.export.c.text import quote, table
from loom.export.library.layervariants import (
    MOST_AXES,
    LayerKind,
    LayerVariant,
    OwnArray,
    SizeCheck,
    VariantOption,
    sum_meanings,
)
from loom.export.library.losstemplates import KINDS, LOSS_NAMES, LossTemplate, OptimizerRow
from loom.export.library.machinekernels import FIXED, tile_of
from loom.export.library.recordtemplates import BATCH, Template, TemplateRow
from loom.formats.json_text import brief
from loom.nn.base.random import RandomStream
from loom.nn.spec.base.fields import ValueField, value_fields
from loom.nn.spec.base.layer import LAYERS, LayerRule
from loom.nn.spec.base.rules import Choice, Element, Flag, Free, Name, Real, Several, Text, Whole
from loom.nn.spec.network import Input, NetworkSpec
from loom.nn.train.losses import CHANCE_LOSSES, PADDING

__all__ = ["LibraryTables", "tables_of"]

_KINDS = ("f32", "i32", "u32", "bool")
_TOLD = ("number", "symbol", "add", "sub", "mul", "div", "floordiv", "min", "round", "single", "root")
_OPERATIONS = (
    "input",
    "number",
    "coordinate",
    "random_words",
    "same",
    "broadcast",
    "permute",
    "reshape",
    "unbroadcast",
    "matmul",
    "fold_sum",
    "fold_max",
    "add",
    "sub",
    "mul",
    "div",
    "neg",
    "abs",
    "relu",
    "max",
    "min",
    "gt",
    "ge",
    "lt",
    "le",
    "eq",
    "ne",
    "select",
    "or",
    "and",
    "shr",
    "convert",
    "part",
    "part_gradient",
)
"""What the machine does itself, by number; functions of compiled kernels follow."""
_VIEWS = ("route", "detach")
_OF_FLOATS = frozenset(
    ("add", "sub", "mul", "div", "neg", "abs", "relu", "max", "min", "matmul", "fold_sum", "fold_max")
)
_SLOTS = ("x", "gradient", "target", "rate", "loss", "step")
_MOST_OWN = 8
_HOLDS = ("", "chain", "added")
_LENGTHS = ("own", "kept", "power")


class LibraryTables:
    """Rows of all tables, gathered; ``text`` writes them."""

    def __init__(self, functions: Sequence[str]) -> None:
        self.functions = tuple(functions)
        self._told: dict[Any, int] = {}
        self._nodes: dict[tuple[str, ...], int] = {}
        self._rows: list[str] = []
        self._templates: dict[Any, int] = {}
        self._template_rows: list[str] = []
        self._names: list[str] = []
        self._lists: dict[str, list[Any]] = {
            key: []
            for key in (
                "field",
                "option",
                "choice",
                "special",
                "check",
                "own",
                "variant",
                "kind",
                "loss",
                "optimizer",
                "setting",
            )
        }
        self.most_rank = MOST_AXES + 2

    @property
    def templates(self) -> int:
        """How many templates there are."""
        return len(self._template_rows)

    @property
    def rows(self) -> int:
        """How many rows they have, equal ones counted once."""
        return len(self._rows)

    # expressions

    def expression(self, of: Expression) -> int:
        """Return the number of an expression."""
        key = ("number", float(of[1])) if of[0] == "number" else of
        if key not in self._told:
            operands = [0, 0]
            if of[0] == "symbol":
                operands[0] = _symbol(of[1])
            elif of[0] != "number":
                operands[: len(of) - 1] = [self.expression(each) for each in of[1:]]
            value = float(of[1]).hex() if of[0] == "number" else "0"
            self._told[key] = len(self._told)
            self._lists.setdefault("told", []).append(
                f"{{{_TOLD.index(of[0])}, {operands[0]}, {operands[1]}, {value}}}"
            )
        return self._told[key]

    # templates

    def template(self, made: Template | None) -> int:
        """Return the number of a template, -1 for none."""
        if made is None:
            return -1
        if made.key not in self._templates:
            first = self._place_rows([self._row(row) for row in made.rows])
            ends = [-1] * (2 + _MOST_OWN)
            for name, row in made.ends.items():
                if not name.startswith("power."):
                    ends[_end(name)] = row
            powers = [made.ends.get(f"power.{n}", -1) for n in range(2)]
            self._templates[made.key] = len(self._template_rows)
            told = ", ".join(map(str, ends))
            self._template_rows.append(
                f"{{{first}, {made.forward}, {len(made.rows)}, {{{told}}}, {{{powers[0]}, {powers[1]}}}}}"
            )
        return self._templates[made.key]

    def _place_rows(self, rows: list[str]) -> int:
        key = tuple(rows)
        if key not in self._nodes:
            self._nodes[key] = len(self._rows)
            self._rows += rows
        return self._nodes[key]

    def _row(self, row: TemplateRow) -> str:
        name, _, slot = row.operation.partition(" ")
        kind, number = _KINDS.index(row.dtype), row.numbers[0] if row.numbers else 0
        if name in _VIEWS:
            name = "same"
        if name == "input":
            number = _slot(slot)
        elif name in self.functions or name == "sqrt":
            _require(row.dtype == "f32", row)
        else:
            _require(name in _OPERATIONS and (name not in _OF_FLOATS or row.dtype == "f32"), row)
        _require(name != "matmul" or len(row.shape) == 2, row)
        self.most_rank = max(self.most_rank, len(row.shape))
        told = -1 if row.told is None else self.expression(row.told)
        inputs = ", ".join(map(str, row.inputs)) or "0"
        operation = self.operation(name)
        shape = ", ".join(str(self.expression(n)) for n in row.shape) or "0"
        cells = f"{operation}, {kind}, {len(row.inputs)}, {len(row.shape)}"
        return f"{{{cells}, {{{inputs}}}, {{{shape}}}, {number}u, {told}}}"

    def operation(self, name: str) -> int:
        """Return the number of an operation."""
        return (
            _OPERATIONS.index(name) if name in _OPERATIONS else len(_OPERATIONS) + ("sqrt", *self.functions).index(name)
        )

    # fields

    def fields(self, fields: Sequence[ValueField], left: Sequence[str]) -> list[str]:
        """Return the rows of fields, whose names of choices are put into their table."""
        return [self._field(f, is_left=f.name in left) for f in fields]

    def _field(self, f: ValueField, *, is_left: bool) -> str:
        rule, low, high, limits, least, most, each = f.rule, 0, 0, 0, 0.0, 0.0, ""
        names: list[str] = []
        kind = "RULE_LEFT"
        if is_left:
            pass
        elif isinstance(rule, Whole):
            kind, low, high = "RULE_WHOLE", rule.low, rule.high
        elif isinstance(rule, Real):
            kind = "RULE_REAL"
            pairs = ((rule.low, 1), (rule.above, 2), (rule.high, 4), (rule.below, 8))
            limits = sum(bit for limit, bit in pairs if limit is not None)
            least = next((x for x in (rule.low, rule.above) if x is not None), 0.0)
            most = next((x for x in (rule.high, rule.below) if x is not None), 0.0)
        elif isinstance(rule, Flag):
            kind = "RULE_FLAG"
        elif isinstance(rule, Choice):
            kind, names = "RULE_CHOICE", [str(m.value) for m in rule.members]
        elif isinstance(rule, Element):
            kind, names = "RULE_ELEMENT", list(rule.names)
        elif isinstance(rule, Text):
            kind, high = "RULE_TEXT", rule.longest
        elif isinstance(rule, Free):
            kind = "RULE_FREE"
        elif isinstance(rule, Several) and isinstance(rule.each, LayerRule):
            kind, low = "RULE_LAYERS", rule.least
        elif isinstance(rule, Several) and isinstance(rule.each, Whole):
            kind, low, high, each = "RULE_SIZES", rule.each.low, rule.each.high, rule.each.expected
        elif isinstance(rule, Several) and isinstance(rule.each, Text):
            kind, high, each = "RULE_TEXTS", rule.each.longest, rule.each.expected
        first = len(self._names)
        self._names += names
        fallback = _fallback(f, names)
        missing = f"key {brief(f.name)} is missing"
        cells = [
            quote(f.name),
            kind,
            int(f.is_required),
            low,
            f"{high}ull",
            limits,
            float(least).hex(),
            float(most).hex(),
            first,
            len(names),
            fallback,
            quote(rule.expected),
            quote(each),
            quote(missing),
        ]
        return "{" + ", ".join(map(str, cells)) + "}"

    # layers

    def kind(self, kind: LayerKind) -> None:
        """Add a kind of layer."""
        lists = self._lists
        starts = [len(lists[key]) for key in ("field", "option", "check", "variant")]
        lists["field"] += self.fields(kind.fields, kind.left)
        lists["option"] += [self._option(o, kind.fields[o.field]) for o in kind.options]
        lists["check"] += [_check(each) for each in kind.checks]
        lists["variant"] += [self._variant(v) for v in kind.variants]
        frozen = next(n for n, f in enumerate(kind.fields) if f.name == "frozen")
        cells = [
            quote(kind.name),
            starts[0],
            len(kind.fields),
            starts[1],
            len(kind.options),
            starts[2],
            len(kind.checks),
            starts[3],
            kind.least_axes,
            frozen,
            int(kind.takes_statistics),
            _HOLDS.index(kind.holds),
            kind.rate,
        ]
        lists["kind"].append("{" + ", ".join(map(str, cells)) + "}")

    def _option(self, option: VariantOption, f: ValueField | None) -> str:
        how, first = "OPTION_FLAG", 0
        if option.names:
            assert f is not None
            assert isinstance(f.rule, Choice)
            how, first = "OPTION_NAMES", len(self._lists["choice"])
            known = [str(m.value) for m in f.rule.members]
            self._lists["choice"] += [option.names.index(n) if n in option.names else -1 for n in known]
        elif option.special:
            how, first = "OPTION_SPECIAL", len(self._lists["special"])
            self._lists["special"] += [float(value).hex() for value in option.special]
        return f"{{{option.field}, {how}, {first}, {option.count}}}"

    def _variant(self, v: LayerVariant) -> str:
        if v.problem is not None:
            key = v.problem.path.removeprefix("$").removeprefix(".")
            named = quote(key) if key else "0"
            return (
                f"{{{quote(v.problem.what)}, {named}, {quote(v.problem.expected)}, {int(v.is_of_fields)}, 0, {{0}}, "
                "0, 0, 0, {0}, {0}, -1, -1}"
            )
        first = len(self._lists["own"])
        self._lists["own"] += [self._own(each) for each in (*v.weights, *v.states)]
        _require(len(v.weights) + len(v.states) <= _MOST_OWN, v)
        kinds = ", ".join(str(KINDS.index(kind)) for kind, _ in v.means)
        widths = ", ".join(str(-1 if width is None else self.expression(width)) for _, width in v.means)
        shape = ", ".join(str(self.expression(n)) for n in v.shape) or "0"
        return (
            f"{{0, 0, 0, 0, {len(v.shape)}, {{{shape}}}, {first}, {len(v.weights)}, {len(v.states)}, {{{kinds}}}, "
            f"{{{widths}}}, {self.template(v.training)}, {self.template(_inference_of(v))}}}"
        )

    def _own(self, own: OwnArray) -> str:
        start = {"spread": "START_SPREAD", "normal": "START_NORMAL", "fill": "START_FILL"}[own.start]
        shape = ", ".join(str(self.expression(n)) for n in own.shape) or "0"
        large = quote(f"the weight '{own.name}' is too large")
        return f"{{{quote(own.name)}, {len(own.shape)}, {{{shape}}}, {start}, {self.expression(own.reach)}, {large}}}"

    # training

    def loss(self, made: LossTemplate) -> None:
        """Add a form of a loss."""
        cells = [made.loss, int(made.probabilities), int(made.classes), made.axes, self.template(made.template)]
        self._lists["loss"].append("{" + ", ".join(map(str, cells)) + "}")

    def optimizer(self, row: OptimizerRow) -> None:
        """Add an optimiser."""
        lists = self._lists
        first, option, template = len(lists["setting"]), len(lists["option"]), len(lists.setdefault("update", []))
        lists["setting"] += [f"{{{quote(name)}, {float(value).hex()}}}" for name, value in row.settings]
        lists["option"] += [self._option(each, None) for each in row.options]
        lists["update"] += [self.template(each) for each in row.templates]
        cells = [quote(row.name), first, len(row.settings), option, len(row.options), template]
        lists["optimizer"].append("{" + ", ".join(map(str, cells)) + "}")

    # text

    def text(self, meant: Sequence[int], levels: Sequence[Compiled]) -> str:
        """Return the tables as C, after the machine's types (``types.c``); ``meant``: which loss a name means."""
        header, given = self.fields(value_fields(NetworkSpec), ("grid",)), self.fields(_input_fields(), ())
        lists, names = self._lists, [quote(name) for name in self._names]
        others = [quote(name) for name in LAYERS]
        losses = [quote(name) for name in LOSS_NAMES]
        chances = [str(int(name in CHANCE_LOSSES)) for name in LOSS_NAMES]
        return "\n".join(
            [
                *(
                    table(_TYPES[key], f"{key}_table", list(map(str, lists[key])))
                    for key in (
                        "told",
                        "field",
                        "option",
                        "choice",
                        "special",
                        "check",
                        "own",
                        "variant",
                        "kind",
                        "loss",
                        "setting",
                        "optimizer",
                        "update",
                    )
                ),
                table("Node", "node_table", self._rows),
                table("Template", "template_table", self._template_rows),
                table("Field", "header_fields", header),
                table("Field", "input_fields", given),
                table("char *const", "name_table", names),
                table("char *const", "other_kinds", others),
                table("char *const", "loss_names", losses),
                table("u8", "is_of_chances", chances),
                table("int", "meant_loss", [str(n) for n in meant]),
                table("u8", "added_meaning", [str(n) for n in sum_meanings()]),
                _kernel_tables(levels),
            ]
        )

    def defines(self) -> str:
        """Return the numbers that the machine's types and code need."""
        network, given = value_fields(NetworkSpec), _input_fields()
        numbers: dict[str, Any] = {
            "MOST_AXES": MOST_AXES,
            "MOST_RANK": self.most_rank,
            "MOST_OWN": _MOST_OWN,
            "MOST_FIELDS": 16,
            "KINDS": len(self._lists["kind"]),
            "OTHER_KINDS": len(LAYERS),
            "LOSSES": len(LOSS_NAMES),
            "LOSS_FORMS": len(self._lists["loss"]),
            "OPTIMIZERS": len(self._lists["optimizer"]),
            "HEADER_FIELDS": len(network),
            "INPUT_FIELDS": len(given),
            "PADDED_CLASS": PADDING,
            "HEADER_BATCH_FIELD": [f.name for f in network].index("batch_size"),
            "INPUT_LENGTH_FIELD": [f.name for f in given].index("variable_length"),
            "STREAM_OF_WEIGHTS": f"{int(RandomStream.WEIGHTS)}u",
            "FIRST_OWN_SLOT": len(_SLOTS),
            "FIRST_KEPT_SLOT": len(_SLOTS) + _MOST_OWN,
            "FIRST_POWER_SLOT": len(_SLOTS) + _MOST_OWN + 2,
            "SLOTS": len(_SLOTS) + _MOST_OWN + 4,
            "NAME_EXPECTED": quote(Name().expected),
            "NORMAL_TEMPLATE": 0,
            "NEXT_TOKEN_LOSS": LOSS_NAMES.index("next_token"),
            "BINARY_LOSS": LOSS_NAMES.index("binary_cross_entropy"),
        }
        numbers |= {f"OP_{name.upper()}": n for n, name in enumerate(_OPERATIONS)} | {"OP_FUNCTIONS": len(_OPERATIONS)}
        numbers |= {f"KIND_{name.upper()}": n for n, name in enumerate(_KINDS)}
        numbers |= {f"TOLD_{name.upper()}": n for n, name in enumerate(_TOLD)}
        numbers |= {f"SLOT_{name.upper()}": n for n, name in enumerate(_SLOTS)}
        numbers |= {f"KERNEL_{name.upper()}": n for n, name in enumerate(FIXED)}
        numbers |= {"KERNEL_FUNCTIONS": FIXED.index("sqrt")} | {f"MEANING_{k.name}": n for n, k in enumerate(KINDS)}
        assert FIXED[-1] == "sqrt"
        return "\n".join(f"#define {key} {value}" for key, value in numbers.items())


_TYPES = {
    "told": "Told",
    "field": "Field",
    "option": "Option",
    "choice": "int",
    "special": "double",
    "check": "Check",
    "own": "Own",
    "variant": "Variant",
    "kind": "Kind",
    "loss": "LossForm",
    "setting": "Setting",
    "optimizer": "Optimizer",
    "update": "int",
}


def tables_of(
    kinds: Sequence[LayerKind],
    losses: Sequence[LossTemplate],
    optimizers: Sequence[OptimizerRow],
    normals: Template,
    functions: Sequence[str],
) -> LibraryTables:
    """Return the tables of what a library has."""
    found = LibraryTables(functions)
    assert found.template(normals) == 0  # NORMAL_TEMPLATE
    for kind in kinds:
        found.kind(kind)
    for loss in losses:
        found.loss(loss)
    for optimizer in optimizers:
        found.optimizer(optimizer)
    return found


def _inference_of(v: LayerVariant) -> Template | None:
    """Return the template of inference: that of training, where what leads to its output is the same."""
    if v.training is None or v.inference is None:
        return None
    return v.training if v.training.towards("y") == v.inference.towards("y") else v.inference


def _input_fields() -> tuple[ValueField, ...]:
    return tuple(f for f in value_fields(Input) if f.name != "name")


def _kernel_tables(levels: Sequence[Compiled]) -> str:
    """Return the compiled kernels of all levels, and what a group of each takes."""
    rows = ["{" + ", ".join(level.entries) + "}" for level in levels]
    lanes = [str(kernel.workgroup[0]) for kernel in levels[0].image.kernels]
    tiles = [tile_of(level.level.caps) for level in levels]
    return "\n".join(
        [
            choice_of_levels(levels),
            table("Kernel *const", "kernels", rows, f"[{len(lanes)}]"),
            table("u32", "kernel_lanes", lanes),
            table("u32", "tile_rows", [str(tile.rows) for tile in tiles]),
            table("u32", "tile_columns", [str(tile.columns) for tile in tiles]),
        ]
    )


def _symbol(name: str) -> int:
    """Return the number of a symbol, as expressions.c has them."""
    if name == BATCH:
        return 0
    where, _, number = name.partition(".")
    return (1 if where == "axis" else 16) + int(number)


def _slot(name: str) -> int:
    where, _, number = name.partition(".")
    if where in _LENGTHS:
        return len(_SLOTS) + (0, _MOST_OWN, _MOST_OWN + 2)[_LENGTHS.index(where)] + int(number)
    return _SLOTS.index(name)


def _end(name: str) -> int:
    """Return the place of an end: y, that of x, then those of a layer's own arrays, or of what is kept."""
    if name in ("y", "x"):
        return int(name == "x")
    return 2 + int(name.partition(".")[2])


def _fallback(f: ValueField, names: list[str]) -> str:
    default: Any = f.default
    if default is MISSING or default is None:
        return "NOT_GIVEN"
    if isinstance(default, DType):
        return str(names.index(default.name))
    if names:
        return str(names.index(str(default.value)))
    return float(default).hex() if isinstance(default, (int, float)) else "NOT_GIVEN"


def _check(check: SizeCheck) -> str:
    axis = int(check.size[1].partition(".")[2])
    return f"{{{check.field}, {axis}, {quote(check.what)}}}"


def _require(holds: bool, row: object) -> None:
    if not holds:
        raise StateError(
            "loom.export, library",
            "the machine has not what a record has",
            got=str(row)[:300],
            remedy="Teach it, or leave the option out",
        )
