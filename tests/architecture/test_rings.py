"""The rings: what changed is run whole, what stands on it by one case, what is slow by ``make prove`` alone."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import rings
from rings import Changes, Ring, arrows, package_of, standing_on
from tools.house.sources import read_sources

ROOT = Path(__file__).parents[2]
BELOW = {"core": set(), "ir": {"core"}, "tensor": {"ir"}, "nn": {"tensor"}, "serve": {"nn"}, "tables": {"core"}}


def changes(*files: str) -> Changes:
    return Changes(list(files), "HEAD", BELOW)


def test_arrows_are_those_of_the_house() -> None:
    """The lines that a regular expression reads quickly say what the trees say."""
    expected: dict[str, set[str]] = {name: set() for name in arrows()}
    for source in read_sources(ROOT).values():
        package = source.name.split(".")[1]
        for target in source.imports:
            expected.get(package, set()).add(target.split(".")[1])
    found = arrows()
    assert len(found) > 20
    for package, below in expected.items():
        assert (below & set(found)) - {package} == found[package], package


def test_what_stands_on_a_package_is_found_through_others() -> None:
    assert standing_on(["ir"], BELOW) == {"tensor": "ir", "nn": "tensor", "serve": "nn"}
    assert standing_on(["serve"], BELOW) == {}


def test_every_folder_of_tests_is_of_a_package_or_of_all() -> None:
    folders = {p.parent.relative_to(ROOT).as_posix() for p in (ROOT / "tests").rglob("test_*.py")}
    owners = {package_of(f"{folder}/test_x.py") for folder in folders}
    assert owners - {""} <= set(arrows())
    assert owners >= set(arrows())


def test_a_changed_package_is_run_whole_and_what_stands_on_it_in_part() -> None:
    made = changes("src/loom/tensor/record/graph.py", "tests/unit/tables/test_rows.py")
    assert made.takes_whole("tests/unit/tensor/test_graph.py")
    assert made.takes_whole("tests/unit/tables/test_rows.py")
    assert made.takes_whole("tests/architecture/test_layers.py")
    for path in ("unit/nn/test_keys.py", "unit/serve/test_api.py", "journeys/test_demo.py"):
        assert (made.takes_some(f"tests/{path}"), made.takes_whole(f"tests/{path}")) == (True, False), path
    for path in ("unit/ir/test_text.py", "unit/tables/test_other.py", "conformance/test_cases.py"):
        assert (made.takes_some(f"tests/{path}"), made.takes_whole(f"tests/{path}")) == (False, False), path
    assert made.lines() == [
        "fast ring: 2 files changed since HEAD",
        "  all of tensor: src/loom/tensor/record/graph.py",
        "  all of tests/unit/tables/test_rows.py, which changed",
        "  one case a file and device of nn: stand on tensor",
        "  one case a file and device of serve: stand on nn",
        "  tests/architecture; of other tests of no package one case a file, and all of changed pages",
    ]


def test_the_door_concerns_all_and_so_does_what_tests_share() -> None:
    assert set(changes("src/loom/__init__.py").above) == set(BELOW)
    assert changes("tests/conftest.py").takes_some("tests/unit/ir/test_text.py")
    assert changes("conformance/running.py").takes_some("tests/unit/ir/test_text.py")
    assert not changes().takes_some("tests/unit/ir/test_text.py")
    assert changes().lines()[0].startswith("fast ring: nothing changed")


def test_a_commit_that_is_not_there_is_an_error() -> None:
    for name in ("no-such-commit", "tests"):  # a path is no commit
        with pytest.raises(
            pytest.UsageError, match=rf"a commit of this clone, got {name}\. Name one \(make fast SINCE="
        ):
            Changes.since(name)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A repository with a file and a branch ``work``, in place of Loom's; calling it runs git there."""
    monkeypatch.setattr(rings, "ROOT", tmp_path)

    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=tmp_path, check=True)

    (tmp_path / "src/loom/core").mkdir(parents=True)
    (tmp_path / "src/loom/core/x.py").write_text("x = 1\n" * 20)
    for words in (["init", "-qb", "main"], ["add", "."], ["commit", "-qm", "all"], ["checkout", "-qb", "work"]):
        git(*words)
    return git


