"""Every kernel as PTX that may be begun early: it waits before all else, and machine code keeps to that."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import conformance.cases  # noqa: F401 (registers them)
from bench.engine.iteration import collect
from conformance.running import CASES, SLOW, load_case, theme, verified
from emulation.ptx.memory import Memory
from emulation.ptx.module import Module
from loom.ir.verified import VerifiedKernel
from loom.runtime.drivers.probes.wide import WIDE_PROBES
from loom.targets.base import Bounds
from loom.targets.llvm.machine import machine
from loom.targets.llvm.target import LlvmTarget
from unit.ir.test_wide import tool_of

_MACHINE = replace(machine("ptx"), cpu="sm_90", dependents="waited", tiles=True)
_WIDE = replace(_MACHINE, cpu="sm_90a", wide=True)
_FIRST = {"waited": ["wait", "launch_dependents"], "begun": ["launch_dependents", "wait"]}
_THEMES = list(dict.fromkeys(theme(name) for name in CASES))
_MOST = 3
"""Kernels of a theme that are always looked at."""
_MEMORY = re.compile(r"\b(LD|ST|LDG|STG|ATOMG?|REDG?|UBLKCP|UTMALDG|LDGSTS)\.|\bUBLKCP\b")


def _named(about: str) -> list[str]:
    names = [name for name in CASES if theme(name) == about and name not in SLOW]
    return names[:: -(-len(names) // _MOST)]


def _require_wait(text: str, dependents: str) -> None:
    for entry in Module(text, Memory()).entries.values():
        first = entry.instructions[:2]
        assert [i.op for i in first] == [("griddepcontrol", action) for action in _FIRST[dependents]]
        assert not any(i.guard for i in first)
        assert not any("nc" in i.op for i in entry.instructions)


def _ptx(kernel: VerifiedKernel, bounds: Bounds, dependents: str = "waited") -> str:
    return LlvmTarget(replace(_MACHINE, dependents=dependents)).compile(kernel, bounds).data.decode()


@pytest.mark.parametrize("about", _THEMES)
def test_the_wait_comes_first(about: str) -> None:
    for number, name in enumerate(_named(about)):
        kernel = verified(load_case(name).kernel)
        dependents = ("waited", "begun")[number % 2]
        for bounds in (Bounds.TRUSTED, Bounds.REPORTED):
            _require_wait(_ptx(kernel, bounds, dependents), dependents)


@pytest.mark.slow
@pytest.mark.parametrize("about", _THEMES)
def test_the_wait_comes_first_in_all(about: str) -> None:
    for name in CASES:
        if theme(name) == about:
            _require_wait(_ptx(verified(load_case(name).kernel), Bounds.CHECKED), "waited")


def test_code_of_others_has_neither_wait_nor_other_loads() -> None:
    """It is what it is without the wait, but for the loads."""
    kernel = collect.verified
    plain = LlvmTarget(replace(_MACHINE, dependents="")).compile(kernel, Bounds.TRUSTED).data.decode()
    assert "griddepcontrol" not in plain
    lines = [line for line in _ptx(kernel, Bounds.TRUSTED).splitlines() if "griddepcontrol" not in line]
    assert lines == plain.replace("ld.global.nc.", "ld.global.").splitlines()
    assert "ld.global.nc." in plain


def _listed(text: str, folder: Path) -> list[str]:
    """Return machine code for Hopper."""
    assembler, reader = tool_of("cuda_nvcc", "ptxas"), tool_of("cu1*", "nvdisasm")
    if assembler is None or reader is None:
        pytest.skip("ptxas or nvdisasm are not installed (nvidia-cuda-nvcc-cu12, nvidia-cuda-nvdisasm)")
    (folder / "kernel.ptx").write_text(text)
    subprocess.run([assembler, "-arch=sm_90a", "kernel.ptx", "-o", "kernel.cubin"], check=True, timeout=60, cwd=folder)
    found = subprocess.run([reader, "kernel.cubin"], check=True, timeout=60, capture_output=True, text=True, cwd=folder)
    return found.stdout.splitlines()


def _require_order(lines: list[str]) -> None:
    wait = next(n for n, line in enumerate(lines) if "ACQBULK" in line)
    assert not [line for line in lines[:wait] if _MEMORY.search(line)]
    assert any(_MEMORY.search(line) for line in lines[wait:])
    assert not any("LDG" in line and "CONSTANT" in line for line in lines)


@pytest.mark.parametrize("name", [_named(about)[0] for about in ("library", "threads", "sorting", "probe")])
def test_machine_code_touches_no_memory_before_the_wait(name: str, tmp_path: Path) -> None:
    for dependents in _FIRST:
        _require_order(_listed(_ptx(verified(load_case(name).kernel), Bounds.TRUSTED, dependents), tmp_path))


def test_the_copy_engine_is_told_of_what_was_waited_for(tmp_path: Path) -> None:
    text = LlvmTarget(_WIDE).compile(WIDE_PROBES[0].make().verified, Bounds.TRUSTED).data.decode()
    _require_wait(text, "waited")
    lines = _listed(text, tmp_path)
    _require_order(lines)
    places = [
        next(n for n, line in enumerate(lines) if word in line) for word in ("ACQBULK", "FENCE.VIEW.ASYNC.G", "UBLKCP")
    ]
    assert places == sorted(places)
