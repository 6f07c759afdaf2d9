"""``loom cluster``: machines that work together."""

from __future__ import annotations

from typing import Annotated, Any

import typer

__all__ = ["commands"]

commands = typer.Typer(no_args_is_help=True, help="Machines that work together, by Ray.")


@commands.callback()
def _group() -> None:
    """Machines that work together, by Ray."""


@commands.command("status")
def status(
    address: Annotated[
        str | None, typer.Option("--address", help="Of the head, host:port; else the Ray of this machine.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the nodes of a Ray cluster, what they have, and the workers of all pools."""
    import loom
    from loom.cli.inputs.output import print_json, print_table

    found = loom.cluster.status(address)
    if json:
        print_json(found)
        return
    typer.echo(f"Ray at {found['address']}: {_words(found['free'])} free of {_words(found['resources'])}")
    print_table(["node", "host", "address", "state", "resources"], [_node(n) for n in found["nodes"]])
    if found["workers"]:
        titles = ["worker", "device", "state", "calls", "seconds", "threads", "node", "process"]
        print_table(titles, [_worker(w) for w in found["workers"]])
    else:
        typer.echo("no workers of Loom")


def _words(resources: dict[str, float]) -> str:
    """Return resources in words: CPUs and GPUs as they are counted, memory in GB."""
    shown = [f"{count:g} {name}" for name, count in sorted(resources.items()) if name in ("CPU", "GPU")]
    stores = (("memory", "memory"), ("object_store_memory", "store"))
    memory = [f"{resources[name] / 1e9:.1f} GB {words}" for name, words in stores if name in resources]
    return ", ".join([*shown, *memory]) or "nothing"


def _node(node: dict[str, Any]) -> list[str]:
    return [
        node["node"],
        node["host"],
        node["address"],
        "alive" if node["alive"] else "dead",
        _words(node["resources"]),
    ]


def _worker(worker: dict[str, Any]) -> list[str]:
    keys = ("device", "state", "calls", "seconds", "threads", "node", "pid")
    return [worker["name"], *(str(worker.get(key, "")) for key in keys)]
