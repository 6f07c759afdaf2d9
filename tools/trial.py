"""Tries what a user installs: Loom's wheel in a fresh environment, proved, with the documents' blocks run in it.

Standard library only. Invariant: nothing of the clone is imported there but ``examples/``, which the README names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.documents import ROOT, Block, blocks, run_command, run_program
from tools.extras import EXTRAS

__all__ = ["FOLDER", "Environment", "Trial"]

FOLDER = ROOT / "build/environments"
_README = [ROOT / "README.md"]
_MISSING = re.compile(r"No module named '(\w+)|pip install (?:--force-reinstall )?'loom-compute\[(\w+)\]")
_COMPILER = "llvmlite"
"""Environments that have the same version of it share the code that it compiled, whose key is the text of that code in
Loom's own language: ``loom verify`` computes every case anew, and is minutes shorter."""


@dataclass(frozen=True)
class Environment:
    """What a user may have: an interpreter, extras, pins. ``proves``: prove all layers, and run the README."""

    name: str
    python: str
    extra: str = ""
    pins: tuple[str, ...] = ()
    proves: bool = True


class Fallen(Exception):
    """A step of a trial that did not do what it must; its text says why."""


@dataclass
class Trial:
    """One environment, from its making to its last block; ``notes`` are what the record tells besides."""

    environment: Environment
    wheel: Path
    say: Callable[[str], None]
    notes: list[str] = field(default_factory=list[str])
    seconds: float = 0.0
    version: str = ""

    def run(self) -> bool:
        """Make the environment, try everything in it, remove it; tell whether all of it passed."""
        home = FOLDER / self.environment.name
        shutil.rmtree(home, ignore_errors=True)
        begun, passed = time.monotonic(), True
        try:
            with tempfile.TemporaryDirectory() as work:
                self._install(home)
                for what, step in self._steps(home / "bin/python", Path(work)):
                    start = time.monotonic()
                    step()
                    self.say(f"  {what}: {time.monotonic() - start:.0f} s")
        except Fallen as reason:
            passed = False
            self.notes.append(str(reason).splitlines()[0])
            self.say(f"  FAILED: {reason}")
        finally:
            shutil.rmtree(home, ignore_errors=True)
        self.seconds = time.monotonic() - begun
        return passed

    def _install(self, home: Path) -> None:
        _call([self.environment.python, "-m", "venv", home], "venv")
        wanted = f"loom-compute[{self.environment.extra}]" if self.environment.extra else "loom-compute"
        _call([home / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check",
               f"{wanted} @ {self.wheel.as_uri()}", *self.environment.pins], "pip install")  # fmt: skip

    def _steps(self, python: Path, work: Path) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield the name of each step, and what does it."""
        self._surroundings(python)
        if self.environment.proves:
            fresh = [python, "-m", "loom", "verify", "--fresh"]
            yield "loom verify", lambda: _call(fresh, "loom verify", work, self.settings)
            if not self.environment.extra:  # here all is compiled, by this Python and this llvmlite
                self.settings["LOOM_CACHE_DIR"] = str(work / "cache")
            for block in blocks(_README, "python"):
                yield block.name, lambda block=block: self._program(python, block, work, strict=True)
            for block in blocks(_README, "sh"):
                for words in block.commands():
                    yield " ".join(words), lambda words=words: _check(run_command(python, words, self.settings), words)
        about = EXTRAS[self.environment.extra] if self.environment.extra else None
        for n, door in enumerate(about.doors if about else ()):
            block = Block(f"door {n + 1} of {self.environment.extra}", "python", door)
            yield block.name, lambda block=block: self._program(python, block, work, strict=True)
        for block in blocks(about.documents() if about else (), "python"):
            yield block.name, lambda block=block: self._program(python, block, work, strict=False)

    def _surroundings(self, python: Path) -> None:
        """Set what programs see: nothing of the clone, and a cache that is theirs who have the same compiler."""
        code = (
            "import platform; from importlib.metadata import version; print(platform.python_version(), version({!r}))"
        )
        self.version, compiler = _call([python, "-c", code.format(_COMPILER)], "python").split()
        hidden = ("PYTHON", "LOOM_", "VIRTUAL_ENV")
        self.settings = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
        self.settings["LOOM_CACHE_DIR"] = str(FOLDER / "cache" / f"{_COMPILER}-{compiler}")
        self.say(f"  Python {self.version}, {_COMPILER} {compiler}")

    def _program(self, python: Path, block: Block, work: Path, *, strict: bool) -> None:
        """Run a block; of those of a guide (not ``strict``) one may ask for another package, which is noted."""
        done = run_program(python, block.text, work, self.settings)
        if done.stdout.startswith("no device:"):
            self.notes.append(" ".join(done.stdout.split())[:160])
        other = _other(done.stderr, self.environment.extra, block) if done.returncode and not strict else ""
        if other:
            self.notes.append(f"{block.name} asks for {other}")
        else:
            _check(done, block.name)


def _other(error: str, extra: str, block: Block) -> str:
    """Return the package or extra that a block asks for beyond its own extra; none for any other error."""
    found = _MISSING.findall(error)
    module, asked = found[-1] if found else ("", "")
    imports = bool(module) and re.search(rf"^\s*(import|from) {module}\b", block.text, re.MULTILINE) is not None
    return f"[{asked}]" if asked and asked != extra else module if imports else ""


def _check(done: subprocess.CompletedProcess[str], what: object) -> str:
    if done.returncode:
        raise Fallen(f"{what}: exit status {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def _call(command: list[object], what: str, folder: Path | None = None, settings: dict[str, str] | None = None) -> str:
    """Return what a command prints; Fallen if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=settings, capture_output=True, text=True, check=False)
    return _check(done, what)
