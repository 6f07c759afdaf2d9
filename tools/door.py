"""Writes ``__init__.pyi`` of ``loom`` and ``loom.tensor``: names as type checkers read them, from the tables there.

Run ``python tools/door.py`` when a public name has come or gone; a test tells if a file is behind.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from textwrap import indent
from typing import Any

import loom
from loom import tensor
from loom.ir.ops import OPS

FILE = Path(loom.__file__).with_suffix(".pyi")
HEAD = '"""The public names of ``loom``; written by ``tools/door.py``."""\n\nfrom typing import Any\n\n'
TENSOR = '''"""The public names of ``loom.tensor``; written by ``tools/door.py``."""

# ruff: noqa
'''
TAIL = (
    "\ndef __getattr__(name: str) -> Any: ...  # pyright: ignore[reportIncompleteStub] - short vectors, such as f32x4\n"
)


def stub() -> str:
    """Return the text of the file: imports, functions that are one operation, and what is left to ``__getattr__``."""
    operations = {name for name, op in OPS.items() if op.named}
    where: dict[str, str] = {**loom._WHERE, "__version__": "loom.core.version"}
    imports = sorted((module, _rank(name), name) for name, module in where.items() if name not in operations)
    lines = [f"from {module} import {name} as {name}\n" for module, _, name in imports]
    functions = [_function(getattr(loom, name)) for name in loom.__all__ if name in operations]
    return HEAD + "".join(lines) + "".join(functions) + TAIL


def tensor_stub() -> str:
    """Return the text of the file of ``loom.tensor``."""
    modules = [("loom.tensor", name, name) for name in tensor._MODULES]
    names = [(module, other, name) for name, (module, other) in tensor._WHERE.items()]
    rows = sorted([*modules, *names], key=lambda row: (row[0] != "math", row[0], _rank(row[1])))
    lines = [f"from {module} import {other}{'' if other == name else f' as {name}'}\n" for module, other, name in rows]
    listed = "".join(f'    "{name}",\n' for name in sorted(tensor.__all__))
    return TENSOR + "".join(lines) + f"\nnewaxis: None\n__all__ = [\n{listed}]\n"


def _rank(name: str) -> tuple[Any, ...]:
    """Order names as imports are sorted: classes first, numbers by their size."""
    return not name[0].isupper(), [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _function(fn: Any) -> str:
    arguments = ", ".join(f"{name}: Any" for name in inspect.signature(fn).parameters)
    doc = indent(fn.__doc__, "    ").lstrip() + ("\n    " if "\n" in fn.__doc__ else "")
    return f'\ndef {fn.__name__}({arguments}) -> Any:\n    """{doc}"""\n'


if __name__ == "__main__":
    FILE.write_text(stub(), encoding="utf-8")
    Path(tensor.__file__).with_suffix(".pyi").write_text(tensor_stub(), encoding="utf-8")
