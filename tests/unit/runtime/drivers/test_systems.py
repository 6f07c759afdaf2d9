"""The worker threads of other systems: Windows' run under Wine, macOS' are linked; all are LLVM IR that is sound."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from loom.core.errors import DeviceError
from loom.runtime.drivers.cpu.walker import walker_source
from loom.targets.llvm.machine import emit, machine

MAIN = Path(__file__).with_name("walker_main.c")
SYSTEMS = {
    "x86_64-linux-gnu": ("Linux", "x86_64", "x86-64", "x86_64-unknown-linux-gnu"),
    "x86_64-windows-gnu": ("Windows", "AMD64", "x86-64", "x86_64-pc-windows-gnu"),
    "x86_64-macos": ("Darwin", "x86_64", "x86-64", "x86_64-apple-macosx11.0.0"),
    "aarch64-macos": ("Darwin", "arm64", "aarch64", "arm64-apple-macosx11.0.0"),
    "aarch64-linux-musl": ("Linux", "aarch64", "aarch64", "aarch64-unknown-linux-gnu"),
    "aarch64-windows-gnu": ("Windows", "ARM64", "aarch64", "aarch64-pc-windows-gnu"),
}


def written(system: str) -> bytes:
    """Return the walker's object code for one of ``SYSTEMS``."""
    name, processor, code, triple = SYSTEMS[system]
    target = replace(machine(code), triple=triple)
    return emit(walker_source(name, processor, triple), replace(target, optimised=False), "object")


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_walker_is_sound_for_every_system(system: str) -> None:
    heads = {"linux": b"\x7fELF", "macos": b"\xcf\xfa\xed\xfe", "windows": b"\x64\x86"}
    if system == "aarch64-windows-gnu":
        heads["windows"] = b"\x64\xaa"
    assert written(system).startswith(heads[system.split("-")[1]])


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_threads_of_every_system(system: str, tmp_path: Path) -> None:
    """Each group of each batch runs once, after the batch before, and waits end; where it can be run it is."""
    (tmp_path / "walker.o").write_bytes(written(system))
    program = tmp_path / ("main.exe" if "windows" in system else "main")
    command = [
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        "-target",
        system,
        "-O1",
        "-o",
        program,
        MAIN,
        tmp_path / "walker.o",
    ]
    if "linux" in system:
        command.append("-lpthread")
    if "musl" in system:
        command.append("-static")
    if "x86_64" in system:
        command.append("-mcpu=x86_64_v2")
    subprocess.run(command, check=True, capture_output=True)
    runner = {"x86_64-linux-gnu": [], "x86_64-windows-gnu": ["wine"], "aarch64-linux-musl": ["qemu-aarch64-static"]}
    if system not in runner:
        return  # linked: nothing here runs it
    if runner[system] and shutil.which(runner[system][0]) is None:
        pytest.skip(f"{runner[system][0]} is not installed: linked, not run")
    quiet = {**os.environ, "WINEDEBUG": "-all", "WINEPREFIX": str(tmp_path / "wine")}
    done = subprocess.run(
        [*runner[system], program], capture_output=True, text=True, timeout=300, env=quiet, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr


def test_other_systems_are_refused() -> None:
    with pytest.raises(DeviceError, match="expected Linux, macOS or Windows on x86-64 or AArch64, got Plan9 on mips"):
        walker_source("Plan9", "mips", "mips")
