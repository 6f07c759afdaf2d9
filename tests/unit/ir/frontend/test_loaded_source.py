"""A kernel is the code that was loaded: a file edited since is told, and never another program.

Oracle: what Python itself computes with the function that it loaded.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import itertools
import linecache
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import loom
from loom import In, Out, f32
from loom.core.errors import SyntaxNotSupported
from loom.ir.interp import interpret

Write = Callable[[str], None]
_numbers = itertools.count()


def stored(kernel: Any) -> float:
    """Return what a kernel of one Out[f32] stores."""
    out = np.zeros(kernel.ir.lanes, np.float32)
    interpret(kernel.ir, [out], [], (1, 1, 1))
    return float(out[0])


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[ModuleType, Write]]:
    """Write a module, import it, and give what writes its file anew."""

    def make(text: str) -> tuple[ModuleType, Write]:
        path = tmp_path / f"loaded_{next(_numbers)}.py"

        def write(changed: str) -> None:
            path.write_text(changed)
            os.utime(path, (os.stat(path).st_mtime + 5,) * 2)  # another time, however coarse the clock

        path.write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        return importlib.import_module(path.stem), write

    return make


@pytest.mark.parametrize(
    "text",
    ["f = lambda x: x * 2\n", "def f(x):\n    return x * 2\n", "f, g = (lambda x: x * 2), (lambda x: x * 5)\n"],
    ids=["lambda", "def", "two lambdas"],
)
@pytest.mark.parametrize(("old", "new"), [("* 2", "* 3"), ("* 2", "+ 2"), ("x * 2", "x * 2 + x")])
def test_a_mapped_function_of_an_edited_file(source: Any, text: str, old: str, new: str) -> None:
    module, write = source(text)
    write(text.replace(old, new))
    with pytest.raises(SyntaxNotSupported) as told:
        loom.gpu_map([1.0], module.f)
    assert f"{Path(module.__file__).name}:1]" in str(told.value)
    assert "its source is not what was loaded: the file has changed since" in str(told.value)
    assert "Import it again, in a new process or with importlib.reload" in str(told.value)
    importlib.invalidate_caches()
    module = importlib.reload(module)  # the remedy
    assert loom.gpu_map([1.0], module.f).tolist() == [module.f(1.0)]


KERNEL = """import loom

def helper(x):
    wide: loom.f32 = 111
    return wide * x

@loom.kernel
def k(o: loom.Out[loom.f32]):
    number: loom.f32 = 1
    o[loom.global_id()] = helper(number)

f = lambda x: x - 4
"""


@pytest.mark.parametrize("new", [KERNEL.replace("111", "222"), KERNEL.replace("loom.f32 = 1", "loom.f64 = 1"), "", "("])
def test_a_kernel_is_the_text_it_was_decorated_in(source: Any, new: str) -> None:
    """Edits during a run are no hindrance, those in a local's annotation included, which Python does not keep."""
    module, write = source(KERNEL)
    write(new)
    assert stored(module.k) == 111.0
    assert loom.gpu_map([1.0], module.f).tolist() == [-3.0]


def test_a_module_loaded_again_is_another_program(source: Any) -> None:
    module, write = source(KERNEL)
    old = module.k
    write(KERNEL.replace("111", "222"))
    importlib.invalidate_caches()
    module = importlib.reload(module)
    assert stored(module.k) == 222.0
    assert stored(old) == 222.0  # as in Python, the old function calls what its module's name means now


def test_a_file_that_lost_the_function(source: Any) -> None:
    module, write = source("def f(x):\n    return x * 2\n")
    write("# nothing here\n" * 9)
    with pytest.raises(SyntaxNotSupported, match="its source is not what was loaded"):
        loom.gpu_map([1.0], module.f)


def test_a_changed_neighbour_is_no_hindrance(source: Any) -> None:
    text = "def f(x):\n    return x * 2\n\ndef g(x):\n    return x * 7\n"
    module, write = source(text)
    write(text.replace("7", "8"))
    assert loom.gpu_map([1.0], module.f).tolist() == [2.0]
    with pytest.raises(SyntaxNotSupported, match="its source is not what was loaded"):
        loom.gpu_map([1.0], module.g)


def _executed(text: str, file: str) -> dict[str, Any]:
    """Run text as notebooks do: a cell's text lies in linecache under the cell's name."""
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names: dict[str, Any] = {"loom": loom, "__name__": "__main__"}
    exec(compile(text, file, "exec"), names)
    return names


def test_cells_of_a_notebook() -> None:
    """A cell run again under the same name is another program; kernels of the old one stay what they were."""
    text = "@loom.kernel\ndef k(o: loom.Out[loom.f32]):\n    o[loom.global_id()] = 5.0\nf = lambda x: x + 5\n"
    first = _executed(text, "<cell 1>")
    again = _executed(text.replace("5", "6"), "<cell 1>")
    assert stored(first["k"]) == 5.0
    assert stored(again["k"]) == 6.0
    assert loom.gpu_map([1.0], again["f"]).tolist() == [7.0]
    with pytest.raises(SyntaxNotSupported, match="its source is not what was loaded"):
        loom.gpu_map([1.0], first["f"])


def test_functions_that_are_wrapped_nested_or_methods() -> None:
    def passing(fn: Any) -> Any:
        @functools.wraps(fn)
        def inner(*args: Any) -> Any:
            return fn(*args)

        inner.kept = fn
        return inner

    @passing
    @passing
    def twice(x):
        return x * 2

    class Holder:
        factor = 3.0

        @staticmethod
        def times(x):
            return x * Holder.factor

    def make(n: float) -> Callable[[Any], Any]:
        return lambda x: x * n if n > 0 else -x

    assert loom.gpu_map([1.0], twice.kept.kept).tolist() == [2.0]
    assert loom.gpu_map([1.0], Holder.times).tolist() == [3.0]
    assert loom.gpu_map([1.0], make(4.0)).tolist() == [4.0]


def test_assertions_that_pytest_rewrote() -> None:
    """This module's assertions are rewritten: the kernel's text is found nevertheless."""

    @loom.kernel(workgroup=4)
    def checked(x: In[f32], o: Out[f32]):
        i = loom.global_id()
        assert x[i] < 100.0, f"too large: {x[i]}"
        o[i] = x[i] * 3.0

    out = np.zeros(4, np.float32)
    interpret(checked.ir, [np.arange(4, dtype=np.float32), out], [], (1, 1, 1))
    assert out.tolist() == [0.0, 3.0, 6.0, 9.0]


def test_compiled_with_other_futures(source: Any) -> None:
    text = "from __future__ import annotations, generator_stop\n" + KERNEL
    module, _ = source(text)
    assert stored(module.k) == 111.0


def test_constants_are_told_apart_by_sign_and_type(source: Any) -> None:
    for old, new in (("0.0", "-0.0"), ("1", "True"), ("(1, 2)", "(1.0, 2)")):
        text = f"def f(x):\n    c = {old}\n    return x\n"
        module, write = source(text)
        write(text.replace(old, new))
        with pytest.raises(SyntaxNotSupported, match="its source is not what was loaded"):
            loom.gpu_map([1.0], module.f)


def test_no_source_at_all() -> None:
    names: dict[str, Any] = {}
    exec("f = lambda x: x * 2", names)
    with pytest.raises(SyntaxNotSupported, match="its source cannot be read: expected a function in a file"):
        loom.gpu_map([1.0], names["f"])
