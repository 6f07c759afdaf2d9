"""The device suite: every family of kernels on a GPU, through CUDA and Vulkan, then figures beside their peers.

Bits are compared as integers with the reference interpreter on the same inputs, by several processes at once; figures
are taken afterwards by one. PTX is also loaded through cupy, apart from Loom's CUDA driver.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from families import FAMILIES, Job
from targets import TARGETS, Missing, open_target, proof_device

import conformance.cases  # noqa: F401 - registers the cases
from conformance.running import CASES, Target, conform, load_case
from loom.cli.demos.demo import FULL
from loom.cli.demos.demo_digits import golden_digest, has_digits, train_digits
from loom.core.dtype import DType
from loom.core.errors import DeviceError
from loom.core.numerics import canonical_bits
from loom.ir.interp import interpret
from loom.proof.attestation import verify as prove

_PARTS = 12
_MOST_TOLD = 20
_WIDTHS = (8, 16)


@dataclass
class Tally:
    """Kernels run, elements compared, how many of them differed, kernels the device refused; what is told of them."""

    kernels: int = 0
    elements: int = 0
    different: int = 0
    refused: int = 0
    told: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take in another."""
        self.kernels += other.kernels
        self.elements += other.elements
        self.different += other.different
        self.refused += other.refused
        self.told += other.told


def compare(family: str, part: int, seeds: int, targets: tuple[str, ...]) -> dict[tuple[str, str], Tally]:
    """Run a part of a family in the interpreter and on every target."""
    found = {(family, target): Tally() for target in targets}
    for job in FAMILIES[family](part, _PARTS, seeds):
        want = [a.copy() for a in job.arrays]
        interpret(job.kernel.kernel, want, job.params, job.groups)
        for target in targets:
            _judge(found[family, target], target, job, want)
    return found


def _judge(tally: Tally, target: str, job: Job, want: list[Any]) -> None:
    tally.kernels += 1
    tally.elements += sum(array.size for array in want)
    try:
        got = open_target(target)(job.kernel, job.arrays, job.params, job.groups)
    except DeviceError as error:
        tally.refused += 1
        tally.told.append(f"REFUSED {target}, {job.name}: {error}")
        return
    except Exception as error:  # whatever it is, the others are still to be compared
        tally.different += 1
        tally.told.append(f"DIFFERENT {target}, {job.name}: {type(error).__name__}: {error}")
        return
    for memory, g, w in zip(job.kernel.kernel.buffers, got, want, strict=True):
        a, b = (_bits(x, memory.dtype) for x in (g, w))
        wrong = a != b
        if wrong.any():
            at = int(np.argmax(wrong))
            tally.different += int(wrong.sum())
            first = f"first {at}: {a[at]:#x} not {b[at]:#x}"
            tally.told.append(f"DIFFERENT {target}, {job.name}, {memory.name}: {int(wrong.sum())} of {a.size}, {first}")


def _bits(array: np.ndarray[Any, Any], dtype: DType) -> np.ndarray[Any, Any]:
    if dtype.name == "bf16":  # carried as its bits: NaNs made canonical here
        bits = array.view(np.uint16)
        return np.where((bits & 0x7FFF) > 0x7F80, np.uint16(0x7FC0), bits)
    return canonical_bits(array)


def compare_host(width: int, part: int) -> dict[tuple[str, str], Tally]:
    """Run a part of the conformance cases on this machine's own processor, another than the one that CI has."""
    tally = Tally()
    for name in list(CASES)[part::_PARTS]:
        conform(name, Target("cpu", width, (1, 2)))  # raises where a bit differs
        tally.kernels += 1
        tally.elements += sum(array.size for array in load_case(name).buffers)
    return {("conformance cases", f"cpu, {width} lanes"): tally}


