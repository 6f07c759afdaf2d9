"""Which cases a run takes: the rings of ``make fast``, ``make test`` and ``make prove``.

``prove`` takes everything, ``test`` what is not slow: no test marked so, and of families of many dear cases a share,
drawn by a hash of the case's name, so that no choice follows the order of others. ``fast`` takes, of ``test``, all of
the packages that changed (on other devices than the processor one case a file), and one case a file and device of what
stands on them; ``section`` one of everything.
Invariant: a case that a ring leaves out is not made, since pytest takes as long to make a case as to run a short one.
"""

from __future__ import annotations

import os
import re
import subprocess
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

_ELSEWHERE = tuple(f"tests/unit/{folder}/" for folder in (
    "tensor/complexes", "tensor/linalg", "tensor/selecting", "tensor/special", "tensor/neural", "tensor/standard",
    "tensor/handle", "patterns", "nn", "kernels", "vectors", "tables", "schedules", "models",
))  # fmt: skip
"""Of their runs on other devices than the processor one of sixteen is always made."""
_SIXTH = tuple(f"tests/{file}.py" for file in (
    "conformance/test_amdgpu", "conformance/test_ptx", "conformance/test_random", "unit/kernels/test_fold",
    "unit/kernels/test_matmul", "unit/nn/integer/test_extremes", "unit/nn/integer/test_network",
    "unit/nn/layers/test_behaviour", "unit/nn/step/test_strangers", "unit/nn/tween/test_layers",
    "unit/nn/layers/test_entmax", "unit/nn/layers/test_references",
    "unit/nn/test_keys_have_effect", "unit/patterns/folds/test_axis", "unit/patterns/folds/test_reduce",
    "unit/patterns/linalg/test_matmul", "unit/patterns/scans/test_scan", "unit/targets/spirv/test_modules",
    "unit/tensor/complexes/test_functions", "unit/tensor/linalg/test_linalg_values", "unit/tensor/linalg/test_unitary",
    "unit/tensor/special/test_special",
))  # fmt: skip
"""Of their cases one of six is always run."""
_THIRD = tuple(f"tests/{place}" for place in (
    "conformance/test_cross.py::test_bits[", "functions/", "journeys/test_documents.py",
    "journeys/test_examples.py::test_example_runs[", "unit/kernels/", "unit/models/", "unit/nn/", "unit/patterns/",
    "unit/runtime/drivers/vulkan/", "unit/schedules/", "unit/tensor/complexes/", "unit/tensor/convolving/",
    "unit/tensor/handle/test_gradient_paths.py", "unit/tensor/neural/", "unit/tensor/selecting/",
    "unit/tensor/standard/", "unit/tensor/test_gradients.py", "unit/tensor/test_operations.py",
    "unit/tensor/test_shared_kernels.py", "unit/vectors/",
))  # fmt: skip
"""Of their cases one of three is always run."""
_HALF = tuple(f"tests/{place}" for place in (
    *(f"conformance/test_cases.py::test_bits[{theme}/" for theme in ("atomics", "library", "literals", "threads")),
    "journeys/test_docstrings.py::test_examples_of_docstrings", "unit/export/",
))  # fmt: skip
"""Of their cases one of two is always run."""
_LONG = tuple(f"tests/{place}" for place in (
    "journeys/test_demo.py::test_digits_of_whole_numbers_after_one_epoch[interp",
    "journeys/test_demo.py::test_digits_of_whole_numbers_after_one_epoch[vulkan",
    "unit/export/test_c.py::test_all_machines_end_in_the_same_digest",
    "unit/proof/test_verify.py::test_every_layer_is_the_golden_one[vulkan-3",
))  # fmt: skip
"""Cases of many seconds beside which the same, or a part of it, is always computed elsewhere."""
_SHARES = {_SIXTH: 6, _THIRD: 3, _HALF: 2}

