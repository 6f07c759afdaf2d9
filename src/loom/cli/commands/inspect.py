"""``loom inspect``: what a network is: its layers, what they weigh, and what they take to run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from loom.nn.network import Network

__all__ = ["inspect"]


def inspect(
    network: Annotated[Path, typer.Argument(metavar="FILE", help="A document, a bundle or a .safetensors file.")],
    model_id: Annotated[str | None, typer.Option("--id", help="Which model of a bundle of several.")] = None,
    batch: Annotated[int, typer.Option("--batch", help="Samples that work and dispatches are counted for.")] = 1,
    device: Annotated[str, typer.Option("--device", help="Whose dispatches are counted (see 'loom devices').")] = "cpu",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a network's layers with shapes, weights, work and dispatches, and the digest of its weights."""
    from loom.cli.networks import open_network
    from loom.cli.output import print_json, print_table

    net = open_network(network, device, model_id=model_id)
    blueprint = net.blueprint(batch)
    if json:
        print_json(_facts(net, batch))
        return
    print_table(*blueprint.rows())
    if net.spec.classes:
        typer.echo(f"classes: {', '.join(net.spec.classes)}")
    typer.echo(blueprint.summary())
    typer.echo(f"sha256 {net.digest()}")


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
