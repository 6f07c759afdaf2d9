"""Hooks before a commit run what ``make check`` runs: the Makefile is the one home of each command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHEAP = {"lint", "format", "imports"}
"""Targets that take seconds, each a hook."""
TOOLS = ("/ruff ", "/lint-imports", "/pyright ", "tools/users.py")


def _hooks() -> list[dict[str, Any]]:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert {each["repo"] for each in repositories} == {"local"}, "nothing is fetched"
    return [hook for each in repositories for hook in each["hooks"]]


def _commands(target: str) -> list[str]:
    """Return the commands of tools that a target would run, those of targets it calls included."""
    if shutil.which("make") is None:
        pytest.skip("make is missing")
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if any(tool in line for tool in TOOLS)]


def test_each_hook_is_a_target_over_the_projects_environment() -> None:
    assert {hook["id"] for hook in _hooks()} == CHEAP
    for hook in _hooks():
        assert hook["entry"] == f"make --no-print-directory {hook['id']}"
        assert hook["language"] == "system"
        assert hook["pass_filenames"] is False


@pytest.mark.parametrize("target", [*sorted(CHEAP), "types"])
def test_make_check_runs_the_same_commands(target: str) -> None:
    commands = _commands(target)
    assert commands
    assert set(commands) <= set(_commands("check"))


def test_make_check_runs_no_command_that_has_no_target() -> None:
    named = {command for target in (*CHEAP, "types") for command in _commands(target)}
    assert set(_commands("check")) == named