_QUICK = ("tests/doors/", *(f"tests/unit/{folder}/" for folder in (
    "cluster", "flow", "kernels", "models", "nn", "onnx", "patterns", "pytorch", "schedules", "serve", "support",
    "tables", "tensor", "vectors", "workers",
)))  # fmt: skip
"""Tests of what kernels compute: LLVM took more than a third of their time to make code fast that runs once.

``make prove`` runs them with optimised code. Conformance, which has all of these kernels, drivers, proofs of single
operations and functions, journeys and exports always are.
"""
_OWNERS = {
    "bindings": "export", "bench": "cli", "conformance": "runtime", "doors": "patterns", "emulation": "runtime",
    "functions": "kernels", "web": "export",
}  # fmt: skip
"""The package whose change concerns a folder that has no package's name; folders beside these stand on all."""
_ALWAYS = "tests/architecture/"
_OF_TESTS = tuple(f"{_ALWAYS}test_{name}.py" for name in (
    "changes", "collection", "environments", "gates", "hooks", "mutants", "other_devices", "parts", "rings", "sweep",
))  # fmt: skip
"""Of these, what looks at tests, tools and fragments: whole where those changed."""
_ABOUT_TESTS = ("tests/", "tools/", "changes/", "docs/guide/environments.md", "CHANGELOG", ".", "Makefile", "pyproject")
_DEAR = tuple(f"tests/{place}" for place in (
    "architecture/test_collection.py", "architecture/test_other_devices.py::test_it_passes",
    "architecture/test_parts.py", "conformance/test_ptx.py::test_exact_instructions_only[library]",
    "conformance/test_verify_elsewhere.py", "hostile/test_hostile.py::test_wrong_arguments",
    "journeys/test_examples.py::test_example_runs[numeric_types]",
    "journeys/test_reference.py::test_every_public_name", "unit/onnx/test_resnet.py",
    "unit/proof/test_verify.py::test_every_layer", "unit/proof/test_verify.py::test_networks",
    "unit/proof/test_verify.py::test_operations_and_functions_are_the_same",
    "unit/proof/test_verify.py::test_some_patterns_have_the_schedules_of_gpus",
    "unit/runtime/drivers/vulkan/test_swiftshader.py", "unit/tensor/fusing/test_copies.py::test_a_gpu_copies",
))  # fmt: skip
"""Cases of five seconds or more, which are never the one of their file and device."""
_SHARED = re.compile(r"tests/[^/]*\.py|conformance/|pyproject\.toml")
"""Whose change concerns all tests."""
_TEST = re.compile(r"tests/.*/test_[^/]*\.py")
_DOOR = "loom"


def number_of(case: str) -> int:
    """Return the hash that draws a case."""
    return zlib.crc32(case.encode())


def is_slow(case: str, kind: str | None, *, is_one_of_several: bool) -> bool:
    """Tell whether a case is left to ``make prove`` though no mark says so.

    :param case: the case's node id
    :param kind: the device it runs on, None if it takes none
    :param is_one_of_several: the test has parameters
    """
    if case.startswith(_LONG):
        return True
    if case.startswith(_ELSEWHERE) and kind not in (None, "cpu") and number_of(case) % 16:
        return True
    share = next((n for places, n in _SHARES.items() if case.startswith(places)), 1)
    return is_one_of_several and bool(number_of(case) % share)


def package_of(case: str) -> str:
    """Return the package of ``src/loom`` that a test, by its path below ``tests``, is a test of; "" for all."""
    folders = case.split("/")
    folder = folders[2] if folders[1] == "unit" else folders[1]
    if folder in _OWNERS:
        return _OWNERS[folder]
    return folder if folders[1] == "unit" else ""


