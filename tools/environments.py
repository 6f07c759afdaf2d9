"""``make environments``: tries Loom's wheel where users have it, one environment after the other, and keeps answers.

Environments: ``bare`` (the wheel and nothing else), each extra alone by its name, ``oldest`` (the oldest versions that
``pyproject.toml`` admits) and ``oldest-EXTRA``, and ``python3.X`` for every interpreter that the machine can get. Each
answer is a row of ``docs/guide/environments.md``; what passed with this wheel is not run again. Names, which may have
wildcards, choose some (``make environments ONLY="python3.* onnx"``); ``turn`` is the extra whose turn it is: each
commit has the next one.

``python -m tools.environments [--brief] [--again] [NAME ...]``: ``--brief`` keeps no answers, and of an extra runs its
guide alone, as CI does. Standard library only. The exit status is 1 if one fell.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from functools import partial
from hashlib import sha256
from pathlib import Path

from tools.documents import ROOT
from tools.extras import EXTRAS
from tools.trial import Environment, Trial

PAGE = ROOT / "docs/guide/environments.md"
NEWEST_MINOR = 14
"""Of the Pythons that are looked for, from 3.10 on."""

_REQUIRED = re.compile(r"^Requires-Dist: (?P<name>[\w.-]+)(?P<more>\[[^]]*\])?(?P<spec>[^;\n]*)(?P<mark>;.*)?$", re.M)
_ROW = re.compile(r"^\| `(?P<name>[\w.-]+)` \|.*\| `(?P<wheel>\w+)` \|.*$", re.M)
_HEAD = "| environment | Python | result | seconds | date | commit | wheel | notes |\n" + "| --- " * 8 + "|\n"


# what there is to try


def requirements(wheel: Path) -> Iterator[tuple[str, str, str]]:
    """Yield what a wheel asks for: a requirement, its oldest version as a pin, the extra it belongs to (or "")."""
    with zipfile.ZipFile(wheel) as file:
        name = next(n for n in file.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = file.read(name).decode().partition("\n\n")[0]
    for found in _REQUIRED.finditer(metadata):
        least = re.search(r"(?:>=|==)\s*([\w.]+)", found["spec"])
        extra = re.search(r"extra == ['\"](\w+)['\"]", found["mark"] or "")
        whole = f"{found['name']}{found['spec'].strip()}"
        yield whole, f"{found['name']}=={least[1]}" if least else whole, extra[1] if extra else ""


def environments(wheel: Path, patterns: list[str]) -> Iterator[Environment]:
    """Yield the environments whose names fit a pattern; an interpreter that is not to be had as one without."""
    wanted = list(requirements(wheel))
    torch = tuple(whole for whole, _, extra in wanted if extra == "test" and whole.startswith("torch=="))
    oldest = tuple(pin for _, pin, extra in wanted if not extra)
    makers: dict[str, Callable[[], Environment]] = {
        "bare": lambda: Environment("bare", sys.executable),
        "oldest": lambda: Environment("oldest", sys.executable, pins=oldest),
    }
    for minor in range(10, NEWEST_MINOR + 1):
        makers[f"python3.{minor}"] = lambda minor=minor: Environment(f"python3.{minor}", interpreter(minor))
    for extra in EXTRAS:
        pins = tuple(pin for _, pin, other in wanted if other == extra)
        makers[extra] = partial(Environment, extra, sys.executable, extra, torch if extra == "torch" else ())
        if extra != "torch":  # whose older wheels on PyPI bring CUDA
            name = f"oldest-{extra}"
            makers[name] = partial(Environment, name, sys.executable, extra, oldest + pins, proves=False)
    if unknown := [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in makers)]:
        raise SystemExit(
            f"[tools.environments] no such environment: expected turn, {', '.join(makers)}, or wildcards, "
            f'got {", ".join(map(repr, unknown))}. Name some: make environments ONLY="oldest python3.*"'
        )
    for name, make in makers.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            yield make()


def interpreter(minor: int) -> str:
    """Return the path of a Python 3.``minor``: on PATH, in pyenv, or of Debian, which is asked for it; "" for none."""
    name = f"python3.{minor}"
    folders = [Path(p) for p in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [Path(sys.executable), *(f / name for f in folders), *sorted(pyenv.glob(f"3.{minor}.*/bin/{name}"))]
    usable = next((str(path) for path in found if _is_usable(path, minor)), "")
    if not usable and shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "install", "-y", "-qq", name, f"{name}-venv"], capture_output=True, check=False)
        usable = f"/usr/bin/{name}" if _is_usable(Path("/usr/bin") / name, minor) else ""
    return usable


def _is_usable(path: Path, minor: int) -> bool:
    """Tell whether a path is that Python, with what makes virtual environments."""
    code = f"import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, {minor}))"
    try:
        return path.exists() and not subprocess.run([path, "-c", code], capture_output=True, check=False).returncode
    except OSError:
        return False


def turn() -> str:
    """Return the extra whose turn it is by the number of commits; those that are large are left to the matrix."""
    names = [name for name, extra in EXTRAS.items() if not extra.is_large]
    return names[int(_git("rev-list", "--count", "HEAD") or 0) % len(names)]


# answers


def digest(wheel: Path) -> str:
    """Return eight digits that change with what the wheel installs: its files, and what it asks for."""
    total = sha256()
    with zipfile.ZipFile(wheel) as file:
        for name in sorted(file.namelist()):
            data = file.read(name)
            data = data.partition(b"\n\n")[0] if name.endswith("/METADATA") else data  # without the README
            total.update(b"" if name.endswith("/RECORD") else name.encode() + b"\0" + data)
    return total.hexdigest()[:8]


def passed_before(name: str, wheel: str) -> bool:
    """Tell whether an environment passed with this very wheel."""
    rows = _ROW.finditer(PAGE.read_text(encoding="utf-8"))
    return any(row["name"] == name and row["wheel"] == wheel and "| passed |" in row[0] for row in rows)


def keep(name: str, row: str) -> None:
    """Write an environment's row into the page, in place of its older one; rows stand in order of their names."""
    text = PAGE.read_text(encoding="utf-8")
    rows = {found["name"]: found[0] for found in _ROW.finditer(text)} | {name: row}
    before = text.partition(_HEAD)[0]
    after = _ROW.sub("", text.partition(_HEAD)[2]).strip()
    table = "\n".join(rows[n] for n in sorted(rows))
    PAGE.write_text(f"{before}{_HEAD}{table}\n" + (f"\n{after}\n" if after else ""), encoding="utf-8")


