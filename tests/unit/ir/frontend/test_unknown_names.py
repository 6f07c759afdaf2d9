"""A name a kernel does not know: the error offers what makes sense there, and nothing else."""

from __future__ import annotations

import math
import sys

import pytest

import loom
from loom import Out, u32
from loom.core.errors import KernelTypeError

SCALE = 3
WORDS = {"not": "usable"}
_HIDDEN = 4


class Unusable:
    pass


def twice(x):
    return x + x


def message(fn) -> str:
    """The error's text after the place."""
    with pytest.raises(KernelTypeError) as caught:
        _ = loom.kernel(fn).verified
    place = f"[kernel '{fn.__name__}' at {__file__}:{fn.__code__.co_firstlineno + 1}] "
    text = str(caught.value)
    assert text.startswith(place)
    return text.removeprefix(place)


def test_a_parameter_misspelt() -> None:
    def k(out: Out[u32], limit: u32):
        out[0] = limti  # noqa: F821

    assert message(k) == "name 'limti' is not defined. Did you mean 'limit'?"


def test_a_local_misspelt() -> None:
    def k(out: Out[u32]):
        total = u32(1)
        out[0] = total + totl  # noqa: F821

    with pytest.raises(KernelTypeError, match=r"name 'totl' is not defined\. Did you mean 'total'"):
        _ = loom.kernel(k).verified


def test_outer_constants_helpers_and_modules_misspelt() -> None:
    def constant(out: Out[u32]):
        out[0] = SCALLE  # noqa: F821

    def helper(out: Out[u32]):
        out[0] = twic(1)  # noqa: F821

    def module(out: Out[u32]):
        out[0] = lom.u32(1)  # noqa: F821

    assert message(constant) == "name 'SCALLE' is not defined. Did you mean 'SCALE'?"
    assert message(helper) == "name 'twic' is not defined. Did you mean 'twice'?"
    assert message(module) == "name 'lom' is not defined. Did you mean 'loom'?"


def test_a_builtin_that_kernels_have() -> None:
    def k(out: Out[u32]):
        out[0] = mn(1, 2)  # noqa: F821

    assert message(k) == "name 'mn' is not defined. Did you mean 'min'?"


@pytest.mark.parametrize("name", ["global_id", "barrier", "f32", "sqrt", "atomic_add", "static_range"])
def test_a_name_of_loom_that_is_not_imported(name: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "unimported.py"
    source.write_text(f"from loom import Out, kernel, u32\n@kernel\ndef k(out: Out[u32]):\n    out[0] = {name}(1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "unimported", raising=False)
    import unimported

    monkeypatch.delitem(sys.modules, "unimported")
    with pytest.raises(KernelTypeError) as caught:
        _ = unimported.k.verified
    assert str(caught.value) == (
        f"[kernel 'k' at {source}:4] name '{name}' is not defined. Write loom.{name}, or import it from loom."
    )


def test_only_names_of_use_are_offered() -> None:
    def k(out: Out[u32], size: u32):
        out[0] = zzzzzzzz  # noqa: F821

    offered = message(k).partition("names: ")[2].partition(" (of")[0].rstrip(".").split(", ")
    assert 5 < len(offered) <= 12
    from loom.ir.frontend.names import _is_useful

    known = {"out", "size", "SCALE", "twice", "loom", "math", "u32", "min", "max", "len", "range", "abs", "print"}
    assert known & set(offered)
    refused = ("WORDS", "_HIDDEN", "Unusable", "pytest_plugins", "ArithmeticError", "copyright", "open", "__name__")
    assert not set(refused) & set(offered)
    assert [_is_useful(v) for v in (1, True, 2.5, (1, 2), math, twice, u32, min)] == [True] * 8
    assert [_is_useful(v) for v in (WORDS, Unusable, "text", open, ValueError, None, [1])] == [False] * 7
