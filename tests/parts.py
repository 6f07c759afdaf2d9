"""``make prove`` in parts: ``--part 3/8`` runs an eighth of what the ring takes, and goes on where it was stopped.

What passed is written down under ``build/prove`` with the state of the tree; a run of the same part on the same tree
leaves it out. ``tests/proved.json`` says when which part was last run whole, on which commit, and what fell.
Invariant: a case belongs to one part, by a hash of its name alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import zlib
from datetime import datetime, timezone
from typing import Any

import pytest

from rings import ROOT, number_of

PROVED = ROOT / "tests/proved.json"
PROGRESS = ROOT / "build/prove"


def read_part(text: str) -> tuple[int, int]:
    """Return ``3/8`` as (3, 8); UsageError for what is no part."""
    matched = re.fullmatch(r"(\d+)/(\d+)", text)
    part, parts = map(int, matched.groups()) if matched else (0, 0)
    if not 1 <= part <= parts:
        raise pytest.UsageError(f"--part {text}: expected a number and how many there are, as 3/8, got {text!r}")
    return part, parts


def state_of_tree() -> str:
    """Return the commit, with "+" and a digest of what differs from it, files that git does not know yet among it."""

    def git(*words: str) -> bytes:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True).stdout

    changed = git("diff", "--no-ext-diff", "--binary", "HEAD", "--", ".", f":!{PROVED.relative_to(ROOT)}")
    for name in git("ls-files", "--others", "--exclude-standard", "-z").split(b"\0"):
        path = ROOT / os.fsdecode(name)
        if path.is_file() and path != PROVED:
            changed += name + b"\0" + path.read_bytes()
    commit = git("rev-parse", "--short=10", "HEAD").decode().strip()
    return commit + (f"+{zlib.crc32(changed):08x}" if changed else "")


def read_proved() -> dict[str, Any]:
    """Return what ``proved.json`` says; UsageError if it cannot be read, before an hour of tests and not after it."""
    try:
        proved = json.loads(PROVED.read_text()) if PROVED.exists() else {}
    except ValueError:
        proved = None
    if not isinstance(proved, dict):
        raise pytest.UsageError(
            f"[--part] {PROVED.name} is damaged: expected an object of JSON. Mend or remove {PROVED}"
        )
    return proved


def narrowing(config: pytest.Config) -> str:
    """Return what of a command line or its settings leaves cases of a part out; "" for nothing."""
    option = config.option
    words = {
        "paths": config.args_source is config.ArgsSource.ARGS, "-k": option.keyword, "-m": option.markexpr,
        "--deselect": option.deselect, "--ignore": option.ignore or option.ignore_glob,
        "--lf": getattr(option, "lf", False), "--sw": getattr(option, "stepwise", False),
        "--ring": option.ring != "prove", "LOOM_TEST_DEVICES": os.environ.get("LOOM_TEST_DEVICES"),
    }  # fmt: skip
    return ", ".join(word for word, is_there in words.items() if is_there)


class Part:
    """One part of one run.

    :param text: the part, as ``3/8``
    :param state: the tree it is run on
    """

    def __init__(self, text: str, state: str) -> None:
        self.number, self.count = read_part(text)
        self.state = state
        self.progress = PROGRESS / f"{self.number}-of-{self.count}.jsonl"
        self.start = time.monotonic()
        self.earlier = self._read()

    def _read(self) -> list[dict[str, Any]]:
        lines = self.progress.read_bytes().splitlines() if self.progress.exists() else []
        rows = [row for row in map(_row_of, lines) if row]
        return rows[1:] if rows and rows[0] == {"state": self.state} else []

    @property
    def passed(self) -> set[str]:
        """The cases that need not be run again."""
        return {case for case, outcome in _outcomes(self.earlier).items() if outcome in ("passed", "skipped")}

    def takes(self, case: str) -> bool:
        """Tell whether a case belongs to this part."""
        return number_of(case) % self.count == self.number - 1

    def begin(self) -> None:
        """Start the record anew if it is of another tree."""
        self.progress.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"state": self.state}, *self.earlier]  # without what was cut
        self.progress.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def add(self, **row: Any) -> None:
        """Append a row to the record, which outlives the process."""
        with self.progress.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def summarise(self) -> dict[str, Any]:
        """Return what ``proved.json`` says of the part."""
        rows = self._read()
        outcomes, seconds = _outcomes(rows), sum(row.get("seconds", 0) for row in rows)
        failed = sorted(case for case, outcome in outcomes.items() if outcome == "failed")
        return {
            "commit": self.state, "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"), "seconds": round(seconds),
            "passed": sum(outcome == "passed" for outcome in outcomes.values()),
            "skipped": sum(outcome == "skipped" for outcome in outcomes.values()), "failed": failed,
        }  # fmt: skip


def _row_of(line: bytes) -> dict[str, Any] | None:
    """Return a row of the record, None for a line that a run which was stopped did not end."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _outcomes(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return the last outcome of each case."""
    return {row["case"]: row["outcome"] for row in rows if "case" in row and "outcome" in row}


