"""Public names: what ``loom`` exports exists, is documented, and is the same for type checkers."""

from __future__ import annotations

import ast
import inspect
import runpy
from pathlib import Path

import pytest

import loom

SOURCE = Path(loom.__file__)
DOOR = Path(__file__).parents[2] / "tools" / "door.py"


def test_every_name_can_be_loaded() -> None:
    assert len(set(loom.__all__)) == len(loom.__all__)
    for name in loom.__all__:
        assert getattr(loom, name) is not None
    assert sorted(loom.__all__) == dir(loom)


def test_type_checkers_see_the_same_names() -> None:
    assert SOURCE.with_suffix(".pyi").read_text() == runpy.run_path(str(DOOR))["stub"](), "run python tools/door.py"


def test_public_functions_and_classes_are_documented() -> None:
    for name in loom.__all__:
        value = getattr(loom, name)
        if inspect.isfunction(value) or inspect.isclass(value):
            assert inspect.getdoc(value), name


def test_vector_types_and_misspelt_names() -> None:
    assert loom.f32x4.lanes == 4
    with pytest.raises(AttributeError, match="Did you mean 'gpu_sum'"):
        loom.gpu_smu  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'f32x9'"):
        loom.f32x9  # noqa: B018


def _names(node: ast.AST) -> set[str]:
    """Return the names a top-level statement defines."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, ast.ImportFrom):
        return {a.asname or a.name for a in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}


def test_modules_export_what_they_define() -> None:
    for path in SOURCE.parent.rglob("*.py"):
        body = ast.parse(path.read_text()).body
        inner = [n for b in body if isinstance(b, ast.If) for n in b.body]
        defined = {name for node in (*body, *inner) for name in _names(node)}
        for node in body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                listed = [e.value for e in getattr(node.value, "elts", []) if isinstance(e, ast.Constant)]
                assert set(listed) <= defined, path
                assert len(listed) == len(set(listed)), path
