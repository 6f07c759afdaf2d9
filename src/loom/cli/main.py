"""The command ``loom``: its options, its commands, and how errors are shown.

Layer: cli. Invariant: a LoomError, or a path that cannot be used, becomes one line on stderr and exit
code 2, never a traceback, unless ``--debug`` asks for one.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from loom.cli.commands import (
    bench,
    cluster,
    convert,
    db,
    demo,
    devices,
    explain,
    export,
    init,
    inspect,
    ir,
    monitor,
    networks,
    primes,
    search,
    train,
    vectors,
    verify,
)
from loom.cli.models import audit, chat, embed, generate, serve
from loom.core.errors import LoomError
from loom.core.version import __version__

__all__ = ["app", "main"]

ERROR_EXIT_CODE = 2


class _Commands(TyperGroup):
    """The command group; turns Loom's errors into messages."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command asked for."""
        try:
            return super().invoke(ctx)
        except LoomError as error:
            _show(error, debug=bool(ctx.params.get("debug")))
            raise typer.Exit(ERROR_EXIT_CODE) from None
        except OSError as error:
            if ctx.params.get("debug") or error.filename is None:  # None: no path of anybody
                raise
            typer.echo(f"loom: [{error.filename}] {error.strerror}. Check the path.", err=True)
            raise typer.Exit(ERROR_EXIT_CODE) from None


def _show(error: LoomError, *, debug: bool) -> None:
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    else:
        typer.echo(f"loom: {' '.join(str(error).split())}", err=True)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Loom: kernels written once in Python, the same bits everywhere.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"loom {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Loom: kernels written once in Python, the same bits everywhere."""


app.command("convert")(convert.convert)
app.command("devices")(devices.devices)
app.command("demo")(demo.demo)
app.command("primes")(primes.primes)
app.command("explain")(explain.explain)
app.command("export")(export.export)
app.command("ir")(ir.ir)
app.command("verify")(verify.verify)
app.command("monitor")(monitor.monitor)
app.command("init")(init.init)
app.command("train")(train.train)
app.command("search")(search.search)
app.command("eval")(networks.evaluate)
app.command("infer")(networks.infer)
app.command("inspect")(inspect.inspect)
app.command("generate")(generate.generate)
app.command("chat")(chat.chat)
app.command("embed")(embed.embed)
app.command("serve")(serve.serve)
app.command("audit")(audit.audit)
app.add_typer(bench.commands, name="bench")
app.add_typer(cluster.commands, name="cluster")
app.add_typer(db.commands, name="db")
app.add_typer(vectors.commands, name="vectors")


def main() -> None:
    """Run the command line of this process; output that cannot be written (a full disk) is one line, as errors are."""
    try:
        app(prog_name="loom")
    except OSError as error:
        if "--debug" in sys.argv:
            raise
        sys.stderr.write(f"loom: [output] {error.strerror}. Let it go elsewhere.\n")
        sys.stderr.flush()
        os._exit(ERROR_EXIT_CODE)  # what is left to be written would fail again