PART = pytest.StashKey[Part]()
_PASSED = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare ``--part``."""
    parser.getgroup("rings").addoption("--part", metavar="K/N", help="run one of N parts, and go on where it stopped")


def pytest_configure(config: pytest.Config) -> None:
    """Read what passed; workers of xdist are told by the process that started them."""
    text = config.getoption("--part")
    if not text:
        return
    worker = getattr(config, "workerinput", None)
    part = config.stash[PART] = Part(text, worker["state"] if worker else state_of_tree())
    config.stash[_PASSED] = set(worker["passed"]) if worker else part.passed
    if not worker:
        read_proved()
        part.begin()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist, also one that replaces another, what this run leaves out."""
    if PART in node.config.stash:
        node.workerinput["state"] = node.config.stash[PART].state
        node.workerinput["passed"] = sorted(node.config.stash[_PASSED])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out other parts, and what passed."""
    if PART in config.stash:
        part, passed = config.stash[PART], config.stash[_PASSED]
        items[:] = [item for item in items if part.takes(item.nodeid) and item.nodeid not in passed]


class _Recorder:
    """Writes outcomes down as they come, in the process that reports."""

    def __init__(self, part: Part, config: pytest.Config) -> None:
        self._part, self._config = part, config
        self._called: dict[str, str] = {}
        self._doubt = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write a failure at once, all else when the case is over: its end may fail too."""
        if report.outcome == "failed":
            self._part.add(case=report.nodeid, outcome="failed")
            self._called.pop(report.nodeid, None)
        elif report.when == "call" or report.outcome == "skipped":
            self._called[report.nodeid] = report.outcome
        if report.when == "teardown" and report.nodeid in self._called:
            self._part.add(case=report.nodeid, outcome=self._called.pop(report.nodeid))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that cannot be read: its cases are in no row."""
        if report.failed:
            self._doubt = f"{report.nodeid} could not be collected"

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the part down if all of it was run, on one tree."""
        self._part.add(seconds=round(time.monotonic() - self._part.start, 1))
        words, whole = (
            narrowing(self._config),
            (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED),
        )
        if words:
            self._doubt = f"only some cases are run ({words})"
        elif session.shouldfail or session.shouldstop or exitstatus not in whole:
            self._doubt = self._doubt or "it was stopped"
        elif state_of_tree() != self._part.state:
            self._doubt = "the tree changed while it ran"
        if not self._doubt:
            proved = read_proved()
            proved[f"{self._part.number}/{self._part.count}"] = self._part.summarise()
            PROVED.write_text(json.dumps(dict(sorted(proved.items())), indent=1) + "\n")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say why a part is not written down, and what it left out."""
        name = f"part {self._part.number}/{self._part.count}"
        if self._part.passed:
            terminalreporter.write_line(f"{name}: {len(self._part.passed)} cases passed on this tree before")
        if self._doubt:
            terminalreporter.write_line(f"{name} is not written into tests/proved.json: {self._doubt}")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Record in the process that reports, not in workers of xdist."""
    config = session.config
    if PART in config.stash and not hasattr(config, "workerinput") and not config.getoption("collectonly"):
        config.pluginmanager.register(_Recorder(config.stash[PART], config))