def arrows(root: Path = ROOT) -> dict[str, set[str]]:
    """Return the packages of ``src/loom`` that each package imports, read from the lines of its files."""
    named = re.compile(r"^\s*(?:from|import)\s+loom\.(\w+)", re.MULTILINE)
    through_door = re.compile(r"^\s*from\s+loom\s+import\s+(?:\(([^)]*)\)|(.*))", re.MULTILINE)
    places: dict[str, str] = __import__("loom")._WHERE
    base, below = root / "src/loom", {}
    for folder in (path for path in base.iterdir() if path.is_dir() and path.name[0] != "_"):
        names = set()
        for path in folder.rglob("*.py"):
            text = path.read_text()
            names.update(named.findall(text))
            for inside, beside in through_door.findall(text):
                for name in re.findall(r"\w+", re.sub(r"\bas \w+|#.*", "", inside or beside)):
                    names.add((f"{places.get(name, _DOOR)}.{name}").split(".")[1])
        below[folder.name] = {name for name in names if (base / name).is_dir()} - {folder.name}
    return below


def standing_on(changed: Iterable[str], below: dict[str, set[str]]) -> dict[str, str]:
    """Return the packages that stand on changed ones, each with the package it imports by which it does."""
    why: dict[str, str] = {}
    new = sorted(changed)
    reached = set(new)
    while new:
        under = new.pop(0)
        for name in sorted(below):
            if under in below[name] and name not in reached:
                why[name] = under
                reached.add(name)
                new.append(name)
    return why


