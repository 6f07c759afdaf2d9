"""``loom db import|query|tables``: tables in ``.odb`` files."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from loom.tables.database import Database

__all__ = ["commands"]

commands = typer.Typer(no_args_is_help=True, help="Tables in .odb files: import CSV, run SQL, list tables.")

File = Annotated[Path, typer.Argument(metavar="FILE.odb", help="A database.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@commands.command("import")
def import_csv(
    source: Annotated[Path, typer.Argument(metavar="FILE.csv", help="Its first line names the columns.")],
    target: Annotated[Path, typer.Argument(metavar="FILE.odb", help="A database, made if it is not there.")],
    table: Annotated[str | None, typer.Option("--table", help="Else as the CSV file is called.")] = None,
    types: Annotated[
        str | None, typer.Option("--types", help="Of some columns: zip=str,born=date; else by what all cells are.")
    ] = None,
    separator: Annotated[str, typer.Option("--separator", help="Between cells; \\t for a tab.")] = ",",
    encoding: Annotated[str | None, typer.Option("--encoding", help="Else UTF-8, or what its mark says.")] = None,
    append: Annotated[bool, typer.Option("--append", help="Into a table that is there.")] = False,
) -> None:
    """Import a CSV file as a table: all of its rows, or none and the line that is at fault.

    Example: loom db import people.csv app.odb --types zip=str
    """
    from loom.core.errors import ArgumentError
    from loom.tables.database import Database

    name = source.stem if table is None else table
    options: dict[str, Any] = {"separator": "\t" if separator == "\\t" else separator, "encoding": encoding}
    if append and types is not None:
        raise ArgumentError("loom db import, --types", "the table that is there has its types", remedy="Leave it out")
    with Database(target) as db, _progress(f"{source.name} into {name}") as told:
        if append:
            rows = db.table(name).import_csv(source, progress=told, **options)
        else:
            rows = db.import_csv(source, name, types=_types(types), progress=told, **options).count()
        columns = db.table(name).columns
    typer.echo(f"{rows:,} rows in {name}: {', '.join(f'{n} {t}' for n, t in columns.items())}")


def _types(given: str | None) -> dict[str, str]:
    from loom.core.errors import ArgumentError

    found: dict[str, str] = {}
    for each in (given or "").split(",") if given else ():
        name, sign, kind = each.rpartition("=")
        if not sign or not name:
            raise ArgumentError("loom db import, --types", f"{each!r} is no type of a column", expected="name=type",
                                remedy="Write zip=str,born=date")  # fmt: skip
        found[name] = kind
    return found


@contextmanager
def _progress(what: str) -> Generator[Any, None, None]:
    """Give what is told of rows done: a bar on a terminal, nothing elsewhere."""
    import sys

    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(what), total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show


@commands.command("query")
def query(
    file: File,
    statement: Annotated[str, typer.Argument(metavar="SQL", help="One statement.")],
    params: Annotated[
        list[str] | None, typer.Option("--param", help="A text to bind to ?; may be given again.")
    ] = None,
    json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Run one statement of SQL and print its rows.

    Example: loom db query app.odb "select city, avg(age) from people group by city"
    """
    from loom.core.errors import ArgumentError
    from loom.tables.guards import only_reads

    if json and as_csv:
        raise ArgumentError("loom db query", "two forms at once", expected="--json or --csv", got="both",
                            remedy="Pass one of them")  # fmt: skip
    with _open(file, read_only=only_reads(statement)) as db:
        found = db.sql(statement, params or [])
    if json:
        from loom.cli.inputs.output import print_json

        if any(isinstance(value, float) and math.isinf(value) for row in found.tuples() for value in row):
            raise ArgumentError("loom db query", "JSON has no infinity", got="a column with one",
                                remedy="Pass --csv, or leave its rows out")  # fmt: skip
        print_json([{name: _plain(value) for name, value in row.items()} for row in found])
    elif as_csv:
        _print_csv(found.columns, found.tuples())
    elif found.columns:
        from loom.cli.inputs.output import print_table

        print_table(found.columns, [[_text(value) for value in row] for row in found.tuples()])
    else:
        typer.echo(f"{found.changed} rows changed")


@commands.command("tables")
def tables(file: File, json: Json = False) -> None:
    """List the tables of a database: rows, deleted rows, columns."""
    from loom.cli.inputs.output import print_json, print_table

    with _open(file, read_only=True) as db:
        found: list[dict[str, Any]] = [
            {"table": name, "rows": table.count(), "deleted": table.deleted().count(), "columns": table.columns}
            for name, table in ((name, db.table(name)) for name in db.tables())
        ]
    if json:
        print_json(found)
        return
    rows = [
        [t["table"], f"{t['rows']:,}", f"{t['deleted']:,}", ", ".join(f"{n} {k}" for n, k in t["columns"].items())]
        for t in found
    ]
    print_table(["table", "rows", "deleted", "columns"], rows)


def _open(file: Path, *, read_only: bool) -> Database:
    from loom.core.errors import FileError
    from loom.tables.database import Database

    if not file.exists():
        raise FileError("loom db", f"there is no file {file}", remedy="Make one: loom db import FILE.csv FILE.odb")
    return Database(file, read_only=read_only)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    return value.hex() if isinstance(value, bytes) else value


def _text(value: Any) -> str:
    """Return a value on one line, without what a terminal would obey."""
    text = "" if value is None else " ".join(str(_plain(value)).splitlines())
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _print_csv(columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    import csv
    import io

    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_plain(value) for value in row] for row in rows)
    typer.echo(out.getvalue(), nl=False)
