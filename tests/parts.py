"""``make prove`` in parts: ``--part 3/8`` runs an eighth of what the ring takes, and goes on where it was stopped.

What passed is written down under ``build/prove`` with the state of the tree; a run of the same part on the same tree
leaves it out. ``tests/proved.json`` says when which part was last run whole, on which commit, and what fell.
Invariant: a case belongs to one part, by a hash of its name alone.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
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
    """Return the commit, with "+" and a digest of what differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    changed = git("diff", "HEAD", "--", ".", f":!{PROVED.relative_to(ROOT)}")
    commit = git("rev-parse", "--short=10", "HEAD").strip()
    return commit + (f"+{number_of(changed):08x}" if changed else "")


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
        lines = self.progress.read_text().splitlines() if self.progress.exists() else []
        rows = [json.loads(line) for line in lines if line.endswith("}")]  # the last may be cut
        return rows[1:] if rows and rows[0] == {"state": self.state} else []

    @property
    def passed(self) -> set[str]:
        """The cases that need not be run again."""
        return {row["case"] for row in self.earlier if row.get("outcome") in ("passed", "skipped")}

    def takes(self, case: str) -> bool:
        """Tell whether a case belongs to this part."""
        return number_of(case) % self.count == self.number - 1

    def begin(self) -> None:
        """Start the record anew if it is of another tree."""
        self.progress.parent.mkdir(parents=True, exist_ok=True)
        if not self.earlier:
            self.progress.write_text(json.dumps({"state": self.state}) + "\n")

    def add(self, **row: Any) -> None:
        """Append a row to the record, which outlives the process."""
        with self.progress.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def summarise(self) -> dict[str, Any]:
        """Return what ``proved.json`` says of the part."""
        outcomes: dict[str, str] = {}
        for row in self._read():
            if "case" in row:
                outcomes[row["case"]] = row["outcome"]
        seconds = sum(row.get("seconds", 0) for row in self._read())
        failed = sorted(case for case, outcome in outcomes.items() if outcome == "failed")
        return {
            "commit": self.state, "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"), "seconds": round(seconds),
            "passed": sum(outcome == "passed" for outcome in outcomes.values()),
            "skipped": sum(outcome == "skipped" for outcome in outcomes.values()), "failed": failed,
        }  # fmt: skip


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

    def __init__(self, part: Part) -> None:
        self._part = part

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self._part.add(case=report.nodeid, outcome=report.outcome)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self._part.add(seconds=round(time.monotonic() - self._part.start, 1))
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
            proved = json.loads(PROVED.read_text()) if PROVED.exists() else {}
            proved[f"{self._part.number}/{self._part.count}"] = self._part.summarise()
            PROVED.write_text(json.dumps(dict(sorted(proved.items())), indent=1) + "\n")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Record in the process that reports, not in workers of xdist."""
    config = session.config
    if PART in config.stash and not hasattr(config, "workerinput") and not config.getoption("collectonly"):
        config.pluginmanager.register(_Recorder(config.stash[PART]))
