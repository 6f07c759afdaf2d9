"""``loom convert``: a model or a document from one format to another, and what that changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["convert"]


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A document, a bundle or a .safetensors file.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.")],
    to: Annotated[
        str | None, typer.Option("--to", help="loom/1, gen1, gen2 or safetensors; else what OUT ends in.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", help="Type of the weights: f16, bf16, ..; of gen1 and gen2 int8 and others too."),
    ] = None,
    model_id: Annotated[
        str | None, typer.Option("--id", help="Which model of a bundle of several; what a document is called.")
    ] = None,
    lossy: Annotated[bool, typer.Option("--lossy", help="Lose what the format cannot say, and tell it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a model of any generation in another format; print what changed, and refuse what would be lost.

    gen1 and gen2 are the older generations: their documents, bundles and (gen1, to a .safetensors) names of tensors.
    """
    from loom.cli.output import print_json
    from loom.nn.formats import convert_model

    made = convert_model(source, target, to=to, dtype=dtype, id=model_id, lossy=lossy)
    if json:
        print_json({"out": str(target), "nbytes": len(made.data), "notes": list(made.notes),
                    "losses": list(made.losses)})  # fmt: skip
        return
    for note in made.notes:
        typer.echo(note)
    typer.echo(f"{target}: {len(made.data):,} bytes, {len(made.notes)} changes, {len(made.losses)} of them losses")
