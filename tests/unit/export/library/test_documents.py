"""Damaged documents are refused as Python refuses them: by the same place and the same words."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import numpy as np
import pytest

from loom.core.errors import SpecError
from loom.nn.spec import parse
from tests.unit.export.library.drawn import draw
from tests.unit.export.library.native import Heap, NativeError, NativeNet

GOOD = {
    "format": "loom/1", "seed": 3, "input": {"shape": [4]}, "classes": ["a", "b", "c"], "metadata": {"by": 1},
    "layers": [{"type": "dense", "output_size": 5, "activation": "tanh"}, {"type": "layer_norm", "epsilon": 0.1},
               {"type": "dense", "output_size": 3}],
}  # fmt: skip
STRANGE: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    2.5,
    1e3,
    10**12,
    10**30,
    1e300,
    "",
    "relu",
    "x" * 70,
    "é'\n",
    [],
    [1],
    {},
    {"a": 1},
]
KEYS = [
    "type",
    "output_size",
    "activation",
    "bias",
    "epsilon",
    "seed",
    "format",
    "colour",
    "a b",
    "name",
    "frozen",
    "norm_size",
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        found += [p for key, each in value.items() for p in _places(each, (*path, key))]
    elif isinstance(value, list):
        found += [p for i, each in enumerate(value) for p in _places(each, (*path, i))]
    return found


def damage(seed: int) -> Any:
    """Return a document with a drawn fault or two, or none by chance."""
    rng = np.random.default_rng(seed)
    document: Any = copy.deepcopy(GOOD) if rng.random() < 0.5 else draw(seed).document
    for _ in range(int(rng.integers(1, 3))):
        places = [p for p in _places(document) if p]
        *above, last = places[int(rng.integers(len(places)))]
        holder = document
        for step in above:
            holder = holder[step]
        strange = copy.deepcopy(STRANGE[int(rng.integers(len(STRANGE)))])
        what = int(rng.integers(4))
        if what == 0:
            del holder[last]
        elif what == 1 and isinstance(holder, dict):
            holder[str(rng.choice(KEYS))] = strange
        else:
            holder[last] = strange
    return document


def _problem(text: bytes) -> Any:
    """Return the first problem that Python tells, None for a sound document."""
    try:
        parse(text)
    except SpecError as error:
        return error.problems[0]
    return None


def _refusal(text: bytes) -> NativeError | None:
    heap = Heap()
    try:
        NativeNet(text, heap).free()
    except NativeError as error:
        return error
    finally:
        assert heap.held == 0
    return None


def compare(document: Any) -> str:
    """Compare what both say of a document; return the code."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    problem, refusal = _problem(text), _refusal(text)
    if refusal is None:
        assert problem is None, problem
        return "OK"
    assert refusal.code in ("DOCUMENT", "ABSENT"), refusal
    if refusal.code == "DOCUMENT":
        assert problem is not None, refusal
        assert refusal.path == problem.path, problem
        _same_words(refusal.text, problem)
    return refusal.code


def _same_words(text: str, problem: Any) -> None:
    what = re.sub(r" at line .*", "", problem.what)
    told = text.removeprefix(problem.path + ": ")
    assert told.startswith(what), (text, problem)
    if problem.what == "unusable value":
        assert told == f"{problem.what}: expected {problem.expected}, got {problem.got}"


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_document_is_refused_as_by_python(seed: int) -> None:
    compare(damage(seed))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 5000, 100))
def test_many_damaged_documents_are_refused_as_by_python(first: int) -> None:
    codes = [compare(damage(seed)) for seed in range(first, first + 100)]
    assert codes.count("DOCUMENT") > 20


BY_HAND: dict[str, Any] = {
    "no JSON": b"{",
    "a key twice": b'{"format": "loom/1", "seed": 1, "seed": 1}',
    "an infinity": b'{"format": "loom/1", "seed": 1e999}',
    "a list": b"[]",
    "both inputs": GOOD | {"inputs": {}},
    "a null size": GOOD | {"input": {"shape": [None]}},
    "no layers": GOOD | {"layers": []},
    "two of a name": GOOD | {"layers": [{"type": "dense", "output_size": 3, "name": "a"}] * 2},
    "called as the input": GOOD | {"layers": [{"type": "dense", "output_size": 3, "name": "input"}]},
    "no axis": GOOD | {"input": {"shape": []}},
    "another size": GOOD | {"layers": [{"type": "dense", "output_size": 3, "input_size": 5}]},
    "too large": GOOD | {"layers": [{"type": "dense", "output_size": 2**31 - 1}] * 2},
    "classes twice": GOOD | {"classes": ["a", "a", "b"]},
    "too few classes": GOOD | {"classes": ["a"]},
    "noise alone": GOOD | {"layers": [{"type": "softmax", "noise": False}], "classes": []},
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_fault_is_told_as_by_python(name: str) -> None:
    assert compare(BY_HAND[name]) == "DOCUMENT"


ABSENT: dict[str, tuple[Any, str]] = {
    "a kind": (GOOD | {"layers": [{"type": "reshape", "shape": [2, 2]}], "classes": []}, "$.layers[0].type"),
    "an option": (GOOD | {"layers": [{"type": "dense", "output_size": 3, "lora": {"rank": 1}}]}, "$.layers[0].lora"),
    "a variant": (GOOD | {"layers": [{"type": "softmax", "variant": "sparse"}], "classes": []}, "$.layers[0]"),
    "a type": (GOOD | {"dtype": "f16"}, "$.dtype"),
    "a precision": (GOOD | {"precision": "q8"}, "$.precision"),
    "a graph": ({k: v for k, v in GOOD.items() if k != "layers"}
                | {"nodes": {"a": {"type": "dense", "output_size": 3, "inputs": ["input"]}}}, "$.nodes"),
}  # fmt: skip


@pytest.mark.parametrize("name", ABSENT)
def test_what_the_library_has_not_is_refused_by_name(name: str) -> None:
    document, path = ABSENT[name]
    parse(document)
    with pytest.raises(NativeError) as caught:
        NativeNet(document)
    assert (caught.value.code, caught.value.path) == ("ABSENT", path)
    assert "the library has" in caught.value.text