def prove_on(target: str) -> tuple[bool, str]:
    """Run ``loom verify``; tell whether the root is the golden one, and what was found."""
    found = prove(proof_device(target), fresh=True)
    lines = [f"loom verify, {target}: {found.cases} cases, root {found.root[:16]}, {found.seconds:.0f} s"]
    return found.exact, "\n".join([*lines, *(f"DIFFERENT {line}" for line in found.differing)])


def train_on(target: str) -> tuple[bool, str]:
    """Train the demo's network; tell whether its weights are the committed ones, and what was found."""
    if not has_digits():
        return True, f"left out: digits on {target}: scikit-learn is missing"
    (line,) = train_digits(FULL.epochs, [target])
    right = line.sha256 == golden_digest(FULL.epochs)
    return right, f"{'' if right else 'DIFFERENT '}{line.what}: {line.answer}, {line.seconds:.1f} s, {line.sha256[:16]}"


def _present() -> tuple[str, ...]:
    """Return the targets of this machine; say why the others are not."""
    found = []
    for name in TARGETS:
        try:
            open_target(name)
            found.append(name)
        except Missing as error:
            print(f"left out: {name}: {error}")
    return tuple(found)


def check_bits(seeds: int, targets: tuple[str, ...], *, host: bool) -> tuple[dict[tuple[str, str], Tally], bool]:
    """Compare everything, in as many processes as there are cores; return the tallies and whether all is exact."""
    tallies: dict[tuple[str, str], Tally] = {}
    exact = True
    workers = min(_PARTS, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        proofs = [pool.submit(prove_on, target) for target in (*targets, "cpu")]
        proofs += [pool.submit(train_on, target) for target in (*targets, "cpu") if target != "ptx"]
        work = [pool.submit(compare, f, part, seeds, targets) for f in FAMILIES for part in range(_PARTS)]
        if host:
            work += [pool.submit(compare_host, width, part) for width in _WIDTHS for part in range(_PARTS)]
        for done in as_completed(work):
            for key, tally in done.result().items():
                tallies.setdefault(key, Tally()).add(tally)
        for proof in proofs:
            right, text = proof.result()
            print(text)
            exact = exact and right
    return tallies, exact and not any(t.different for t in tallies.values())


def print_tallies(tallies: dict[tuple[str, str], Tally]) -> None:
    """Print a row per family and target, and what differed."""
    print(f"\n{'family':20}{'target':14}{'kernels':>10}{'elements':>14}{'different':>12}{'refused':>10}")
    for (family, target), t in sorted(tallies.items()):
        print(f"{family:20}{target:14}{t.kernels:>10}{t.elements:>14}{t.different:>12}{t.refused:>10}")
    told = sorted(line for t in tallies.values() for line in t.told)
    for line in told[:_MOST_TOLD]:
        print(line)
    if len(told) > _MOST_TOLD:
        print(f"and {len(told) - _MOST_TOLD} more")


def main() -> int:
    """Run what is asked for; 1 if a bit differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=150, help="random kernels")
    parser.add_argument("--gpu-only", action="store_true", help="leave this machine's processor out")
    parser.add_argument("--no-bits", action="store_true", help="figures only")
    parser.add_argument("--no-figures", action="store_true", help="bits only")
    given = parser.parse_args()
    began = time.time()
    targets = _present()
    exact, tallies, measured = True, {}, []
    if not given.no_bits:
        tallies, exact = check_bits(given.seeds, targets, host=not given.gpu_only)
        print_tallies(tallies)
        print(f"bits after {time.time() - began:.0f} s")
    if not given.no_figures:
        from figures import measure
        from units_figures import main as units_figures

        measured = measure()
        exact = not units_figures() and exact
    print(f"total {time.time() - began:.0f} s")
    if os.environ.get("OUT"):
        rows = {f"{f}, {t}": [v.kernels, v.elements, v.different, v.refused] for (f, t), v in tallies.items()}
        with open(os.path.join(os.environ["OUT"], "device.json"), "w") as file:
            json.dump({"bits": rows, "exact": exact, "figures": measured}, file, indent=1)
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())