def test_a_file_that_moved_changed_both_places(clone: Callable[..., None]) -> None:
    (rings.ROOT / "src/loom/ir").mkdir()
    clone("mv", "src/loom/core/x.py", "src/loom/ir/x.py")
    assert set(Changes.since(None).packages) == {"core", "ir"}


def test_names_are_read_as_they_are(clone: Callable[..., None]) -> None:
    for name in ("src/loom/core/a b.py", "src/loom/core/ä.py"):
        (rings.ROOT / name).write_text("")
        clone("add", name)
    (rings.ROOT / "src/loom/core/new one.ll").write_text("")
    assert Changes.since(None).files == [f"src/loom/core/{name}" for name in ("a b.py", "ä.py", "new one.ll")]


def test_without_main_what_is_committed_is_not_taken_for_unchanged(clone: Callable[..., None]) -> None:
    (rings.ROOT / "src/loom/core/x.py").write_text("x = 2\n")
    clone("commit", "-qam", "two")
    clone("checkout", "-q", "--detach")
    assert Changes.since(None).files == ["src/loom/core/x.py"]
    clone("branch", "-qD", "main")
    with pytest.raises(pytest.UsageError, match="a branch main or origin/main that HEAD shares a commit with"):
        Changes.since(None)
    assert Changes.since("HEAD~1").files == ["src/loom/core/x.py"]


@pytest.mark.parametrize(
    ("file", "reader"),
    [
        ("tests/functions/references.py", "tests/functions/test_ulps.py"),
        ("tests/functions/references.py", "tests/unit/kernels/functions/test_f64.py"),  # by way of ulps.py
        ("tests/unit/pytorch/random_modules.py", "tests/unit/pytorch/test_random_modules.py"),
        ("tests/unit/patterns/conftest.py", "tests/unit/patterns/folds/test_axis.py"),
        ("tests/bindings/no such.txt", "tests/bindings/test_packages.py"),
        ("tools/golden.py", "tests/unit/proof/test_golden_tool.py"),
        ("bench/timing/clock.py", "tests/unit/bench/test_harness.py"),
        ("changes/30.added.x.md", "tests/architecture/test_changes.py"),
    ],
)
def test_what_reads_a_changed_file_is_run_whole(file: str, reader: str) -> None:
    assert (ROOT / reader).exists()
    assert changes(file).takes_whole(reader)
    assert not changes(file).takes_whole("tests/unit/core/test_errors.py")


def test_all_cases_of_a_changed_page_are_run() -> None:
    ring = Ring("test", None)
    ring.name, ring.changes = "fast", changes("docs/guide/models/onnx.md", "examples/kmeans.py")
    documents = [f"tests/journeys/test_documents.py::test_python_block[{n}]" for n in ("onnx.md:6", "models/onnx.md:6")]
    cases = [*documents, "tests/journeys/test_examples.py::test_example_runs_on_threads[vulkan-kmeans]"]
    others = [f"tests/journeys/test_documents.py::test_python_block[tensors.md:{n}]" for n in range(40)]
    assert not [n for n in cases if ring.leaves_case(n, None, slow=False, is_one_of_several=True)]
    assert len([n for n in others if ring.leaves_case(n, None, slow=False, is_one_of_several=True)]) > 10
    chosen = [item.nodeid for item in ring.section([Item(n) for n in [*cases, *others]])]  # type: ignore[arg-type]
    assert set(cases) <= set(chosen)
    assert len(chosen) <= len(cases) + 1
    assert changes("pyproject.toml").takes_some("tests/unit/ir/test_text.py")


@pytest.mark.parametrize("target", ["fast", "test", "prove"])
def test_the_head_of_the_report_is_printed(target: str) -> None:
    """pytest's ``-q`` leaves it out, with what is chosen and why, and what is left out."""
    said = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    commands = [line for line in said.splitlines() if "pytest" in line]
    assert commands
    assert not [line for line in commands if " -q" in line]


class Item:
    """As much of an item as a ring looks at."""

    def __init__(self, nodeid: str, on: str | None = None) -> None:
        self.nodeid = nodeid
        if on:
            self.callspec = type("Callspec", (), {"params": {"on": on}})


