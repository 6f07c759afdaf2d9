"""``gpu_prime_count`` beside primesieve (Debian ``primesieve-bin``): its process, and its own ``Seconds``."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import partial

import loom
from bench.harness import THREADS, Side, Timings, alternate, time_calls
from bench.report import Bar, Family, Row, main

TIMES = 3.0
KNOWN = {10**9: 50_847_534, 10**10: 455_052_511}
"""Numbers of primes below, OEIS A006880."""
ROUNDS = {10**9: (9, 5), 10**10: (5, 3)}
"""Limit -> blocks, calls a block."""
OWN = "primesieve's own seconds"


def run(family: Family) -> None:
    """Measure 10^9 and 10^10."""
    program = shutil.which("primesieve")
    if program is None:
        family.notes.append("primesieve is not installed (Debian: primesieve-bin): the bar is not measured")
    else:
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        family.notes.append(version.splitlines()[0])
    for n, (blocks, calls) in ROUNDS.items():
        ours = Side("loom", partial(_count, n))
        if program is None:
            ours.call()
            timings = Timings({name: [times] for name, times in time_calls(ours, blocks * calls).items()})
        else:
            sides = [ours, Side("primesieve", partial(_primesieve, program, n))]
            timings = alternate(sides, blocks=blocks, calls=calls)
        family.rows.append(_row(n, timings, compared=program is not None))


def _count(n: int) -> None:
    found = loom.gpu_prime_count(n)
    assert found == KNOWN[n], f"{found} primes below {n}"


def _primesieve(program: str, n: int) -> dict[str, float]:
    command = [program, str(n), f"-t{THREADS}", "--count", "--time", "--no-status"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = int(_after("Primes", text))
    assert found == KNOWN[n], f"primesieve: {found} primes up to {n}"
    return {OWN: float(_after("Seconds", text))}


def _after(name: str, text: str) -> str:
    match = re.search(rf"{name}: *([\d.]+)", text)
    assert match is not None, f"primesieve printed no {name}: {text}"
    return match[1]


def _row(n: int, timings: Timings, *, compared: bool) -> Row:
    measured: dict[str, float | int | str] = {f"{name}_s": timings.median(name) for name in timings.blocks}
    text = f"at most {TIMES:g} times primesieve's time"
    bars = []
    for peer in ("primesieve", OWN) if compared else ():
        measured[f"times_{peer}_of_medians"] = timings.ratio_of_medians("loom", peer)
        how = "whole process" if peer == "primesieve" else "its own seconds"
        bars.append(Bar(f"{text}, {how}", TIMES, timings.median_of_ratios("loom", peer)))
    measured |= {"count": KNOWN[n], "runs": timings.runs("loom")}
    return Row(f"gpu_prime_count 10^{len(str(n)) - 1}", measured, tuple(bars) or (Bar(text, TIMES, None),))


if __name__ == "__main__":
    main("primes", run)
