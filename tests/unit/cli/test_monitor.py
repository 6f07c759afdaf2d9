"""``loom monitor``: what a process shows, the pictures of it, and files of processes that are gone.

Oracle: what the process did, and the document's own keys.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import loom
from loom.cli.commands.monitor import view
from loom.cli.main import app
from loom.core.errors import ArgumentError
from loom.runtime.units.monitor import document, list_processes, publish_if_asked

SCRIPT = """
import loom, sys

@loom.kernel(workgroup=1)
def add(registers: loom.InOut[loom.u32]):
    registers[0] = registers[0] + 1

unit = loom.boot(1024, name="render [0]")
unit.pace(250)
unit.dispatch(add)
program = unit.build()
unit.dispatch(add)
for _ in range(3):
    program.run()
loom.publish()
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOM_CACHE_DIR", str(tmp_path))
    return tmp_path / "monitor"


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["monitor", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "script.py"


@pytest.fixture
def process(folder: Path, script: Path) -> Any:
    script.write_text(SCRIPT)
    begun = subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert begun.stdout is not None
        assert begun.stdout.readline() == "ready\n"
        yield begun
    finally:
        begun.communicate("\n", timeout=60)
    assert not list(folder.glob("*.json"))  # it took its file with it


def test_json_of_a_process(process: Any) -> None:
    whole = json.loads(shown("--once", "--json"))
    assert whole["version"] == 1
    (found,) = whole["processes"]
    assert found["pid"] == process.pid
    assert found["nbytes"] == 4096
    assert found["devices"] == [{"name": "cpu", "units": 1, "nbytes": 4096, "submissions": 3, "in_flight": 0}]
    (unit,) = found["units"]
    assert {k: unit[k] for k in ("name", "device", "nbytes", "recorded", "submissions", "in_flight", "parked")} == {
        "name": "render [0]", "device": "cpu", "nbytes": 4096, "recorded": 1, "submissions": 3, "in_flight": 0,
        "parked": False,
    }  # fmt: skip
    assert (unit["mode"], unit["pace_us"]) == ("fixed", 250.0)
    assert unit["programs"][0]["dispatches"] == 1


def test_pictures_of_a_process(process: Any, script: Path) -> None:
    lines = shown("--once").splitlines()
    assert lines[0] == f"{process.pid} {script}: units 1, memory 4.0 KiB, runs 3"
    assert lines[1].split() == [
        "unit", "device", "memory", "runs", "under", "way", "recorded", "last", "baseline", "pace",
    ]  # fmt: skip
    assert lines[2].startswith("render [0]  cpu     4.0 KiB  3     0          1         ")
    assert lines[2].endswith("250 us set")
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    console.print(view(list_processes()))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "render [0]" in text
    assert "250 us set" in text


def test_nobody(folder: Path) -> None:
    assert shown() == "No process shows itself: start one with LOOM_MONITOR=1, or call loom.publish() in it.\n"
    assert json.loads(shown("--json")) == {"version": 1, "processes": []}
    assert not folder.exists()


def test_files_of_the_dead_go_and_torn_ones_are_left_out(folder: Path) -> None:
    folder.mkdir()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (folder / f"{gone.pid}.json").write_text(json.dumps({**document(), "pid": gone.pid}))
    (folder / f"{os.getpid()}.json").write_text('{"pid": ')
    assert list_processes() == []
    assert not (folder / f"{gone.pid}.json").exists()
    (folder / f"{os.getpid()}.json").write_text(json.dumps({**document(), "written": 0}))
    assert list_processes() == []  # from long ago: another process had the number


def test_parked_and_budgeted() -> None:
    picture = document()
    unit = {
        "name": "a", "device": "cpu", "nbytes": 3 << 30, "recorded": 0, "parked": True, "submissions": 7,
        "in_flight": 1, "mode": "off", "baseline_us": 900.0, "last_us": 1500.0, "pace_us": 0.0, "programs": [],
    }  # fmt: skip
    console = Console(file=io.StringIO(), width=400)
    console.print(view([{**picture, "budget_nbytes": 4 << 30, "nbytes": 3 << 30, "units": [unit]}]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in ("memory 3.0 GiB of 4.0 GiB, runs 7", "a (parked)", "900 us", "1.50 ms", "off"):
        assert part in text


def test_asked_by_the_environment(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    publish_if_asked()
    assert not folder.exists()
    monkeypatch.setenv("LOOM_MONITOR", "yes")
    with pytest.raises(ArgumentError, match=r"environment LOOM_MONITOR\] not a usable number: expected 0 to 1"):
        loom.boot(1)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux: install the Debian package tmux")
def test_live_in_a_terminal(process: Any, folder: Path) -> None:
    socket = f"loom-test-{os.getpid()}"
    loom_monitor = shlex.join([sys.executable, "-m", "loom", "monitor", "--interval", "0.1"])

    def tmux(*arguments: str) -> str:
        return subprocess.run(["tmux", "-L", socket, *arguments], capture_output=True, text=True, check=True).stdout

    def until(wanted: Callable[[str], bool]) -> str:
        for _ in range(200):
            if wanted(text := tmux("capture-pane", "-p", "-t", "t")):
                return text
            time.sleep(0.1)
        raise AssertionError(text)

    tmux(
        "new-session",
        "-d",
        "-s",
        "t",
        "-x",
        "120",
        "-y",
        "20",
        "env",
        *["-u", "LOOM_MONITOR", "-u", "COLUMNS", "-u", "LINES"],
        "sh",
    )
    try:
        environment = f"LOOM_CACHE_DIR={shlex.quote(os.environ['LOOM_CACHE_DIR'])}"
        source = shlex.quote(str(Path(loom.__file__).parents[1]))
        tmux("send-keys", "-t", "t", f"PYTHONPATH={source} {environment} {loom_monitor}; echo left $?", "Enter")
        text = until(lambda seen: "render [0]" in seen)
        assert f"{process.pid} " in text
        assert "baseline" in text
        assert "250 us set" in text
        tmux("resize-window", "-t", "t", "-x", "70", "-y", "12")
        until(lambda seen: "render [0]" in seen and max(map(len, seen.splitlines())) <= 70)
        tmux("send-keys", "-t", "t", "C-c")
        assert "render [0]" not in until(lambda seen: "left 0" in seen)  # the screen before is back
    finally:
        tmux("kill-server")
