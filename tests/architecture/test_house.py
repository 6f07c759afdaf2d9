"""The house keeps its shape: folders can be read at a glance, circles stay small, one layer asks how lanes are run.

The figures are those of ``tools/graph.py``, which prints them with their members.
"""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

MOST_FILES = 20
MOST_CIRCLES, LARGEST_CIRCLE = 5, 4
MOST_READS = 11
ONE_A_TARGET = {
    "Arithmetic", "Features", "Function", "Identity", "Loop", "Lowered", "MemoryAccess", "Messages",
}  # fmt: skip
"""Classes that each target has, for one and the same part of a kernel; targets are strangers to each other."""

MAY_ASK = "src/loom/schedules/"
"""Who may read ``caps.threads``."""


@cache
def _graph() -> Any:
    """Return ``tools/graph.py`` as a module."""
    spec = spec_from_file_location("house_graph", ROOT / "tools/graph.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["house_graph"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def _sources() -> Any:
    return _graph().sources_of(ROOT)


@pytest.mark.parametrize("top", ["src/loom", "tests", "conformance", "examples", "tools"])
def test_a_folder_can_be_read_at_a_glance(top: str) -> None:
    full = [f"{folder}: {count}" for count, folder in _graph().count_folders(ROOT, top) if count > MOST_FILES]
    assert not full, f"more than {MOST_FILES} files: make families of them"


def test_circles_of_files_are_few_and_small() -> None:
    circles = _graph().find_circles(_sources(), _graph().When.TYPING)
    assert not _graph().find_circles(_sources(), _graph().When.CALLING)
    assert len(circles) <= MOST_CIRCLES, circles
    assert max(map(len, circles)) <= LARGEST_CIRCLE, circles[0]


def test_no_import_points_upward() -> None:
    assert not _graph().arrows_up(_sources(), _graph().read_layers(ROOT))


def test_a_module_names_the_layer_it_stands_in() -> None:
    """Commands, doors of packages and the version say it by where they are."""
    wrong = []
    for source in _sources().values():
        layer = source.name.split(".")[1]
        said = re.search(r"Layer: (\w+)", ast.get_docstring(source.tree) or "")
        if (said or (layer != "cli" and source.path.name[0] != "_")) and source.path.name != "version.py":
            wrong += [str(source.path)] * (said is None or said[1] != layer)
    assert not wrong


def test_few_places_ask_how_lanes_are_run() -> None:
    reads = _graph().reads_of(_sources(), "threads")
    assert not [place for place in reads if not place.startswith(MAY_ASK)], "record through a schedule"
    assert 0 < len(reads) <= MOST_READS, reads


def test_a_class_name_has_one_meaning() -> None:
    shared = _graph().shared_classes(_sources())
    for name in ONE_A_TARGET:
        places = shared.pop(name)
        assert all(place.startswith("src/loom/targets/") for place in places), name
    assert not shared, "one of them means something else: call it so"


def test_a_circle_and_an_arrow_up_are_found(tmp_path: Path) -> None:
    """The figures are worth something: a checkout with one fault of each kind shows them."""
    (tmp_path / "pyproject.toml").write_text('layers = [\n  "above | beside",\n  "below",\n]\n')
    for name, text in {
        "above.one": "from loom.above import two\n",
        "above.two": "def f(caps):\n    from loom.above.one import two\n    return caps.threads\n",
        "below.three": "from loom.above.one import two\nclass Same: ...\n",
        "beside.four": "from loom.above import two\nclass Same: ...\ndef made(): ...\n",
    }.items():
        path = tmp_path / "src/loom" / (name.replace(".", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    graph = _graph()
    sources = graph.sources_of(tmp_path)
    one, two = "loom.above.one", "loom.above.two"
    assert graph.find_circles(sources, graph.When.LOADING) == []
    assert graph.find_circles(sources, graph.When.CALLING) == [[one, two]]
    assert graph.arrows_up(sources, graph.read_layers(tmp_path)) == [
        ("loom.below.three", one),
        ("loom.beside.four", two),
    ]
    assert graph.reads_of(sources, "threads") == ["src/loom/above/two.py:3"]
    assert list(graph.shared_classes(sources)) == ["Same"]
    assert graph.participles(sources) == {"src/loom/beside": ["four.py:3 made"]}
    assert graph.count_folders(tmp_path)[0] == (2, "src/loom/above")