def row_of(trial: Trial, passed: bool, wheel: str) -> str:
    """Return an answer as a row of the table."""
    day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    notes = "; ".join(dict.fromkeys(trial.notes)).replace("|", "/")
    cells = [f"`{trial.environment.name}`", trial.version, "passed" if passed else "**failed**",
             f"{trial.seconds:.0f}", day, _git("rev-parse", "--short=8", "HEAD"), f"`{wheel}`", notes]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def try_one(environment: Environment, wheel: Path, mark: str, *, brief: bool) -> bool:
    """Try an environment and keep the answer, unless it is to be ``brief``; tell whether it passed."""
    name = environment.name
    if brief and environment.extra:
        environment = replace(environment, proves=False)
    print(f"{name}:", flush=True)
    trial = Trial(environment, wheel, lambda line: print(line, flush=True))
    passed = trial.run()
    answer = f"{name}: {'passed' if passed else 'FAILED'} in {trial.seconds:.0f} s"
    print(answer, *trial.notes, sep="\n  ", flush=True)
    if not brief:
        keep(name, row_of(trial, passed, mark))
    return passed


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="tools.environments", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="environments; wildcards; 'turn': the extra whose turn it is")
    parser.add_argument("--brief", action="store_true", help="as CI: keep no answers, of extras run the guide alone")
    parser.add_argument("--again", action="store_true", help="run what passed with this wheel as well")
    return parser.parse_args()


def wheel_in(folder: Path) -> Path:
    """Return the one wheel of a folder."""
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        got = ", ".join(path.name for path in wheels) or "none"
        raise SystemExit(f"[tools.environments] no wheel to try: expected one in {folder}, got {got}. Run make dist")
    return wheels[0]


def main() -> int:
    """Try the environments that are named, or all; return 1 if one fell."""
    asked = arguments()
    wheel = wheel_in(ROOT / "dist")
    if not asked.brief and _HEAD not in PAGE.read_text(encoding="utf-8"):
        raise SystemExit(
            f"[tools.environments] no table for answers: expected its head in {PAGE}. Run git checkout {PAGE}"
        )
    patterns = [turn() if name == "turn" else name for name in asked.names] or ["*"]
    mark, passed, fallen = digest(wheel), list[str](), list[str]()
    for environment in environments(wheel, patterns):
        if not environment.python:
            print(f"{environment.name}: not to be had: not on PATH, not in pyenv, not of Debian", flush=True)
        elif not (asked.brief or asked.again) and passed_before(environment.name, mark):
            print(f"{environment.name}: passed before with this wheel", flush=True)
            passed.append(environment.name)
        else:
            (passed if try_one(environment, wheel, mark, brief=asked.brief) else fallen).append(environment.name)
    print(f"environments: {len(passed)} passed, {len(fallen)} failed", *fallen)
    return 1 if fallen or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
