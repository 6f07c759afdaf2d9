"""``loom convert``: a model, a document or a published checkpoint from one format to another, and what that changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loom.core.errors import ArgumentError

__all__ = ["convert"]


def convert(
    source: Annotated[
        Path,
        typer.Argument(metavar="IN", help="A document, a bundle, a .safetensors or .gguf file, a model's folder."),
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write; of a checkpoint a new folder too.")],
    to: Annotated[
        str | None, typer.Option("--to", help="loom/1, gen1, gen2 or safetensors; else what OUT ends in.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype", help="Type of the weights: f16, bf16, ..; of gen1, gen2 and checkpoints i8 and others."
        ),
    ] = None,
    model_id: Annotated[
        str | None, typer.Option("--id", help="Which model of a bundle of several; what a document is called.")
    ] = None,
    lossy: Annotated[bool, typer.Option("--lossy", help="Lose what the format cannot say, and tell it.")] = False,
    sample: Annotated[
        str | None,
        typer.Option("--input", help="Shape of a sample, such as 12 or 3,8,8, where an older document tells none."),
    ] = None,
    scales: Annotated[
        str | None, typer.Option("--scales", help="Of a checkpoint: row (default), tensor, channel, auto or none.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", help="Of a checkpoint: tensors that stay, such as '*embed*'; repeat.")
    ] = None,
    shard_size: Annotated[
        str | None, typer.Option("--shard-size", help="Of a checkpoint to a folder: bytes of a file, such as 5GB.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Of a checkpoint: compare what both compute of drawn tokens.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a model of any generation in another format; print what changed, and refuse what would be lost.

    gen1 and gen2 are the older generations: their documents, bundles and (gen1, to a .safetensors) names of tensors. A
    published checkpoint (a folder of the HuggingFace hub, .safetensors, .gguf) becomes a .safetensors, a folder or a
    .gguf, its weights in any type; the error of each is printed, and with --check that of what the model computes.
    """
    from loom.cli.inputs.checkpoints import is_checkpoint

    if is_checkpoint(source):
        _refuse(
            "has no effect on a checkpoint", {"--to": to, "--id": model_id, "--lossy": lossy or None, "--input": sample}
        )
        _convert_checkpoint(source, target, dtype, scales, keep or [], shard_size, check=check, json=json)
        return
    _refuse("means checkpoints", {"--scales": scales, "--keep": keep or None, "--shard-size": shard_size,
                                "--check": check or None})  # fmt: skip
    from loom.cli.inputs.output import print_json
    from loom.nn.formats import convert_model

    shape = None if sample is None else _sizes(sample)
    made = convert_model(source, target, to=to, dtype=dtype, id=model_id, lossy=lossy, input=shape)
    if json:
        print_json({"out": str(target), "nbytes": len(made.data), "notes": list(made.notes),
                    "losses": list(made.losses)})  # fmt: skip
        return
    for note in made.notes:
        typer.echo(note)
    typer.echo(f"{target}: {len(made.data):,} bytes, {len(made.notes)} changes, {len(made.losses)} of them losses")


def _sizes(text: str) -> list[int]:
    """Return sizes as ``12`` and ``3,8,8`` tell them."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and part.isascii() and len(part) < 10 for part in parts):
        raise ArgumentError(
            "loom convert, --input",
            "not the shape of a sample",
            expected="sizes from 1",
            got=text[:60],
            remedy="Write --input 12, or --input 3,8,8",
        )
    return [int(part) for part in parts]


def _refuse(what: str, options: dict[str, object]) -> None:
    """See that options of the other kind of source are not given."""
    for option, given in options.items():
        if given is not None:
            raise ArgumentError(f"loom convert, {option}", what, expected="it left out", got=str(given),
                                remedy="Leave it out")  # fmt: skip


def _convert_checkpoint(
    source: Path, target: Path, dtype: str | None, scales: str | None, keep: list[str], shard_size: str | None, *,
    check: bool, json: bool,
) -> None:  # fmt: skip
    from loom.cli.inputs.checkpoints import bytes_of
    from loom.cli.inputs.output import print_json, print_table
    from loom.models.files import convert_checkpoint

    shard = None if shard_size is None else bytes_of(shard_size, "loom convert, --shard-size")
    made = convert_checkpoint(source, target, dtype=dtype, scales=scales or "row", keep=keep, shard_nbytes=shard)
    compared = None
    if check:
        from loom.models.comparison import compare_checkpoints

        compared = compare_checkpoints(source, target)
    if json:
        told = {} if compared is None else {"check": compared.to_dict()}
        print_json({"out": str(target), **made.to_dict(), **told})
        return
    if made.errors:
        print_table(*made.rows())
    typer.echo(f"{target}: {made.nbytes:,} bytes in {len(made.files)} files, {len(made.errors)} tensors rounded, "
               f"{made.unchanged} as they were")  # fmt: skip
    if compared is not None:
        typer.echo(str(compared))
