"""``loom bench``: runs the benchmarks of a checkout, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["bench", "find_checkout"]


def bench(
    family: Annotated[str | None, typer.Argument(help="One family (default: all).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the benchmarks in bench/ of this checkout: checked, warmed up, timed beside their peers."""
    root = find_checkout(Path(__file__), Path.cwd())
    command = [sys.executable, "-m", "bench"]
    command += [family] if family is not None else []
    command += ["--json"] if json else []
    package = str(Path(__file__).parents[3])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    sys.stdout.flush()
    raise typer.Exit(subprocess.run(command, cwd=root, env=environment, check=False).returncode)


def find_checkout(source: Path, here: Path) -> Path:
    """Return the checkout that ``source`` or else ``here`` lies in; ArgumentError if there is none."""
    from loom.core.errors import ArgumentError

    for folder in (*source.parents, here, *here.parents):
        if (folder / "bench" / "harness.py").is_file() and (folder / "src" / "loom").is_dir():
            return folder
    raise ArgumentError(
        "loom bench", "there are no benchmarks here", expected="a checkout with a folder 'bench'",
        got=str(here), remedy="The installed package has none: run this inside a clone of the repository",
    )  # fmt: skip