def _git(*words: str) -> list[str]:
    """Return what git lists, each ended by a zero byte, or in a line where it is one word."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise pytest.UsageError(f"git {' '.join(words)}: {os.fsdecode(done.stderr).strip()}")
    return [name for name in os.fsdecode(done.stdout).rstrip("\n").split("\0") if name]


def base_of(since: str | None) -> str:
    """Return the commit that changes are told from: where this branch left ``main``, on ``main`` what is published.

    UsageError if there is none: what is committed would be taken for unchanged.
    """
    for name in [since] if since else ["origin/main", "main"]:
        try:
            named = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")[0]
            base = named if since else _git("merge-base", "HEAD", named)[0]
            if since or name == "main" or base != _git("rev-parse", "HEAD")[0]:
                return base
        except pytest.UsageError:
            continue
    wanted = "a commit" if since else "a branch main or origin/main that HEAD shares a commit with"
    raise pytest.UsageError(
        f"[--ring fast] no commit to tell changes from: expected {wanted} of this clone, got {since or 'none'}. "
        "Name one (make fast SINCE=COMMIT, --since COMMIT), or run one case of everything (make fast ALL=1)"
    )


@dataclass
class Changes:
    """What changed since a commit, and what stands on it."""

    files: list[str]
    base: str = "HEAD"
    below: dict[str, set[str]] = field(default_factory=arrows)

    @classmethod
    def since(cls, commit: str | None) -> Changes:
        """Return the files that differ from a commit, committed or not; of one that moved both places."""
        base = base_of(commit)
        changed = _git("diff", "--name-only", "--no-renames", "--relative", "-z", base)
        return cls(changed + _git("ls-files", "--others", "--exclude-standard", "-z"), base)

    @cached_property
    def packages(self) -> dict[str, list[str]]:
        """The packages whose sources changed, with the files."""
        result: dict[str, list[str]] = {}
        for file in self.files:
            if file.startswith("src/loom/"):
                below = file.split("/")[2:]
                result.setdefault(below[0] if len(below) > 1 else _DOOR, []).append(file)
        return result

    @cached_property
    def above(self) -> dict[str, str]:
        """The packages that stand on changed ones; on the door all stand."""
        if _DOOR in self.packages:
            return {name: _DOOR for name in self.below if name not in self.packages}
        return standing_on(self.packages, self.below)

    @cached_property
    def is_of_tests(self) -> bool:
        """Whether what all tests share changed."""
        return any(_SHARED.match(file) for file in self.files)

    @cached_property
    def readers(self) -> dict[str, str]:
        """The files of tests that read what changed outside of the sources, by way of others too, each with it."""
        new = [file for file in self.files if re.match("tests/|tools/|bench/", file) and not _SHARED.match(file)]
        paths = (ROOT / "tests").glob("*/**/*.py") if new else ()
        texts = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in paths}
        texts = {path: text for path, text in texts.items() if not path.startswith(_ALWAYS)}
        found: dict[str, str] = {}
        while new:
            file = new.pop()
            readers = _readers_of(file, texts) - found.keys()
            found.update(dict.fromkeys(readers, file))
            new += readers
        return {path: file for path, file in sorted(found.items()) if _TEST.match(path)}

    def is_of_page(self, case: str) -> bool:
        """Tell whether a case is one of a page or an example that changed: ``[tensors.md:6]``, ``[cpu-kmeans]``."""
        name = case.partition("[")[2].rstrip("]").partition(":")[0]
        names = [f"/{one}{end}" for one in (name, name.partition("-")[2]) if one for end in ("", ".py")]
        pages = (file for file in self.files if re.match(r"docs/|examples/|[A-Z]+\.md", file))
        return case.startswith("tests/journeys/") and any(f"/{page}".endswith(tuple(names)) for page in pages)

    def takes_whole(self, path: str) -> bool:
        """Tell whether a file of tests is run whole."""
        if path.startswith(_OF_TESTS):
            return any(file.startswith(_ABOUT_TESTS) for file in self.files)
        return path.startswith(_ALWAYS) or path in {*self.files, *self.readers} or package_of(path) in self.packages

    def takes_some(self, path: str) -> bool:
        """Tell whether of a file of tests one case a device is run."""
        package = package_of(path)
        return self.is_of_tests or package in self.above or (not package and bool(self.files))

    def lines(self) -> list[str]:
        """Return what is chosen, and why."""
        if not self.files:
            return [f"fast ring: nothing changed since {self.base[:8]}: tests/architecture alone"]
        result = [f"fast ring: {len(self.files)} files changed since {self.base[:8]}"]
        result += [f"  all of {name}: {files[0]}" + f" and {len(files) - 1} more" * (len(files) > 1)
                   for name, files in sorted(self.packages.items())]  # fmt: skip
        result += [f"  all of {file}, which changed" for file in self.files if _TEST.match(file)]
        result += [f"  all of {paths[0]}" + f" and {len(paths) - 1} more" * (len(paths) > 1) + f": read {file}"
                   for file, paths in _by_value(self.readers).items()]  # fmt: skip
        result += [f"  one case a file and device of {', '.join(names)}: stand on {under}"
                   for under, names in _by_value(self.above).items()]  # fmt: skip
        result += ["  one case a file and device of all: what tests share changed"] * self.is_of_tests
        return [*result, "  tests/architecture; of other tests of no package one case a file, and all of changed pages"]


def _by_value(rows: dict[str, str]) -> dict[str, list[str]]:
    return {value: [key for key in rows if rows[key] == value] for value in dict.fromkeys(rows.values())}


def _readers_of(file: str, texts: dict[str, str]) -> set[str]:
    """Return which texts name a file, as a module or by its path; of one that none names, those in its folder."""
    folder, _, name = file.rpartition("/")
    package, stem = folder.removeprefix("tests/").replace("/", r"\."), re.escape(name.removesuffix(".py"))
    named = re.compile(rf"\b{package}\.{stem}\b|{re.escape(file)}\b|from {package} import (?:\([^)]*|[^\n]*)\b{stem}\b")
    readers = {path for path, text in texts.items() if name.removesuffix(".py") in text and named.search(text)} - {file}
    if (name == "conftest.py" or not readers) and not _TEST.match(file):
        below = "tests/unit/bench/" if file.startswith("bench/") else f"{folder}/"
        readers |= {path for path in texts if path.startswith(below)} - {file}
    return readers


class Ring:
    """The choice of one run."""

    def __init__(self, name: str, since: str | None) -> None:
        self.name = name
        self.changes = Changes.since(since) if name == "fast" else None
        self._seen: set[tuple[str, str | None]] = set()

    def lines(self) -> list[str]:
        """Return what the head of the report says of the choice."""
        return self.changes.lines() if self.changes else [f"ring: {self.name}"]

    def compiles_quickly(self, path: str) -> bool:
        """Tell whether the kernels of a file's tests are compiled without optimisation."""
        return self.name != "prove" and path.startswith(_QUICK)

    def leaves_file(self, path: str) -> bool:
        """Tell whether no case of a file is run."""
        return self.changes is not None and not (self.changes.takes_whole(path) or self.changes.takes_some(path))

    def leaves_case(self, case: str, kind: str | None, *, slow: bool, is_one_of_several: bool) -> bool:
        """Tell whether a case is left out for itself, whatever other cases there are."""
        if self.changes is not None and self.changes.is_of_page(case):
            return slow
        return self.name != "prove" and (slow or is_slow(case, kind, is_one_of_several=is_one_of_several))

    def section(self, items: list[pytest.Item]) -> list[pytest.Item]:
        """Return the items without those of files of which one case a device is enough."""
        if self.name in ("prove", "test"):
            return items
        first: dict[tuple[str, str | None], pytest.Item] = {}
        for item in (item for item in items if not item.nodeid.startswith(_DEAR)):
            key = (item.nodeid.partition("::")[0], kind_of(item))
            if key not in first or number_of(item.nodeid) < number_of(first[key].nodeid):
                first[key] = item
        chosen = {item.nodeid for item in first.values()}
        return [item for item in items if item.nodeid in chosen or self._takes_all(item)]

    def _takes_all(self, item: pytest.Item) -> bool:
        """Tell whether of an item's file all cases are run: those on other devices only if the file itself changed."""
        path = item.nodeid.partition("::")[0]
        if self.changes is None:
            return path.startswith(_ALWAYS) and not path.startswith(_OF_TESTS)
        is_near = kind_of(item) in (None, "cpu") or path in self.changes.files
        return self.changes.is_of_page(item.nodeid) or (self.changes.takes_whole(path) and is_near)


