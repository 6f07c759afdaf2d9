"""``loom devices``: what Loom can run on here."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

__all__ = ["devices"]


def devices(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the devices present, fastest first, with their limits."""
    import loom
    from loom.cli.output import print_json, print_table

    found = loom.devices()
    if json:
        print_json([asdict(info) for info in found])
        return
    rows = [
        [
            d.name,
            d.kind,
            d.description,
            d.guarantee,
            ", ".join(f"{k}: {v}" for k, v in d.limits.items()) or "none",
        ]
        for d in found
    ]
    print_table(["device", "kind", "description", "guarantee", "limits"], rows)
