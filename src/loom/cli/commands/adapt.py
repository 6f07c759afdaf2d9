"""``loom bench adapt``: how networks that learn while they work get over changes of their task."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from loom.nn.adapt.suite import Settings

__all__ = ["adapt"]

_QUICK_SEEDS = 3
_INTERRUPTED_EXIT_CODE = 130


def adapt(
    seeds: Annotated[int | None, typer.Option("--seeds", help="How many (default 100).")] = None,
    first_seed: Annotated[int, typer.Option("--first-seed", help="The first of them.")] = 0,
    modes: Annotated[str | None, typer.Option("--modes", help="normal,step,tween,... (default: all).")] = None,
    layers: Annotated[str | None, typer.Option("--layers", help="dense,conv2d,lstm,agents,... (default: all).")] = None,
    types: Annotated[str, typer.Option("--types", help="f32,f64,f16,bf16,int8,int16.")] = "f32",
    worlds: Annotated[str | None, typer.Option("--worlds", help="chase,classes (default: both).")] = None,
    noise: Annotated[str, typer.Option("--noise", help="Deviations of what is added to observations.")] = "0",
    total_ms: Annotated[int, typer.Option("--total-ms", help="How long a stream lasts.")] = 3000,
    window_ms: Annotated[int, typer.Option("--window-ms", help="In which answers are counted.")] = 50,
    changes: Annotated[int, typer.Option("--changes", help="Of the task, at equal intervals.")] = 2,
    block: Annotated[int, typer.Option("--block", help="Answers that modes without ticks learn from at once.")] = 20,
    rates: Annotated[str | None, typer.Option("--rates", help="normal=0.1,step=0.05 (default: tuned ones).")] = None,
    real_time: Annotated[bool, typer.Option("--real-time", help="By this machine's clock.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="3 seeds.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the rows of the --json file.")] = False,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Keep the results.")] = None,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Draw accuracy over time.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="Where to run (see 'loom devices').")] = None,
) -> None:
    """Measure accuracy, availability and recovery while the task changes, in virtual time: the same on every machine.

    Ctrl-C ends it; what is done is printed and kept in --json, and --resume goes on from there.

    Example: loom bench adapt --quick --layers dense,conv2d --json adapt.json --png adapt.png
    """
    from loom.cli.inputs.networks import require_place
    from loom.core.errors import ArgumentError
    from loom.nn.adapt.report import plots
    from loom.nn.adapt.suite import Settings

    if quick and seeds is not None:
        raise ArgumentError("loom bench adapt, --quick", "the number of seeds is told twice", expected="one of them",
                            got=f"--quick and --seeds {seeds}", remedy="Leave one out")  # fmt: skip
    told: dict[str, Any] = {"modes": modes, "layers": layers, "types": types, "worlds": worlds}
    given: dict[str, Any] = {name: _split_list(text) for name, text in told.items() if text is not None}
    settings = Settings(
        seeds=_QUICK_SEEDS if quick else 100 if seeds is None else seeds, first_seed=first_seed, **given,
        noise=[_number("--noise", v) for v in _split_list(noise)], total_ms=total_ms, window_ms=window_ms,
        changes=changes, block=block, rates=_rates(rates), real_time=real_time,
    )  # fmt: skip
    idle = [mode for mode in settings.rates if mode not in settings.modes]
    if idle:
        raise ArgumentError("loom bench adapt, --rates", "a rate has no effect", expected=", ".join(settings.modes),
                            got=", ".join(idle), remedy="Run that mode, or leave its rate out")  # fmt: skip
    require_place("loom bench adapt, --json", json, (".json",))
    require_place("loom bench adapt, --png", png, (".png",))
    if png is not None:
        plots()
    _run(settings, json, png, device, resume=resume)


def _run(settings: Settings, json: Path | None, png: Path | None, device: str | None, *, resume: bool) -> None:
    from loom.cli.inputs.output import seconds_text
    from loom.nn.adapt.report import save_png, write_results
    from loom.nn.adapt.suite import run_benchmark

    done = _rows_to_resume(settings, json) if resume else []
    kept: dict[str, Any] = {"rows": []}
    count, start = len(list(settings.rows())), time.perf_counter()

    def report(results: dict[str, Any]) -> None:
        kept.update(results)
        row = results["rows"][-1]
        if json is not None:  # with the rows that were done and are not reached yet, or not asked for
            known = [_key(each) for each in results["rows"]]
            left = [each for each in done if _key(each) not in known]
            write_results({**results, "rows": [*results["rows"], *left]}, json)
        what = " ".join(map(str, _key(row)))
        typer.echo(f"{len(results['rows'])}/{count} {what}", err=True)

    interrupted = False
    try:
        run_benchmark(settings, device=device, done=done, report=report)
    except KeyboardInterrupt:
        interrupted = True
    _print(kept)
    if png is not None and kept["rows"]:
        save_png(kept, png)
    where = [f"; results in {json}"] if json is not None and kept["rows"] else []
    if interrupted:
        typer.echo(f"interrupted after {len(kept['rows'])} of {count} rows{''.join(where)}", err=True)
        raise typer.Exit(_INTERRUPTED_EXIT_CODE)
    typer.echo(f"{count} rows of {settings.seeds} seeds in {seconds_text(time.perf_counter() - start)}{''.join(where)}")


def _key(row: dict[str, Any]) -> list[Any]:
    return [row[name] for name in ("world", "layers", "type", "noise", "mode")]


def _rows_to_resume(settings: Settings, json: Path | None) -> list[dict[str, Any]]:
    """Return the rows to go on from; ArgumentError without a file, and for rows of other settings."""
    from loom.core.errors import ArgumentError
    from loom.nn.adapt.report import read_results

    if json is None:
        raise ArgumentError("loom bench adapt, --resume", "there is no file to go on from", expected="--json FILE",
                            got="none", remedy="Name the file")  # fmt: skip
    if not json.exists():
        return []
    found = read_results(json)
    ours = settings.facts()
    other = [name for name in ours if found["settings"].get(name) != ours[name]]
    if other:
        raise ArgumentError("loom bench adapt, --resume", f"the rows in {json} are of other settings",
                            expected=", ".join(f"{n} {ours[n]}" for n in other)[:200],
                            got=", ".join(f"{n} {found['settings'].get(n)}" for n in other)[:200],
                            remedy="Name another file, or the same settings")  # fmt: skip
    return found["rows"]


def _print(results: dict[str, Any]) -> None:
    from loom.cli.inputs.output import print_table
    from loom.nn.adapt.report import robustness, table

    if not results["rows"]:
        return
    print_table(*table(results))
    noisy = robustness(results)
    if noisy:
        columns = ["world", "layers", "type", "mode", "robustness %"]
        print_table(columns, [[*(r[n] for n in columns[:-1]), f"{r['robustness']:.1f}"] for r in noisy])


def _split_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _number(option: str, text: str) -> float:
    from loom.core.errors import ArgumentError

    try:
        return float(text)
    except ValueError:
        raise ArgumentError(f"loom bench adapt, {option}", "not a number", expected="for example 0.5", got=text,
                            remedy="Correct it") from None  # fmt: skip


def _rates(text: str | None) -> dict[str, float]:
    from loom.core.errors import ArgumentError

    pairs = [part.partition("=") for part in _split_list(text or "")]
    found = {name.strip(): _number("--rates", value) for name, _, value in pairs}
    if len(found) < len(pairs):
        raise ArgumentError("loom bench adapt, --rates", "a mode is named twice", expected="one rate for each",
                            got=text, remedy="Leave one out")  # fmt: skip
    return found
