"""Writes ``src/loom/tensor/handle/methods.pyi``: the methods of tensors, as type checkers read them.

Run ``python tools/methods.py`` when ``METHODS`` or a signature in ``methods.py`` has changed; a test tells if the file
is behind.
"""

from __future__ import annotations

import ast
from pathlib import Path

from loom import tensor
from loom.tensor.handle import methods

FILE = Path(methods.__file__).with_suffix(".pyi")
HEAD = '"""The methods of tensors; written by ``tools/methods.py``."""\n\n# ruff: noqa: A002, N802\n'


def stub() -> str:
    """Return the text of the file: functions of other modules, and the signatures of what is written there.

    Modules have names that no method has, since mypy takes no imports inside a class.
    """
    tree = ast.parse(Path(methods.__file__).read_text(encoding="utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Methods")
    lines = [
        "from collections.abc import Callable\n", "from typing import Any\n\n", *_imports(),
        "\nMETHODS: tuple[str, ...]\n\n",
        "def fresh(found: Any, *given: Any) -> Any: ...\n",
        "def own(function: Callable[..., Any]) -> Callable[..., Any]: ...\n",
        "\nclass Methods:\n",
    ]  # fmt: skip
    lines += [f"    {name} = {_alias(module)}.{own}\n" for module, own, name in sorted(map(_where, methods.METHODS))]
    for node in found.body:
        if isinstance(node, ast.FunctionDef):
            lines += [f"    @{ast.unparse(d)}\n" for d in node.decorator_list]
            returns = ast.unparse(node.returns) if node.returns else "Any"
            returns = {"Any": "Tensor", "list[Any]": "list[Tensor]"}.get(returns, returns)
            lines.append(f"    def {node.name}({ast.unparse(node.args)}) -> {returns}: ...\n")
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "clone":
            lines.append("    clone = copy\n")
    return HEAD + "".join(lines)


def _imports() -> list[str]:
    """Return the imports of the methods' modules and of the tensor, in the order of a linter."""
    modules = {_where(name)[0].rpartition(".") for name in methods.METHODS}
    lines = [f"from {parent} import {name} as {_alias(f'{parent}.{name}')}\n" for parent, _, name in modules]
    return sorted([*lines, "from loom.tensor.arrays.tensor import Tensor\n"])


def _alias(module: str) -> str:
    return "_" + "_".join(module.split(".")[2:])


def _where(name: str) -> tuple[str, str, str]:
    """Return the module of a method, what it is called there, and its name."""
    function = getattr(tensor, name)
    own = getattr(function, "__wrapped__", function)
    return own.__module__, own.__name__, name


if __name__ == "__main__":
    FILE.write_text(stub(), encoding="utf-8")
