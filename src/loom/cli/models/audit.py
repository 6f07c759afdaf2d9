"""``loom audit RECEIPT --model MODEL``: computes again what a receipt claims, and compares the bits.

Layer: cli.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loom.cli.models import asking

__all__ = ["audit"]

_DIFFERENT_EXIT_CODE = 1


def audit(
    receipt: Annotated[Path, typer.Argument(metavar="RECEIPT", help="A file from --receipt, or from /v1/receipts.")],
    model: Annotated[str, typer.Option("--model", help="A HuggingFace folder, a .gguf or a .safetensors file.")],
    on: asking.Device = None,
    json: asking.Json = False,
) -> None:
    """Compute a text or vectors again, on any device, and say whether every bit is the one that was claimed.

    Exit code 0: the same; 1: something differs, and it says what.

    Example: loom audit receipt.json --model smollm2.gguf --on gpu
    """
    from loom.cli.inputs.output import print_json
    from loom.models.receipts import Receipt
    from loom.models.tasks.audit import audit as computed_again

    claimed = Receipt.from_json(receipt.read_bytes())
    about = claimed.claims["model"]
    opened = asking.open_model(model, on, str(about.get("stored_as")), str(about.get("compute")))
    found = computed_again(claimed, opened)
    if json:
        print_json(found.to_dict())
    elif found.same:
        output = claimed.claims["output"]
        what = "tokens" if claimed.claims["kind"] == "text" else "vectors"
        typer.echo(f"the same bits on {found.device}: {output['count']} {what}, receipt {claimed.id}")
    else:
        for difference in found.differences:
            typer.echo(f"different on {found.device}: {difference}")
    if not json:
        for note in found.notes:
            typer.echo(f"note: {note}")
    if not found.same:
        raise typer.Exit(_DIFFERENT_EXIT_CODE)
