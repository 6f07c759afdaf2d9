"""Runs the tests over sources with one small fault each, the patches of ``tests/mutants``, and notes who finds it.

``python tools/mutants.py [floor/ir-01-ties ...] [--jobs 2] [--first-stage-only] [--base aca66844]``. The sources are
those of HEAD, in a scratch worktree of their own; the tests are HEAD's, or with ``--base`` those of another commit,
of the fault's package and of what stands on it alone. Tests run in stages, up to the first that fails: what found the
fault before, then those nearest to it. Invariant: a test counts as finding a fault only if it passes without it, and
the tree that this stands in is never touched, but for ``tests/mutants/results.json``. What was found, and how it is
read, says ``tests/mutants/README.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path

from house.sources import Source, read_sources

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from tests.rings import arrows, package_of, standing_on  # noqa: E402

MUTANTS = ROOT / "tests/mutants"
RESULTS = MUTANTS / "results.json"
BATCHES = (6, 24)
"""Test files of a stage that are collected together: so many at first, then so many, then the rest."""
OF_A_COMMIT = ("tests", "conformance", "pyproject.toml")
"""What ``--base`` takes from another commit."""
_NEAR = (1.0, 0.25, 0.0625)
"""What the names of a faulty module count for in those of tests, of modules that import it, of those that import them.
"""
_SLICE_SECONDS = 0.2
_IDLE_SECONDS = 600.0
"""Tests that do no second of work in so many wait for what never comes."""
_stopping = threading.Event()
"""Set when this process is to end: what runs is ended, and nothing of it is noted."""


@dataclass(frozen=True)
class Mutant:
    """A fault: the patch, and what the text before it says."""

    name: str
    text: str

    @cached_property
    def package(self) -> str:
        """The package whose fault it is."""
        return self._found(r"^package: (.+)$")

    @cached_property
    def file(self) -> str:
        """The file that the patch changes."""
        return self._found(r"^\+\+\+ b/(\S+)$")

    def _found(self, pattern: str) -> str:
        match = re.search(pattern, self.text, re.MULTILINE)
        if match is None:
            raise SystemExit(f"{self.name}: the patch has no line {pattern}")
        return match[1]

    def require_place(self) -> None:
        """See that the patch still applies to HEAD, by its name otherwise."""
        command = ["git", "apply", "--check", "--cached", "-"]
        with tempfile.TemporaryDirectory() as folder:  # an index of HEAD: what is edited here is not what is judged
            place = {**os.environ, "GIT_INDEX_FILE": f"{folder}/index"}
            subprocess.run(["git", "read-tree", "HEAD"], cwd=ROOT, env=place, check=True)
            done = subprocess.run(
                command, cwd=ROOT, env=place, input=self.text, text=True, capture_output=True, check=False
            )
        if done.returncode:
            raise SystemExit(f"{self.name}: the patch no longer applies: {done.stderr.strip()}")


def read_mutants(names: Sequence[str]) -> list[Mutant]:
    """Return the mutants of these names, all without any."""
    there = {str(p.relative_to(MUTANTS).with_suffix("")): p for p in sorted(MUTANTS.rglob("*.patch"))}
    chosen = [str(Path(n).with_suffix("")).removeprefix("tests/mutants/") for n in names] or list(there)
    if unknown := [n for n in chosen if n not in there]:
        raise SystemExit(f"no mutant is called {', '.join(unknown)}; there are {', '.join(there)}")
    return [Mutant(n, there[n].read_text()) for n in chosen]


# which tests, in which order


class TestOrder:
    """The test files below a checkout in the order in which they may find a fault of a package."""

    def __init__(self, sources: dict[str, Source], root: Path) -> None:
        self._readers: dict[str, set[str]] = {name: set() for name in sources}
        for source in sources.values():
            for target in source.imports:
                self._readers[target].add(source.name)
        self._below = arrows(root)
        paths = sorted((root / "tests").rglob("test_*.py"))
        self._texts = {str(p.relative_to(root)): p.read_text() for p in paths}

    def stages(self, mutant: Mutant) -> list[tuple[str, list[str]]]:
        """Return the stages by name: the package's own tests, those of what stands on it, and all others."""
        module = mutant.file.removeprefix("src/").removesuffix(".py").replace("/", ".")
        above = standing_on([mutant.package], self._below)
        scores = self._scores(module)
        rows: dict[str, list[str]] = {"own": [], "above": [], "rest": []}
        for path in sorted(self._texts, key=lambda p: (-scores[p], p)):
            package = package_of(path)
            rows["own" if package == mutant.package else "above" if package in above else "rest"].append(path)
        return [(name, paths) for name, paths in rows.items() if paths]

    def _scores(self, module: str) -> dict[str, float]:
        """Return how near each test file is to a module: by its name, and by what imports it, told or named alike."""
        weights: dict[str, float] = {}
        row = {module}
        for weight in _NEAR:
            for name in row:
                weights.setdefault(name, weight)
            row = {r for n in row for r in self._readers.get(n, ())} - weights.keys()
        words: dict[str, float] = {}
        for name, weight in weights.items():
            for word in re.split(r"[._]", name.removeprefix("loom.")):
                words[word] = max(weight, words.get(word, 0.0)) if len(word) > 2 else 0.0
        found = dict.fromkeys(self._texts, 0.0)
        for path, text in self._texts.items():
            told = {f"loom.{n}" for n in re.findall(r"\bloom\.([\w.]+)", text)}
            found[path] += sum(weight for name, weight in weights.items() if name in told)
        for word, weight in words.items():
            alike = [p for p in self._texts if word[:6] in p]
            for path in alike:
                found[path] += weight / len(alike)
        return found