def kind_of(item: Any) -> str | None:
    """Return the device a case runs on, None if it takes none."""
    return getattr(item, "callspec", None) and item.callspec.params.get("on")


RING = pytest.StashKey[Ring]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare ``--ring`` and ``--since``."""
    group = parser.getgroup("rings")
    group.addoption("--ring", choices=["fast", "section", "test", "prove"], default="prove", help="which cases are run")
    group.addoption("--since", metavar="COMMIT", help="of the fast ring: the commit that changes are told from")


def pytest_configure(config: pytest.Config) -> None:
    """Choose once a process."""
    config.stash[RING] = Ring(config.getoption("--ring"), config.getoption("--since"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files of which nothing is run, which are not even read."""
    if collection_path.suffix != ".py" or not collection_path.is_relative_to(ROOT):
        return None
    return config.stash[RING].leaves_file(collection_path.relative_to(ROOT).as_posix()) or None


@pytest.hookimpl(wrapper=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> Iterator[None]:
    """Drop cases that the ring leaves out before items are made of them."""
    yield
    ring, calls = metafunc.config.stash[RING], metafunc._calls  # pyright: ignore[reportPrivateUsage]
    test = metafunc.definition
    slow = any(test.iter_markers("slow"))
    kept = [
        call for call in calls
        if not ring.leaves_case(
            f"{test.nodeid}[{call.id}]", call.params.get("on"),
            slow=slow or any(mark.name == "slow" for mark in call.marks), is_one_of_several=True,
        )
    ]  # fmt: skip
    calls[:] = kept or calls[:1]  # of no case at all pytest would make one without parameters


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the ring leaves out."""
    ring = config.stash[RING]
    left = [
        item for item in items
        if not ring.leaves_case(item.nodeid, kind_of(item), slow=any(item.iter_markers("slow")),
                                is_one_of_several=hasattr(item, "callspec"))
    ]  # fmt: skip
    items[:] = ring.section(left)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is chosen, and why."""
    return config.stash[RING].lines()
