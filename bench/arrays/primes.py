"""``gpu_prime_count`` beside primesieve (Debian ``primesieve-bin``): its process, and its own ``Seconds``.

With ``--device vulkan`` on a GPU instead, to 10^11: the time of the program alone, and of whole calls.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import partial
from statistics import median
from typing import Any

import numpy as np

import loom
from bench.harness import THREADS, Side, Timings, alternate, time_calls
from bench.report import Bar, Family, Row, main, wanted_device
from loom.patterns.sieve import build_count
from loom.schedules.sieve.plan import plan_sieve

TIMES = 3.0
KNOWN = {
    10**7: 664_579, 10**8: 5_761_455, 10**9: 50_847_534, 10**10: 455_052_511, 10**11: 4_118_054_813,
}  # fmt: skip
"""Numbers of primes below, OEIS A006880."""
ROUNDS = {10**9: (9, 5), 10**10: (5, 3)}
"""Limit -> blocks, calls a block."""
OWN = "primesieve's own seconds"
DEVICE_LIMITS_S = {10**9: 0.040, 10**10: 0.400}
"""On a GPU, the program alone; a whole call may take three times that."""
DEVICE_RUNS = 7


def run(family: Family) -> None:
    """Measure 10^9 and 10^10, on a GPU 10^7 to 10^11."""
    if wanted_device() != "cpu":
        family.rows.extend(_on_device(n, loom.device(wanted_device())) for n in KNOWN)
        return
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


def _on_device(n: int, device: Any) -> Row:
    """Time the program, and whole calls."""
    program, out = build_count(plan_sieve(0, n, device.caps), device)
    program.run()
    found = 3 + int(out.read(0, 8).view(np.uint64)[0])
    assert found == KNOWN[n], f"{found} primes below {n}"
    alone = median(time_calls(Side("program", program.run), DEVICE_RUNS)["program"])
    _count(n, device)
    whole = median(time_calls(Side("call", partial(_count, n, device)), DEVICE_RUNS)["call"])
    limit = DEVICE_LIMITS_S.get(n)
    bars = () if limit is None else (
        Bar(f"at most {limit * 1e3:g} ms on the device", limit * 1e3, alone * 1e3),
        Bar(f"at most {3 * limit * 1e3:g} ms a call", 3 * limit * 1e3, whole * 1e3),
    )  # fmt: skip
    measured = {"program_ms": alone * 1e3, "call_ms": whole * 1e3, "count": KNOWN[n], "runs": DEVICE_RUNS}
    return Row(f"gpu_prime_count 10^{len(str(n)) - 1} on {device.name}", measured, bars)


def _count(n: int, device: Any = None) -> None:
    found = loom.gpu_prime_count(n, on=device)
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