def _batches(paths: list[str]) -> Iterator[list[str]]:
    first = 0
    for size in (*BATCHES, len(paths)):
        if paths[first : first + size]:
            yield paths[first : first + size]
        first += size


# a tree of its own


def _git(*arguments: str, where: Path = ROOT, text: str | None = None) -> str:
    done = subprocess.run(["git", *arguments], cwd=where, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


@dataclass
class Scratch:
    """A worktree of HEAD in a temporary folder; ``cpu``: seconds that tests took there since it was last set."""

    root: Path
    cpu: float = 0.0
    passing: set[str] = field(default_factory=set[str])
    """Tests that passed without a fault."""

    @classmethod
    @contextmanager
    def open(cls, base: str | None) -> Iterator[Scratch]:
        """Make one, with the tests of another commit if one is named; it is gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="loom-mutants-", ignore_cleanup_errors=True) as folder:
            root = Path(folder) / "tree"
            try:
                _git("worktree", "add", "--detach", "--quiet", str(root), "HEAD")
                if base is not None:
                    shutil.rmtree(root / "tests")
                    _git("checkout", "--quiet", base, "--", *OF_A_COMMIT, where=root)
                (Path(folder) / "tmp").mkdir()
                yield cls(root)
            finally:
                if root.exists():  # also one that git locked, as it was stopped while making it
                    _git("worktree", "remove", "--force", "--force", str(root))

    def put(self, mutant: Mutant, *, back: bool = False) -> None:
        """Put the fault in, or take it out."""
        _git("apply", *["-R"] * back, "-", where=self.root, text=mutant.text)
        path = self.root / mutant.file
        for old in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            old.unlink()  # it may be of the same second, and of the same size

    def test(self, what: Sequence[str], left_out: Sequence[str], most: float) -> tuple[str, str]:
        """Run tests for ``most`` seconds of work; return "passed", "failed" or "late", and the first that failed."""
        has_rings = (self.root / "tests/rings.py").exists()
        ring = ["--ring", "test"] if has_rings else ["-m", "not slow"]  # as older commits have it
        command = [sys.executable, "-m", "pytest", *ring, "-x", "-q", "-p", "no:cacheprovider", "--tb=line"]
        command += [*(f"--deselect={n}" for n in left_out), *what]
        place = {"PYTHONPATH": str(self.root / "src"), "TMPDIR": str(self.root.parent / "tmp"),
                 "PYTHONDONTWRITEBYTECODE": ""}  # fmt: skip
        with tempfile.TemporaryFile() as out:
            started = subprocess.Popen(command, cwd=self.root, env={**os.environ, **place}, stdout=out, stderr=out,
                                       start_new_session=True)  # fmt: skip
            code = self._wait(started, most)
            out.seek(0)
            said = out.read().decode(errors="replace")
        if code is None:
            return "late", ""
        is_gone = code == 4 and re.search("^ERROR: (file or directory )?not found", said, re.MULTILINE)
        if code in (0, 5) or is_gone:  # known tests may be of another commit
            return "passed", ""
        first = re.search(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", said, re.MULTILINE)
        if first is None and code > 0:
            raise SystemExit(f"pytest ended with {code}:\n{said[-3000:]}")
        return "failed", first[1] if first is not None else f"signal {-code}"

    def _wait(self, started: subprocess.Popen[bytes], most: float) -> int | None:
        """Return the exit status, None if it is not over in its time; what was started goes with it."""
        worked, since = 0.0, time.monotonic()
        try:
            while not _stopping.is_set() and worked < most and time.monotonic() - since < _IDLE_SECONDS:
                done, status, used = os.wait4(started.pid, os.WNOHANG)
                if done:
                    self.cpu += used.ru_utime + used.ru_stime
                    started.returncode = os.waitstatus_to_exitcode(status)
                    return started.returncode
                if (now := _worked(started.pid)) > worked + 1:
                    worked, since = now, time.monotonic()
                time.sleep(_SLICE_SECONDS)
            return None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            if started.returncode is None:
                _, status, used = os.wait4(started.pid, 0)
                self.cpu += used.ru_utime + used.ru_stime
                started.returncode = os.waitstatus_to_exitcode(status)


def _worked(process: int) -> float:
    """Return the processor time that a process took, and its children that ended; a busy machine is not its fault."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


# verdicts


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: ``verdict`` is "killed", "survived" or "late"; ``stage``: the last one that was run."""

    source: str
    verdict: str
    stage: str
    cpu: float
    by: str = ""

    def line(self, name: str) -> str:
        """Return it as it is printed."""
        what = f"killed by {self.by}" if self.verdict == "killed" else self.verdict.upper()
        return f"{name:32} {self.cpu:7.1f} s  {self.stage:5} {what}"


def judge(mutant: Mutant, scratch: Scratch, stages: Iterable[tuple[str, list[str]]], limit: float) -> Verdict:
    """Run stages until a test fails that passes without the fault, or for ``limit`` seconds of processor time."""
    source, scratch.cpu = _git("rev-parse", "--short=8", "HEAD", where=scratch.root), 0.0
    left_out, name = list[str](), ""
    for name, paths in stages:
        waiting = [[path] for path in paths] if name == "known" else list(_batches(paths))
        while waiting:
            scratch.put(mutant)
            try:
                found, test = scratch.test(waiting[0], left_out, limit - scratch.cpu)
            finally:
                scratch.put(mutant, back=True)
            if _stopping.is_set():
                raise SystemExit("stopped")
            if found == "late":
                return Verdict(source, "late", name, round(scratch.cpu, 1))
            if found == "passed":
                del waiting[0]
            elif test.startswith("signal") and len(waiting[0]) > 1:  # one of these files
                waiting[:1] = [[path] for path in waiting[0]]
            else:
                test = f"{waiting[0][0]} ({test})" if test.startswith("signal") else test
                if _passes(scratch, _id_of(test)):
                    return Verdict(source, "killed", name, round(scratch.cpu, 1), test)
                left_out.append(_id_of(test))
    return Verdict(source, "survived", name, round(scratch.cpu, 1))


def _id_of(test: str) -> str:
    """Return what pytest calls a test, or a file, that a fault ended by a signal."""
    return test.partition(" (signal ")[0]


def _passes(scratch: Scratch, test: str) -> bool:
    """Tell whether a test passes without the fault."""
    if test not in scratch.passing and scratch.test([test], (), 900)[0] == "passed":
        scratch.passing.add(test)
    return test in scratch.passing


def known_tests(mutant: Mutant, tried: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return as a stage of its own what is to be tried first, and what found a fault when it was looked for last."""
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    last = [v["by"] for k, v in found.items() if k.startswith(f"{mutant.name} by ")]
    tests = list(dict.fromkeys([*tried, *(_id_of(test) for test in last if test)]))
    return [("known", tests)] if tests else []


def write_result(key: str, verdict: Verdict) -> None:
    """Add a result to those that are there, one a line."""
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    found[key] = asdict(verdict)
    lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(found.items())]
    RESULTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    """Judge the mutants that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="of patches below tests/mutants, without .patch; default: all")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--first-stage-only", action="store_true", help="run the package's own tests alone")
    parser.add_argument("--base", help="the commit whose tests are run, those of the package and of what stands on it")
    parser.add_argument("--try", nargs="*", default=[], dest="tried", metavar="TEST", help="tests to run before others")
    parser.add_argument("--limit", type=float, default=1800.0, help="processor seconds a mutant may take")
    given = parser.parse_args()
    if given.jobs < 1:
        parser.error(f"--jobs: expected 1 or more mutants at a time, got {given.jobs}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: nothing is left behind
    mutants = read_mutants(given.names)
    for mutant in mutants:
        mutant.require_place()
    tests = "ring" if given.base is None else _git("rev-parse", "--short=8", given.base)
    last = 1 if given.first_stage_only else 2 if given.base is not None else 3
    lock, free = threading.Lock(), queue.SimpleQueue[Scratch]()
    with ExitStack() as ending:
        for _ in range(min(given.jobs, len(mutants))):
            free.put(ending.enter_context(Scratch.open(given.base)))

        @cache
        def order(root: Path) -> TestOrder:
            return TestOrder(read_sources(root), root)

        def stages_of(mutant: Mutant, root: Path) -> Iterator[tuple[str, list[str]]]:
            yield from known_tests(mutant, given.tried)
            yield from order(root).stages(mutant)[:last]  # only if it comes to that: the sources take seconds

        def run(mutant: Mutant) -> None:
            scratch = free.get()
            try:
                verdict = judge(mutant, scratch, stages_of(mutant, scratch.root), given.limit)
            finally:
                free.put(scratch)
            with lock:
                print(verdict.line(mutant.name), flush=True)
                write_result(f"{mutant.name} by {tests}", verdict)

        _run_all(run, mutants, given.jobs)


def _run_all(run: Callable[[Mutant], None], mutants: list[Mutant], jobs: int) -> None:
    """Run mutants in threads; Ctrl-C and SIGTERM end what runs."""
    with ThreadPoolExecutor(jobs) as crew:
        waiting = [crew.submit(run, mutant) for mutant in mutants]
        try:
            for each in waiting:
                each.result()
        except BaseException:
            _stopping.set()
            crew.shutdown(wait=False, cancel_futures=True)
            raise


if __name__ == "__main__":
    main()
