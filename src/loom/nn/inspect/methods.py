"""The public methods of a class with their signatures, as the older programs list those of their networks.

Layer: nn. Invariant: what is listed is what there is: names, parameters and types are read from the class.
"""

from __future__ import annotations

import inspect
import json
from typing import Any, cast

from loom.core.errors import ArgumentError, DTypeError, near_matches

__all__ = ["has_method", "list_methods", "method_signature", "methods_json", "methods_of"]

_ANY = "Any"
_UNKNOWN = inspect.Signature(
    [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY),
     inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
)  # fmt: skip
_VARIABLE = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def methods_of(cls: type) -> list[dict[str, Any]]:
    """Return ``{"method_name", "parameters": [{"name", "type"}], "returns": [type]}`` of each public method, by name.

    Args:
        cls: Class.

    Raises:
        DTypeError: Not a class.

    >>> class Pair:
    ...     def add(self, x: int) -> int: ...
    >>> methods_of(Pair)
    [{'method_name': 'add', 'parameters': [{'name': 'x', 'type': 'int'}], 'returns': ['int']}]
    """
    return [_describe(name, getattr(cls, name), cls) for name in list_methods(cls)]


def methods_json(cls: type) -> str:
    """Return ``methods_of`` as a text.

    Args:
        cls: Class.

    Raises:
        DTypeError: Not a class.
    """
    return json.dumps(methods_of(cls), indent=2)


def list_methods(cls: type) -> list[str]:
    """Return the names of public methods, sorted.

    Args:
        cls: Class.

    Raises:
        DTypeError: Not a class.
    """
    if not inspect.isclass(cls):
        raise DTypeError("list_methods", "not a class", expected="a class", got=repr(cast("Any", cls))[:80],
                         remedy="Pass type(it)")  # fmt: skip
    return [name for name in sorted(dir(cls)) if name[0] != "_" and inspect.isroutine(getattr(cls, name))]


def has_method(cls: type, name: object) -> bool:
    """Tell whether there is a public method of a name.

    Args:
        cls: Class.
        name: Name of the method.

    Raises:
        DTypeError: Not a class.
    """
    return isinstance(name, str) and name in list_methods(cls)


def method_signature(cls: type, name: str) -> str:
    """Return ``name(type, ...) (returned type)``.

    Args:
        cls: Class.
        name: Name of the method.

    Raises:
        ArgumentError: There is no such method.
        DTypeError: Not a class.
    """
    if not has_method(cls, name):
        raise ArgumentError(f"{cls.__name__}", f"there is no method {name!r}",
                            remedy=near_matches(str(name), list_methods(cls)))  # fmt: skip
    told = _describe(name, getattr(cls, name), cls)
    return f"{name}({', '.join(p['type'] for p in told['parameters'])}) ({', '.join(told['returns'])})"


def _describe(name: str, method: Any, cls: type) -> dict[str, Any]:
    try:
        signature = inspect.signature(method)
    except ValueError:  # of C, where nothing tells it
        signature = _UNKNOWN
    parameters = list(signature.parameters.values())
    if not isinstance(inspect.getattr_static(cls, name), (classmethod, staticmethod)):
        parameters = parameters[1:]  # self
    told = [{"name": _VARIABLE.get(p.kind, "") + p.name, "type": _type(p.annotation)} for p in parameters]
    returned = _type(signature.return_annotation)
    return {"method_name": name, "parameters": told, "returns": [] if returned == "None" else [returned]}


def _type(annotation: Any) -> str:
    if annotation is inspect.Signature.empty:
        return _ANY
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
