"""``loom primes N``: counts the primes below N."""

from __future__ import annotations

import time
from typing import Annotated

import typer

__all__ = ["primes"]


def primes(
    n: Annotated[str, typer.Argument(metavar="N", help="Count below N: 1000000000, 1_000_000_000, 1e9 or 10**9.")],
    device: Annotated[str | None, typer.Option("--device", help="Where to run (see 'loom devices').")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count the primes below N (at most 10^12), exactly."""
    import loom
    from loom.cli.inputs.output import print_json, seconds_text
    from loom.cli.inputs.quantity import whole_number

    below = whole_number(n, "loom primes, N")
    where = loom.device(device)
    start = time.perf_counter()
    count = loom.gpu_prime_count(below, on=where)
    seconds = time.perf_counter() - start
    if json:
        print_json({"below": below, "count": count, "seconds": seconds, "device": where.name})
    else:
        typer.echo(f"{count:,} primes below {below:,} in {seconds_text(seconds)} on {where.name}")
