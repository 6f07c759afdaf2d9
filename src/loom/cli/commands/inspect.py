"""``loom inspect``: what a network is: layers, weights, what they take to run; or the tensors of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loom.core.errors import ArgumentError

if TYPE_CHECKING:
    from loom.nn.network import Network

__all__ = ["inspect"]


def inspect(
    network: Annotated[
        Path, typer.Argument(metavar="FILE", help="A document, a bundle, .safetensors, .gguf or a model's folder.")
    ],
    model_id: Annotated[str | None, typer.Option("--id", help="Which model of a bundle of several.")] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Samples that work and dispatches are counted for, else 1.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="Whose dispatches are counted (see 'loom devices').")] = "cpu",
    types: Annotated[bool, typer.Option("--types", help="Compare numeric types of storage instead.")] = False,
    data: Annotated[
        str | None, typer.Option("--data", help="With --types: samples to compare on: digits, FILE.npz or FILE.csv.")
    ] = None,
    scales: Annotated[
        str | None, typer.Option("--scales", help="With --types: auto, tensor, channel, row or none.")
    ] = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Write a picture of it (.svg) instead.")] = None,
    other: Annotated[
        Path | None, typer.Option("--diff", help="Print how the network of this file differs instead.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a network's layers with shapes, weights, work and dispatches, and the digest of its weights.

    With --types: what storing its weights in each numeric type does to its outputs, the bytes it takes, and the score
    for each MB; on samples drawn by its seed, or those of --data, then with accuracy. With --diff the exit code is 1 if
    the networks differ.

    Of a published checkpoint (a folder of the HuggingFace hub, .safetensors, .gguf) the tensors are printed, with their
    types and sizes, and what stands beside them; no weight is read.
    """
    from loom.cli.inputs.checkpoints import is_checkpoint, print_checkpoint
    from loom.cli.inputs.networks import open_network, require_place
    from loom.cli.inputs.output import print_json, print_table

    if is_checkpoint(network):
        others = {"--id": model_id, "--batch": batch, "--types": types or None, "--data": data, "--scales": scales,
                  "--svg": svg, "--diff": other, "--device": device if device != "cpu" else None}  # fmt: skip
        for option, given in others.items():
            if given is not None:
                raise ArgumentError(f"loom inspect, {option}", "has no effect on a checkpoint", expected="a network",
                                    got=str(network), remedy="Leave it out")  # fmt: skip
        print_checkpoint(network, json=json)
        return
    for option, given in (("--data", data), ("--scales", scales)):
        if given is not None and not types:
            raise ArgumentError(f"loom inspect, {option}", "has no effect alone", expected="--types as well", got=given,
                                remedy=f"Add --types, or leave {option} out")  # fmt: skip
    if types and other is not None:
        raise ArgumentError("loom inspect, --diff", "two tables at once", expected="--types or --diff", got="both",
                            remedy="Ask one after the other")  # fmt: skip
    if batch is not None and (types or svg is not None or other is not None):
        raise ArgumentError("loom inspect, --batch", "has no effect here", expected="the table of layers", got=batch,
                            remedy="Leave --batch out, or --svg, --diff and --types")  # fmt: skip
    if json and svg is not None and not types and other is None:
        raise ArgumentError("loom inspect, --json", "has no effect here", expected="something that is printed",
                            got="--svg", remedy="Leave --json out, or ask one after the other")  # fmt: skip
    require_place("--svg", svg, (".svg",))
    net = open_network(network, device, model_id=model_id)
    if svg is not None:
        svg.parent.mkdir(parents=True, exist_ok=True)
        svg.write_text(net.diagram(), encoding="utf-8")
    if other is not None:
        _print_diff(net, open_network(other, device), json=json)
    if types:
        _print_types(net, data, scales or "auto", json=json)
    if types or svg is not None:
        return
    samples = 1 if batch is None else batch
    blueprint = net.blueprint(samples)
    if json:
        print_json(_facts(net, samples))
        return
    print_table(*blueprint.rows())
    if net.spec.classes:
        typer.echo(f"classes: {', '.join(net.spec.classes)}")
    typer.echo(blueprint.summary())
    typer.echo(f"sha256 {net.digest()}")


def _print_types(net: Network, data: str | None, scales: str, *, json: bool) -> None:
    from loom.cli.inputs.networks import samples_for
    from loom.cli.inputs.output import print_json, print_table
    from loom.nn.numeric import benchmark_types

    x, y = (None, None) if data is None else samples_for(net, data)
    report = benchmark_types(net, x, y, scales=scales)
    if json:
        print_json(report.to_dict())
        return
    columns, rows = report.rows()
    kept = len(columns) - (report.accuracy is None)
    print_table(columns[:kept], [row[:kept] for row in rows])
    told = "" if report.accuracy is None else f", accuracy {report.accuracy:.4f} before storing"
    typer.echo(f"{report.samples} samples{told}; best score for each MB: {report.best.dtype}")


def _print_diff(net: Network, other: Network, *, json: bool) -> None:
    """Print how another network differs, and end with 1 if it does."""
    from loom.cli.inputs.output import print_json

    found = net.diff(other)
    print_json(found.to_dict()) if json else typer.echo(str(found))
    raise typer.Exit(0 if found.is_same else 1)


def _facts(net: Network, batch: int) -> dict[str, Any]:
    """Return what is printed as JSON: the layers in short, and the whole blueprint under ``models``."""
    blueprint = net.blueprint(batch)
    layers = [
        {"name": v.name, "type": v.type, "input": list(v.input_shape), "output": list(v.output_shape),
         "parameters": v.parameters}
        for v in blueprint.layers
    ]  # fmt: skip
    facts = {"name": net.spec.name, "classes": list(net.spec.classes), "layers": layers,
             "parameters": blueprint.total_parameters, "sha256": net.digest()}  # fmt: skip
    return facts | blueprint.to_dict()
