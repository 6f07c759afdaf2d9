"""``loom verify``: proves that a device computes the golden bits."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["verify"]

_DIFFERS_EXIT_CODE = 1


def verify(
    device: Annotated[str, typer.Option("--device", help="cpu, interp, vulkan, webgpu, cuda, auto, or all.")] = "auto",
    layer: Annotated[list[int] | None, typer.Option("--layer", help="1 to 4; may be repeated. Default: all.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute again what was proved before.")] = False,
    mutate: Annotated[
        str | None,
        typer.Option("--mutate", help="Break it first: swap, fuse, fold or flush. Must be found out."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the attestations as JSON.")] = False,
) -> None:
    """Prove a device: compute every case and compare its digest with the golden one (exit code 1 if one differs)."""
    import loom
    from loom.cli.inputs.output import is_terminal, print_json
    from loom.proof.attestation import Attestation
    from loom.proof.attestation import verify as prove
    from loom.proof.cases import LAYERS
    from loom.proof.mutation import Mutant

    names = [d.name for d in loom.devices() if d.refused is None] if device == "all" else [device]
    found: list[Attestation] = []
    for name in names:
        where = loom.device(name)
        where = Mutant(where, mutate) if mutate is not None else where
        layers = layer or tuple(LAYERS)
        show = None if json or not is_terminal() else _show_progress
        found.append(prove(where, layers=layers, fresh=fresh or mutate is not None, progress=show))
        if not json:
            _print(found[-1])
    if json:
        print_json([a.to_json() for a in found])
    if not all(a.exact for a in found):
        raise typer.Exit(_DIFFERS_EXIT_CODE)


def _show_progress(name: str) -> None:
    typer.echo(f"\r\x1b[K{name}"[:110], nl=False)


def _print(made: object) -> None:
    from loom.cli.inputs.output import is_terminal, print_table
    from loom.proof.attestation import Attestation
    from loom.proof.cases import LAYERS

    assert isinstance(made, Attestation)
    if is_terminal():
        typer.echo("\r\x1b[K", nl=False)
    typer.echo(f"{made.device}: {made.driver}; {made.compiler}; {made.spec}, loom {made.version}")
    print_table(["layer", "", "digest"], [[k, LAYERS[int(k)], v] for k, v in made.layers.items()])
    typer.echo(f"root {made.root}")
    for line in made.differing[:_MOST_LINES]:
        typer.echo(f"differs: {line}")
    if len(made.differing) > _MOST_LINES:
        typer.echo(f"and {len(made.differing) - _MOST_LINES} more")
    verdict = "every digest is the golden one" if made.exact else f"{len(made.differing)} differ: NOT exact"
    record = "" if made.recorded is None else f" (recorded {made.recorded}; --fresh computes anew)"
    typer.echo(f"{made.cases} cases in {made.seconds:.1f} s: {verdict}{record}")


_MOST_LINES = 10
