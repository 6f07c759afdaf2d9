"""Functions of Loom that ONNX has no operator for, as functions of the domain ``loom``.

Layer: onnx. A model that Loom writes holds their bodies, of standard operators, so that any runtime computes them;
Loom itself knows them by domain, name and body, and takes its own. Invariant: one whose body is another is run by that
body.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from loom.core.errors import ArgumentError
from loom.onnx.protos import domain_of, graphs_of, opsets_of
from loom.onnx.values import onnx

__all__ = ["BODIES", "DOMAIN", "VERSION", "check_calls", "function_proto", "is_own"]

DOMAIN = "loom"
VERSION = 1

_ONE = "f = Constant <value_float = 1.0> () one = CastLike (f, x) "
_UNARY: dict[str, str] = {
    "log1p": _ONE
    + """
        u = Add (x, one) near = Equal (u, one) rest = Sub (u, one) safe = Where (near, one, rest)
        l = Log (u) q = Div (x, safe) far = IsInf (u) p = Mul (l, q) m = Where (far, l, p) y = Where (near, x, m)""",
    "expm1": _ONE
    + """
        u = Exp (x) near = Equal (u, one) rest = Sub (u, one) l = Log (u) safe = Where (near, one, l)
        h = Constant <value_float = 0.5> () half = CastLike (h, x) size = Abs (x) small = Less (size, half)
        r = Div (x, safe) p = Mul (rest, r) m = Where (small, p, rest) y = Where (near, x, m)""",
    "log2": "f = Constant <value_float = 2.0> () two = CastLike (f, x) a = Log (x) b = Log (two) y = Div (a, b)",
    "log10": "f = Constant <value_float = 10.0> () ten = CastLike (f, x) a = Log (x) b = Log (ten) y = Div (a, b)",
    "exp2": "f = Constant <value_float = 2.0> () two = CastLike (f, x) y = Pow (two, x)",
    "cbrt": _ONE
    + """
        g = Constant <value_float = 3.0> () three = CastLike (g, x) third = Div (one, three)
        size = Abs (x) sign = Sign (x) root = Pow (size, third) y = Mul (sign, root)""",
    "erfc": _ONE + "e = Erf (x) y = Sub (one, e)",
    "trunc": """
        z = Constant <value_float = 0.0> () zero = CastLike (z, x) below = Less (x, zero)
        up = Ceil (x) down = Floor (x) y = Where (below, up, down)""",
}
_BINARY: dict[str, str] = {
    "copysign": """
        f = Constant <value_float = 0.0> () zero = CastLike (f, x) none = Equal (z, zero) far = Reciprocal (z)
        signed = Where (none, far, z) below = Less (signed, zero) size = Abs (x) turned = Neg (size)
        y = Where (below, turned, size)""",
    "hypot": """
        a = Abs (x) b = Abs (z) m = Max (a, b) zf = Constant <value_float = 0.0> () zero = CastLike (zf, x)
        of = Constant <value_float = 1.0> () one = CastLike (of, x) none = Equal (m, zero) far = IsInf (m)
        odd = Or (none, far) safe = Where (odd, one, m) p = Div (a, safe) q = Div (b, safe) pp = Mul (p, p)
        qq = Mul (q, q) s = Add (pp, qq) r = Sqrt (s) t = Mul (m, r) y = Where (odd, m, t)""",
    "atan2": """
        zf = Constant <value_float = 0.0> () zero = CastLike (zf, x) of = Constant <value_float = 1.0> ()
        one = CastLike (of, x) ff = Constant <value_float = 4.0> () four = CastLike (ff, x) eighth = Atan (one)
        pi = Mul (four, eighth) no = Equal (x, zero) nz = Equal (z, zero) both = And (no, nz) rx = Reciprocal (x)
        rz = Reciprocal (z) sx = Where (no, rx, x) sz = Where (nz, rz, z) below = Less (sx, zero)
        behind = Less (sz, zero) turned = Neg (pi) half = Where (below, turned, pi) size = Abs (z)
        safe = Where (nz, size, z) q = Div (x, safe) a = Atan (q)
        left = Less (z, zero) far = Add (a, half) r = Where (left, far, a)
        none = Where (behind, half, x) y = Where (both, none, r)""",
}
BODIES: dict[str, tuple[tuple[str, ...], str]] = {
    **{name: (("x",), body) for name, body in _UNARY.items()},
    **{name: (("x", "z"), body) for name, body in _BINARY.items()},
    "matmul": (("x", "z"), "y = MatMul (x, z)"),
}
"""Name: inputs and body. ``matmul`` has a precision (docs/numerics.md, section 2), which others do not keep."""


_DEEPEST = 64
"""Functions within functions."""
_MOST_NODES = 1 << 17
"""Nodes of a model with the bodies of its functions in the places of their calls."""


def check_calls(proto: Any, functions: Mapping[tuple[str, str], Any], name: str) -> None:
    """Refuse, with an ArgumentError, functions that call themselves, and calls of too many nodes in all."""
    counts: dict[tuple[str, str], int] = {}
    open_: list[tuple[str, str]] = []

    def count(nodes: Any) -> int:
        total = 0
        for node in nodes:
            key = domain_of(node.domain), node.op_type
            total += body(key) if key in functions and not is_own(functions[key]) else 1
            total += sum(count(g.node) for g in graphs_of(node))
        return total

    def body(key: tuple[str, str]) -> int:
        if key in open_ or len(open_) > _DEEPEST:
            raise ArgumentError("onnx.load", f"{name}: functions call each other too deeply", got=".".join(key),
                                expected=f"{_DEEPEST} within each other, none itself",
                                remedy="Put bodies in the places of calls: onnx.inliner")  # fmt: skip
        if key not in counts:
            open_.append(key)
            counts[key] = count(functions[key].node)
            open_.pop()
        return counts[key]

    total = count(proto.graph.node) if functions else 0
    if total > _MOST_NODES:
        raise ArgumentError("onnx.load", f"{name} has too many nodes, with those of its functions at every call",
                            expected=f"{_MOST_NODES} or fewer", got=total,
                            remedy="Write what functions repeat as loops, or split the model")  # fmt: skip


@lru_cache(maxsize=256)
def function_proto(name: str, opset: int) -> Any:
    """Return a function as a ``FunctionProto`` over an opset; to be copied, not changed."""
    inputs, body = BODIES[name]
    attributes = "<precision>" if name == "matmul" else ""
    text = (
        f'<domain: "{DOMAIN}", opset_import: ["" : {opset}]>\n{name} {attributes} ({", ".join(inputs)}) => (y) '
        f"{{ {' '.join(body.split())} }}"
    )
    return onnx.parser.parse_function(text)


def is_own(proto: Any) -> bool:
    """Return whether a model's function is one of these, with the body that is written here."""
    if proto.domain != DOMAIN or proto.name not in BODIES:
        return False
    opset = opsets_of(proto).get("", 0)
    return list(proto.node) == list(function_proto(proto.name, opset).node) and opset > 0
