"""``loom demo``: runs the main job; prints answers, times and digests, and says if they are as committed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from loom.cli.demos.demo import DemoLine, DemoSize

__all__ = ["demo"]

DIFFERENT_EXIT_CODE = 1


def demo(
    device: Annotated[str | None, typer.Option("--device", help="Where to run (see 'loom devices').")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Less: primes below 10^7, 10^6 numbers, 1 epoch on one device.")
    ] = False,
    menu: Annotated[
        bool, typer.Option("--menu", help="Choose from a menu: networks of each kind, CPU against GPU.")
    ] = False,
    choice: Annotated[int | None, typer.Option("--choice", help="With --menu: this option alone, then end.")] = None,
) -> None:
    """Count the primes below 10^9; sum and map 10^8 numbers; train a network on every device; compare all bits.

    The network tells handwritten digits apart; without --device it is trained on every device but the interpreter.
    Each time is that of one call, kernels compiled by this process included.
    """
    if menu or choice is not None:
        _run_menu(device, json, quick, choice, menu)
        return
    import loom
    from loom.cli.demos import demo as job
    from loom.cli.demos import demo_digits as digits
    from loom.cli.inputs.output import print_json

    size = job.QUICK if quick else job.FULL
    where = loom.device(device)
    lines = _print_lines(job.run_demo(size, where), json)
    total = job.digest_of_lines(lines)
    if not json:
        typer.echo(f"all of it{'sha256 ':>23}{total}")
    trained: list[DemoLine] = []
    if digits.has_digits():
        trained = _print_lines(digits.train_digits(size.epochs, digits.digits_devices(device, quick=quick)), json)
    else:
        typer.echo(digits.MISSING, err=True)
    different = job.differences(size, lines)
    different += [line.what for line in trained if line.sha256 != digits.golden_digest(size.epochs)]
    if json:
        print_json(_as_json(size, where.name, lines, total, trained, different))
    _print_verdict(different, where.name, json)


def _run_menu(device: str | None, json: bool, quick: bool, choice: int | None, menu: bool) -> None:
    """Run one choice, or ask for choices until 0 or the end of what is read."""
    import loom
    from loom.cli.demos.menu import OPTIONS, option_of
    from loom.cli.inputs.output import print_json
    from loom.core.errors import ArgumentError, LoomError

    if quick or not menu or (json and choice is None):
        told = "--quick" if quick else "--choice without --menu" if not menu else "--json without --choice"
        raise ArgumentError("loom demo --menu", f"{told} has no effect here", expected="--menu, or --menu --choice N",
                            got=told, remedy="Leave it out")  # fmt: skip
    where = None if device is None else loom.device(device).name
    if choice is not None:
        option = option_of(str(choice), asked=False)
        lines = list(_echo(option.run(where), quiet=json))
        if json:
            print_json({"choice": choice, "title": option.title, "lines": lines})
        return
    while True:
        for number, option in OPTIONS.items():
            typer.echo(f"{number:>3}  {option.title}")
        typer.echo("  0  Leave\nchoice> ", nl=False)
        line = sys.stdin.readline()
        if not line or line.strip() == "0":
            typer.echo("" if line else "\nend of input")
            return
        try:
            list(_echo(option_of(line).run(where)))
        except LoomError as error:
            typer.echo(f"loom: {' '.join(str(error).split())}", err=True)


def _echo(lines: Iterable[str], quiet: bool = False) -> Iterator[str]:
    """Yield lines, each printed when it is there unless ``quiet``."""
    for line in lines:
        if not quiet:
            typer.echo(line)
        yield line


def _print_lines(lines: Iterable[DemoLine], json: bool) -> list[DemoLine]:
    """Print each line when it is there, unless ``json``; return them all."""
    found: list[DemoLine] = []
    for line in lines:
        found.append(line)
        if not json:
            _print_line(line)
    return found


def _print_line(line: DemoLine) -> None:
    typer.echo(f"{line.what:<28}  {_answer_text(line.answer):<28}  {line.seconds:>8.3f} s")
    typer.echo(f"{'sha256':>31} {line.sha256}")


def _answer_text(answer: Any) -> str:
    if isinstance(answer, str):
        return answer
    if isinstance(answer, list):
        return f"{answer[0]!r}, ..., {answer[-1]!r}"
    return f"{answer:,}" if isinstance(answer, int) else repr(answer)


def _as_json(
    size: DemoSize, device: str, lines: list[DemoLine], total: str, trained: list[DemoLine], different: list[str]
) -> dict[str, Any]:
    return {
        "size": asdict(size),
        "device": device,
        "lines": [asdict(line) for line in lines],
        "sha256": total,
        "digits": [asdict(line) for line in trained],
        "same_as_committed": not different,
        "different": different,
    }


def _print_verdict(different: list[str], device: str, json: bool) -> None:
    """Say how the digests compare; a difference ends the command with exit code 1."""
    if different:
        typer.echo(
            f"loom: the results differ from the committed ones on {device}: {', '.join(different)}. "
            "Loom promises the same bits everywhere, so this is a bug: please report it with 'loom devices'.",
            err=True,
        )
        raise typer.Exit(DIFFERENT_EXIT_CODE)
    if not json:
        typer.echo("same as committed")
