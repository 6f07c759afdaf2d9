"""``loom devices``: what Loom can run on here."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from loom.runtime.port.device import DeviceInfo

__all__ = ["devices"]


def devices(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    operations: Annotated[bool, typer.Option("--operations", help="Show how each operation is computed.")] = False,
) -> None:
    """List the devices present with their limits, and the adapters that were refused with the reason."""
    import loom
    from loom.cli.inputs.output import print_json, print_table
    from loom.runtime.registry import DRIVERS

    found = loom.devices()
    if json:
        print_json([asdict(info) for info in found])
        return
    rows = [[d.name, d.kind, d.description, d.guarantee, _remarks(d)] for d in found]
    print_table(["device", "kind", "description", "guarantee", "limits"], rows)
    for kind in sorted(set(DRIVERS.names()) - {d.kind for d in found}):
        typer.echo(
            f"no GPU: {_why_none(kind)}" if kind == "vulkan" else f"no device of {kind}: {_why_none(kind)}", err=True
        )
    tested = [d for d in found if d.operations]
    if operations and tested:
        names = list(dict.fromkeys(name for d in tested for name in d.operations))
        lines = [[name, *(d.operations.get(name, "") for d in tested)] for name in names]
        print_table(["operation", *(d.name for d in tested)], lines)


def _why_none(kind: str) -> str:
    """Return why no device of a kind is present, in one line."""
    import loom
    from loom.core.errors import DeviceError

    try:
        loom.device(kind)
    except DeviceError as error:
        return " ".join(str(error).split())
    return "none found"


def _remarks(info: DeviceInfo) -> str:
    """Return why a device was refused, or its limits and what it does not compute natively."""
    if info.refused is not None:
        return f"refused: {info.refused}"
    limits = ", ".join(f"{k}: {v}" for k, v in info.limits.items())
    other = ", ".join(f"{name}: {how}" for name, how in info.operations.items() if how != "native")
    return "; ".join(part for part in (limits, other) if part) or "none"
