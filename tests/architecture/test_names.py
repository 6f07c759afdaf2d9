"""Public names: what ``loom`` exports exists, is documented, and is the same for type checkers."""

from __future__ import annotations

import inspect
import runpy
from pathlib import Path

import pytest

import loom
from tools.house.sources import ROOT, read_sources

SOURCE = Path(loom.__file__)
DOOR = ROOT / "tools" / "door.py"


def test_every_name_can_be_loaded() -> None:
    assert len(set(loom.__all__)) == len(loom.__all__)
    for name in loom.__all__:
        assert getattr(loom, name) is not None
    assert sorted(loom.__all__) == dir(loom)


def test_type_checkers_see_the_same_names() -> None:
    door = runpy.run_path(str(DOOR))
    assert SOURCE.with_suffix(".pyi").read_text() == door["stub"](), "run python tools/door.py"
    written = SOURCE.with_name("tensor") / "__init__.pyi"
    assert written.read_text() == door["tensor_stub"](), "run python tools/door.py"


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
    with pytest.raises(AttributeError, match=r"no attribute '_gpu_sum'$"):  # tools look for private names in a hurry
        loom._gpu_sum  # noqa: B018


def test_modules_export_what_they_define() -> None:
    seen = 0
    for source in read_sources(ROOT).values():
        listed = source.facts.exported
        seen += len(listed)
        if "*" not in source.facts.bound:  # what stars bind is compared in tests/unit/flow
            assert set(listed) <= set(source.facts.bound), source.path
        assert len(listed) == len(set(listed)), source.path
    assert seen > 3_000