def test_a_section_has_one_case_a_file_and_device() -> None:
    items = [
        Item(f"tests/unit/{file}.py::test_{n}[{on}]", on)
        for file in ("a/test_x", "b/test_y") for n in range(5) for on in ("cpu", "vulkan")
    ]  # fmt: skip
    items += [Item(f"tests/architecture/test_z.py::test_{n}") for n in range(3)]
    items += [Item(f"tests/architecture/test_gates.py::test_{n}") for n in range(3)]
    chosen = Ring("section", None).section(items)  # type: ignore[arg-type]
    counts = Counter((i.nodeid.partition("::")[0], rings.kind_of(i)) for i in chosen)
    assert counts == {
        **{(f"tests/unit/{file}.py", on): 1 for file in ("a/test_x", "b/test_y") for on in ("cpu", "vulkan")},
        ("tests/architecture/test_z.py", None): 3,
        ("tests/architecture/test_gates.py", None): 1,
    }
    assert Ring("test", None).section(items) == items  # type: ignore[arg-type]


def test_of_a_changed_package_other_devices_run_one_case_a_file() -> None:
    files = ("tests/unit/tensor/test_old.py", "tests/unit/tensor/test_new.py")
    items = [Item(f"{file}::test_it[{on}-{n}]", on) for file in files for n in range(4) for on in ("cpu", "vulkan")]
    ring = Ring("test", None)
    ring.name, ring.changes = "fast", changes("src/loom/tensor/record/graph.py", files[1])
    counts = Counter((i.nodeid.partition("::")[0], rings.kind_of(i)) for i in ring.section(items))  # type: ignore[arg-type]
    assert [counts[file, on] for file in files for on in ("cpu", "vulkan")] == [4, 1, 4, 4]


def test_a_case_of_many_seconds_is_not_the_one_of_its_file() -> None:
    place = "tests/unit/proof/test_verify.py::test_"
    items = [Item(f"{place}{name}") for name in ("every_layer[1]", "networks", "quick")]
    assert [i.nodeid for i in Ring("section", None).section(items)] == [f"{place}quick"]  # type: ignore[arg-type]


def test_slow_cases_are_left_to_prove() -> None:
    case = "tests/unit/nn/test_new.py::test_all[3]"
    assert Ring("test", None).leaves_case(case, None, slow=True, is_one_of_several=True)
    assert not Ring("prove", None).leaves_case(case, None, slow=True, is_one_of_several=True)
    shares = [
        not Ring("test", None).leaves_case(case.replace("3", str(n)), None, slow=False, is_one_of_several=True)
        for n in range(300)
    ]
    assert 70 < sum(shares) < 130
    assert not Ring("test", None).leaves_case(case, None, slow=False, is_one_of_several=False)


def test_a_test_all_of_whose_cases_are_left_out_is_not_run(tmp_path: Path) -> None:
    """Of no parameters at all pytest would make one case without any."""
    folder = tmp_path / "tests"
    folder.mkdir()
    for name in ("conftest.py", "deferred.py", "parts.py", "rings.py"):
        (folder / name).write_text((ROOT / "tests" / name).read_text())
    (tmp_path / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\npythonpath = ["tests"]\nmarkers = ["slow", "needs"]\n'
    )
    (folder / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.slow\n@pytest.mark.parametrize('n', [1, 2])\ndef test_slow(n): ...\n"
        "@pytest.mark.parametrize('n', [1, pytest.param(2, marks=pytest.mark.slow)])\ndef test_some(n): ...\n"
        "@pytest.mark.slow\ndef test_plain(): ...\n"
        "def test_on(on): ...\n"
    )
    found = {}
    for ring in ("test", "prove"):
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--ring", ring, "-p", "no:cacheprovider"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        found[ring] = [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]
    assert found["test"] == [
        n for n in found["prove"] if n.startswith(("test_some[1]", "test_on")) and "webgpu" not in n
    ]
    assert {"test_slow[1]", "test_slow[2]", "test_some[2]", "test_plain", "test_on[webgpu]"} <= set(found["prove"])
    assert {"test_some[1]", "test_on[cpu]"} <= set(found["test"])
