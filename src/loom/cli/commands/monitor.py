"""``loom monitor``: units, queues, memory and paces of the processes that show themselves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["monitor", "view"]

_COLUMNS = ("unit", "device", "memory", "runs", "under way", "recorded", "last", "baseline", "pace")
_NOBODY = "No process shows itself: start one with LOOM_MONITOR=1, or call loom.publish() in it."


def monitor(
    once: Annotated[bool, typer.Option("--once", help="Print one picture and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and stop.")] = False,
    interval: Annotated[float, typer.Option("--interval", min=0.1, help="Seconds between two pictures.")] = 0.5,
) -> None:
    """Show units, queues, memory and paces of running processes, live.

    Processes started with LOOM_MONITOR=1, or that called loom.publish(), are shown. Ctrl-C stops.
    """
    from loom.cli.inputs.output import is_terminal, print_json, print_table
    from loom.runtime.units.monitor import list_processes

    if json:
        print_json({"version": 1, "processes": list_processes()})
    elif is_terminal() and not once:
        _live(interval)
    else:
        shown = list_processes()
        for process in shown:
            typer.echo(_title(process))
            print_table(_COLUMNS, [_row(unit) for unit in process["units"]])
        if not shown:
            typer.echo(_NOBODY)


def _live(interval: float) -> None:
    from rich.live import Live

    from loom.runtime.units.monitor import list_processes

    with Live(view(list_processes()), screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(interval)
                live.update(view(list_processes()), refresh=True)
        except KeyboardInterrupt:
            return


def view(processes: list[dict[str, Any]]) -> RenderableType:
    """Return the picture of what processes show."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    tables: list[Table] = []
    for process in processes:
        table = Table(title=escape(_title(process)), title_justify="left", expand=True)
        for n, column in enumerate(_COLUMNS):
            table.add_column(column, justify="left" if n < 2 else "right", no_wrap=n == 0)
        for unit in process["units"]:
            table.add_row(*(escape(cell) for cell in _row(unit)))
        tables.append(table)
    return Group(*tables) if tables else Group(_NOBODY)


def _title(process: dict[str, Any]) -> str:
    budget = "" if process["budget_nbytes"] is None else f" of {_memory(process['budget_nbytes'])}"
    runs = sum(unit["submissions"] for unit in process["units"])
    return (
        f"{process['pid']} {process['command']}: units {len(process['units'])}, "
        f"memory {_memory(process['nbytes'])}{budget}, runs {runs}"
    )


def _row(unit: dict[str, Any]) -> list[str]:
    state = f"{unit['name']} (parked)" if unit["parked"] else unit["name"]
    pace = "off" if unit["mode"] == "off" else _time(unit["pace_us"]) + (" set" if unit["mode"] == "fixed" else "")
    return [
        state, unit["device"], _memory(unit["nbytes"]), str(unit["submissions"]), str(unit["in_flight"]),
        str(unit["recorded"]), _time(unit["last_us"]), _time(unit["baseline_us"]), pace,
    ]  # fmt: skip


def _memory(nbytes: float) -> str:
    """Return a size for people.

    >>> _memory(3 << 20)
    '3.0 MiB'
    """
    for name in ("B", "KiB", "MiB"):
        if nbytes < 1024:
            return f"{nbytes:.1f} {name}" if name != "B" else f"{nbytes} B"
        nbytes /= 1024
    return f"{nbytes:.1f} GiB"


def _time(microseconds: float | None) -> str:
    """Return a time for people.

    >>> _time(1234.5)
    '1.23 ms'
    """
    if microseconds is None:
        return "-"
    return f"{microseconds:.0f} us" if microseconds < 1000 else f"{microseconds / 1e3:.2f} ms"
