"""``loom train NET.json``: trains a network of a document or bundle on samples, and writes a bundle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from loom.nn.network import Network

__all__ = ["train"]

INTERRUPTED_EXIT_CODE = 130


def train(
    network: Annotated[
        Path, typer.Argument(metavar="NET.json", help="A network's document, or a bundle to go on with.")
    ],
    data: Annotated[str, typer.Option("--data", help="digits, FILE.npz (x, y) or FILE.csv (last column: target).")],
    out: Annotated[Path | None, typer.Option("--out", help="Write the model: .json or .safetensors.")] = None,
    epochs: Annotated[int, typer.Option("--epochs")] = 10,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Else the document's, or 32.")] = None,
    rate: Annotated[float, typer.Option("--rate", help="Learning rate.")] = 0.01,
    optimizer: Annotated[str, typer.Option("--optimizer", help="sgd, adam, adamw, rmsprop or lion.")] = "adam",
    schedule: Annotated[str | None, typer.Option("--schedule", help="constant, linear, cosine, ...")] = None,
    loss: Annotated[str | None, typer.Option("--loss", help="mse, mae, huber, cross_entropy, ...")] = None,
    hold_out: Annotated[float, typer.Option("--hold-out", help="Share of samples to test with.")] = 0.2,
    seed: Annotated[int, typer.Option("--seed", help="Of the order of samples.")] = 0,
    clip_norm: Annotated[float | None, typer.Option("--clip-norm")] = None,
    patience: Annotated[int | None, typer.Option("--patience", help="Epochs without gain before it stops.")] = None,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="Folder; resumed from if it has one.")] = None,
    curves: Annotated[Path | None, typer.Option("--curves", help="Write the losses as a PNG.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="Where to run (see 'loom devices').")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a network; print losses, the accuracy on what was held out, and the digest of the weights.

    The digest is the same on every device and for any number of threads.
    """
    from loom.cli.networks import open_network
    from loom.nn.train.datasets import divided, read_samples

    net = open_network(network, device)
    samples = read_samples(data, net.spec.inputs[0].shape)
    kept, held_out = divided(*samples, hold_out, seed)
    settings: dict[str, Any] = {
        "epochs": epochs, "learning_rate": rate, "optimizer": optimizer, "seed": seed,
        "schedule": schedule, "clip_norm": clip_norm, "patience": patience, "checkpoint": checkpoint,
    }  # fmt: skip
    settings |= {key: value for key, value in (("loss", loss), ("batch_size", batch_size)) if value is not None}
    start = time.perf_counter()
    try:
        history = net.train(*kept, validation=held_out, resume=checkpoint is not None, **settings)
    except KeyboardInterrupt:
        typer.echo(f"interrupted; resume with --checkpoint {checkpoint}" if checkpoint else "interrupted", err=True)
        raise typer.Exit(INTERRUPTED_EXIT_CODE) from None
    seconds = time.perf_counter() - start
    if out is not None:
        net.save(out)
    if curves is not None:
        history.save_png(curves)
    _print(net, history.to_dict(), seconds, json=json)


def _print(net: Network, history: dict[str, Any], seconds: float, *, json: bool) -> None:
    from loom.cli.output import print_json, print_table, seconds_text

    where, digest = net.model.device.name, net.digest()
    if json:
        print_json({"device": where, "history": history, "seconds": seconds, "sha256": digest})
        return
    columns = [("loss", "loss"), ("validation_loss", "held out"), ("validation_accuracy", "accuracy"), ("rate", "rate")]
    there = [(key, title) for key, title in columns if history[key]]
    rows = [[str(e + 1), *(f"{history[key][e]:.6g}" for key, _ in there)] for e in range(len(history["loss"]))]
    print_table(["epoch", *(title for _, title in there)], rows)
    typer.echo(f"{history['stopped'] or 'done'} in {seconds_text(seconds)} on {where}")
    typer.echo(f"sha256 of the weights {digest}")
