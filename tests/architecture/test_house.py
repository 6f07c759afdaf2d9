"""The house keeps its shape: folders can be read at a glance, circles stay small, one layer asks how lanes are run.

The figures are those of ``tools/house``, which ``tools/graph.py`` prints with their members.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.house.circles import arrows_up, file_circles, read_layers
from tools.house.facts import CALLING, LOADING, TYPING
from tools.house.names import count_folders, participles, reads_of, shared_classes
from tools.house.sources import ROOT, read_sources

MOST_FILES = 20
MOST_CIRCLES, LARGEST_CIRCLE = 5, 4
MOST_READS = 11
ONE_A_TARGET = {
    "Arithmetic", "Features", "Function", "Identity", "Loop", "Lowered", "MemoryAccess", "Messages",
}  # fmt: skip
"""Classes that each target has, for one and the same part of a kernel; targets are strangers to each other."""

MAY_ASK = "src/loom/schedules/"
"""Who may read ``caps.threads``."""


@pytest.mark.parametrize("top", ["src/loom", "tests", "conformance", "examples", "tools"])
def test_a_folder_can_be_read_at_a_glance(top: str) -> None:
    full = [f"{folder}: {count}" for count, folder in count_folders(ROOT, top) if count > MOST_FILES]
    assert not full, f"more than {MOST_FILES} files: make families of them"


def test_circles_of_files_are_few_and_small() -> None:
    circles = file_circles(read_sources(ROOT), TYPING)
    assert not file_circles(read_sources(ROOT), CALLING)
    assert len(circles) <= MOST_CIRCLES, circles
    assert max(map(len, circles)) <= LARGEST_CIRCLE, circles[0]


def test_no_import_points_upward() -> None:
    assert not arrows_up(read_sources(ROOT), read_layers(ROOT))


def test_a_module_names_the_layer_it_stands_in() -> None:
    """Commands, doors of packages and the version say it by where they are."""
    wrong = []
    for source in read_sources(ROOT).values():
        layer, said = source.name.split(".")[1], source.facts.layer
        if (said or (layer != "cli" and source.path.name[0] != "_")) and source.path.name != "version.py":
            wrong += [str(source.path)] * (said != layer)
    assert not wrong


def test_few_places_ask_how_lanes_are_run() -> None:
    reads = reads_of(read_sources(ROOT), "threads")
    assert not [place for place in reads if not place.startswith(MAY_ASK)], "record through a schedule"
    assert 0 < len(reads) <= MOST_READS, reads


def test_a_class_name_has_one_meaning() -> None:
    shared = shared_classes(read_sources(ROOT))
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
    sources = read_sources(tmp_path)
    one, two = "loom.above.one", "loom.above.two"
    assert file_circles(sources, LOADING) == []
    assert file_circles(sources, CALLING) == [[one, two]]
    assert arrows_up(sources, read_layers(tmp_path)) == [
        ("loom.below.three", one),
        ("loom.beside.four", two),
    ]
    assert reads_of(sources, "threads") == ["src/loom/above/two.py:3"]
    assert list(shared_classes(sources)) == ["Same"]
    assert participles(sources) == [("src/loom/beside/four.py", 3, "made")]
    assert count_folders(tmp_path)[0] == (2, "src/loom/above")
