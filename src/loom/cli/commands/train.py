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


_MicroBatch = Annotated[
    int | None, typer.Option("--micro-batch", help="Samples of the parts of a batch that are computed apart.")
]
_Devices = Annotated[
    str | None,
    typer.Option("--devices", help="Share micro-batches out among these: cpu,vulkan; see --micro-batch."),
]
_Workers = Annotated[
    str | None,
    typer.Option("--workers", help="Processes that share micro-batches out: 4, or their devices: cpu,vulkan."),
]
_Address = Annotated[
    str | None, typer.Option("--address", help="Of the Ray cluster that has the workers, host:port; else here.")
]
_Audit = Annotated[float | None, typer.Option("--audit", help="Share of the batches that two workers compute: 0 to 1.")]
_Compute = Annotated[str | None, typer.Option("--compute", help="Mixed precision: f16 or bf16; weights stay f32.")]
_Precision = Annotated[
    str | None, typer.Option("--precision", help="Of products: full, x12, q8, q12 or q24; else the document's.")
]
"""Options of which the command has many: what is computed where, and how."""


def train(
    network: Annotated[
        Path, typer.Argument(metavar="NET.json", help="A network's document, or a model whose weights to start with.")
    ],
    data: Annotated[
        str, typer.Option("--data", help="digits, FILE.npz (arrays x, y) or FILE.csv (last column: target).")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Keep the model: a .json or .safetensors file.")] = None,
    epochs: Annotated[int, typer.Option("--epochs", help="How often all samples are met.")] = 10,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Else the document's, or 32.")] = None,
    rate: Annotated[float, typer.Option("--rate", help="Learning rate.")] = 0.01,
    optimizer: Annotated[str, typer.Option("--optimizer", help="sgd, adam, adamw, rmsprop or lion.")] = "adam",
    schedule: Annotated[
        str | None, typer.Option("--schedule", help="Of the rate: linear, cosine, step, warmup, ...")
    ] = None,
    loss: Annotated[str | None, typer.Option("--loss", help="Else cross_entropy for classes, mse for numbers.")] = None,
    scale: Annotated[
        bool, typer.Option("--scale", help="Bring inputs to mean 0, deviation 1; the model keeps by what.")
    ] = False,
    names: Annotated[str | None, typer.Option("--names", help="Of the classes, in their order: a,b,...")] = None,
    hold_out: Annotated[float, typer.Option("--hold-out", help="Share of samples to test with.")] = 0.2,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Of the order of samples, else the document's.")
    ] = None,
    clip_norm: Annotated[float | None, typer.Option("--clip-norm", help="The largest norm of all gradients.")] = None,
    compute: _Compute = None,
    precision: _Precision = None,
    micro_batch: _MicroBatch = None,
    devices: _Devices = None,
    patience: Annotated[int | None, typer.Option("--patience", help="Epochs without gain before it stops.")] = None,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="Folder; resumed from if it has one.")] = None,
    curves: Annotated[Path | None, typer.Option("--curves", help="Draw the losses: a .png file.")] = None,
    workers: _Workers = None,
    address: _Address = None,
    audit: _Audit = None,
    device: Annotated[str | None, typer.Option("--device", help="Where to run (see 'loom devices').")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a network; print losses, the accuracy on what was held out, and the digest of the weights.

    The digest is the same on every device and for any number of threads. Names of classes and scaling are kept with
    the model.

    Example: loom train net.json --data data.csv --epochs 20 --out model.json --curves losses.png
    """
    from loom.cli.inputs.networks import open_network, require_place, samples_for
    from loom.nn.train.datasets import divide

    require_place("loom train, --out", out, (".json", ".safetensors"))
    require_place("loom train, --curves", curves, (".png",))
    net = open_network(network, device, scaled=scale)
    seed = net.spec.seed if seed is None else seed
    kept, held_out = divide(*samples_for(net, data, names, learn_names=True), hold_out, seed)
    settings: dict[str, Any] = {
        "epochs": epochs, "learning_rate": rate, "optimizer": optimizer, "seed": seed,
        "schedule": schedule, "clip_norm": clip_norm, "patience": patience, "checkpoint": checkpoint,
        "compute": compute, "precision": precision, "micro_batch": micro_batch,
    }  # fmt: skip
    settings |= {key: value for key, value in (("loss", loss), ("batch_size", batch_size)) if value is not None}
    names_of = None if devices is None else [name.strip() for name in devices.split(",")]
    start = time.perf_counter()
    try:
        history = net.train(
            *kept, validation=held_out, resume=checkpoint is not None, devices=names_of, workers=_workers(workers),
            address=address, audit=audit, **settings,
        )  # fmt: skip
    except KeyboardInterrupt:
        if out is not None:
            net.save(out)
        kept_in = [f"; resume with --checkpoint {checkpoint}"] if checkpoint else []
        kept_in += [f"; model in {out}"] if out else []
        typer.echo(f"interrupted{''.join(kept_in)}", err=True)
        raise typer.Exit(INTERRUPTED_EXIT_CODE) from None
    seconds = time.perf_counter() - start
    if out is not None:
        net.save(out)
    if curves is not None:
        history.save_png(curves)
    _print(net, history.to_dict(), seconds, out, json=json)


def _workers(told: str | None) -> int | list[str] | None:
    """Return how many workers are told, or the names of their devices."""
    if told is None or told.strip().lstrip("-").isdecimal():
        return None if told is None else int(told)
    return [name.strip() for name in told.split(",")]


def _print(net: Network, history: dict[str, Any], seconds: float, out: Path | None, *, json: bool) -> None:
    from loom.cli.inputs.output import print_json, print_table, seconds_text

    where, digest = net.model.device.name, net.digest()
    if json:
        print_json({"device": where, "history": history, "seconds": seconds, "sha256": digest})
        return
    columns = [("loss", "loss"), ("validation_loss", "held out"), ("validation_accuracy", "accuracy"), ("rate", "rate")]
    there = [(key, title) for key, title in columns if history[key]]
    rows = [[str(e + 1), *(f"{history[key][e]:.6g}" for key, _ in there)] for e in range(len(history["loss"]))]
    print_table(["epoch", *(title for _, title in there)], rows)
    typer.echo(f"{history['stopped'] or 'done'} in {seconds_text(seconds)} on {where}")
    typer.echo(f"model in {out}" if out is not None else "model not kept: --out MODEL.json would write it")
    typer.echo(f"sha256 of the weights {digest}")
