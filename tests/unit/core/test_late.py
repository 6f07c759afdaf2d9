"""Modules that load late: once, by several threads at once, and as their file has them afterwards."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import loom
from loom.core.late import late

ROOT = Path(loom.__file__).parent


def test_a_stand_in_loads_when_a_name_is_asked_for() -> None:
    code = """
import sys, threading
from loom.core.late import late
fractions, = [late("loom.core", "turns")]
assert not hasattr(fractions, "__wrapped__") and "loom.core.turns" not in sys.modules
start, found = threading.Barrier(4), []
def run():
    start.wait()
    found.append(fractions.cos_sin_of_ratio)
threads = [threading.Thread(target=run) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
import loom.core.turns as real
assert len(found) == 4 and set(found) == {real.cos_sin_of_ratio}
real.added = 1
assert fractions.added == 1
try:
    fractions.missing
except AttributeError as error:
    assert "loom.core.turns" in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_several_are_a_list() -> None:
    one, other = late("loom.core", "given names")
    assert one.is_list([])
    assert other.missing_name


def stand_ins() -> list[tuple[Path, set[str], set[str]]]:
    """Return files with late modules: which they take, and which type checkers are shown."""
    found: list[tuple[Path, set[str], set[str]]] = []
    for path in ROOT.rglob("*.py"):
        text = path.read_text()
        if " = late(" not in text:
            continue
        tree = ast.parse(text)
        taken = {
            f"{call.args[0].value}.{name}"
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "late"
            and isinstance(call.args[0], ast.Constant) and isinstance(call.args[1], ast.Constant)
            for name in str(call.args[1].value).split()
        }  # fmt: skip
        shown = {f"{node.module}.{alias.name}" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
                 for alias in node.names}  # fmt: skip
        found.append((path, taken, shown))
    return found


def test_type_checkers_are_shown_the_module_that_is_taken() -> None:
    """But for those that stand above, which a file may not name."""
    above = {"loom.tensor.complexes.arithmetic", "loom.tensor.handle.assigning"}
    files = stand_ins()
    assert len(files) > 4
    for path, taken, shown in files:
        assert taken - shown <= above, path


def test_a_public_name_is_one_object_for_all_threads() -> None:
    code = """
import sys, threading
sys.setswitchinterval(1e-6)
import loom
start, found = threading.Barrier(8), {}
def run():
    start.wait()
    for name in loom.tensor.__all__:
        found.setdefault(name, []).append(getattr(loom.tensor, name))
threads = [threading.Thread(target=run) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
print([name for name, objects in found.items() if len(set(map(id, objects))) > 1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
