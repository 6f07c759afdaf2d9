"""A Python of AArch64 under qemu, with what Loom depends on: where the package itself is proved on another processor.

``python -m tools.aarch64 -m loom verify --layer 1`` runs it. Debian's packages for arm64 are unpacked into
``build/aarch64`` (nothing of this machine changes), wheels come from pip, and ``qemu-aarch64-static`` runs both.
Invariant: the interpreter, its libraries and every compiled wheel are those that an AArch64 machine of Debian 12 would
run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

__all__ = ["Missing", "command", "prepare"]

ROOT = Path(__file__).parents[1]
_QEMU = "qemu-aarch64-static"
_VERSION = "3.11"
_DEBS = ("python3.11", "libstdc++6", "libgcc-s1", "zlib1g", "libffi8", "ca-certificates")
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
_SECONDS = 900


class Missing(Exception):
    """What cannot be had here, and why."""


def prepare(folder: Path | None = None) -> Path:
    """Return a folder with the root of a Debian and the wheels, made if it is not there; Missing tells what lacks."""
    if shutil.which(_QEMU) is None:
        raise Missing(f"{_QEMU} is not installed: make system, or apt-get install qemu-user-static")
    made = folder or ROOT / "build" / "aarch64"
    if not (made / "whole").exists():
        if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
            raise Missing("apt-get and dpkg, which fetch and unpack Debian's packages for arm64, are not there")
        shutil.rmtree(made, ignore_errors=True)
        _unpack_debian(made)
        _fetch_wheels(made)
        (made / "whole").touch()
    return made


def command(made: Path, *words: str) -> list[str]:
    """Return the command that runs Python of such a folder with these words, Loom's sources of this clone imported."""
    told = {"PYTHONHOME": made / "root" / "usr", "PYTHONPATH": f"{ROOT / 'src'}:{made / 'wheels'}"}
    settings = [part for name, value in told.items() for part in ("-E", f"{name}={value}")]
    return [
        _QEMU,
        "-L",
        str(made / "root"),
        *settings,
        str(made / "root" / "usr" / "bin" / f"python{_VERSION}"),
        *words,
    ]


def _unpack_debian(made: Path) -> None:
    """Fetch packages and what they depend on by a state of apt that is the folder's own; unpack them."""
    for part in ("lists/partial", "cache/archives/partial", "root"):
        (made / part).mkdir(parents=True)
    (made / "status").touch()
    options = {
        "APT::Architecture": "arm64", "APT::Architectures": "arm64", "Dir::State::Lists": made / "lists",
        "Dir::Cache": made / "cache", "Dir::State::status": made / "status", "APT::Sandbox::User": "root",
        "APT::Install-Recommends": "false", "Debug::NoLocking": "true",
    }  # fmt: skip
    apt = ["apt-get", "-qq", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]
    _run([*apt, "update"], "Debian's lists of packages")
    _run([*apt, "-y", "--download-only", "install", *_DEBS], "Debian's packages for arm64")
    for deb in sorted((made / "cache" / "archives").glob("*.deb")):
        _run(["dpkg", "-x", str(deb), str(made / "root")], deb.name)


def _fetch_wheels(made: Path) -> None:
    """Install what Loom depends on, without extras, as wheels of AArch64."""
    wanted = [re.sub(r"\s", "", r) for r in requires("loom-compute") or () if "extra ==" not in r]
    words = ["install", "-q", "--target", str(made / "wheels"), "--only-binary", ":all:", "--implementation", "cp"]
    words += ["--python-version", _VERSION, *(part for name in _PLATFORMS for part in ("--platform", name))]
    _run([sys.executable, "-m", "pip", *words, *wanted], "wheels for AArch64")


def _run(words: list[str], what: str) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise Missing(f"{what} did not come within {_SECONDS} s") from None
    if done.returncode:
        raise Missing(f"{what} cannot be had: {(done.stderr or done.stdout).strip()[-300:]}")


def main() -> int:
    """Run Python with the words of the command line."""
    try:
        words = command(prepare(), *sys.argv[1:])
    except Missing as reason:
        print(f"aarch64: {reason}", file=sys.stderr)
        return 2
    return subprocess.run(words, check=False, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}).returncode


if __name__ == "__main__":
    sys.exit(main())
