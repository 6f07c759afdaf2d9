"""``loom bench``: runs the benchmarks of a checkout, in processes of their own; ``adapt`` is one of the package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from loom.cli.commands.adapt import adapt

__all__ = ["commands", "find_checkout"]

_OWN = ("adapt", "families", "--help")


class _Families(TyperGroup):
    """Takes what is no command of its own as the options of ``families``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments of ``loom bench``."""
        return super().parse_args(ctx, args if args[:1] and args[0] in _OWN else ["families", *args])


commands = typer.Typer(cls=_Families, help="Benchmarks: 'loom bench [FAMILY] [--json]', and 'loom bench adapt'.")
commands.command("adapt")(adapt)


@commands.command("families")
def families(
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
