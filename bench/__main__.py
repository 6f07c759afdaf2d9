"""``python -m bench [family ...] [--json]``: runs families, each in a process of its own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.machine import use_threads
from bench.report import print_family
from loom.core.errors import near_matches

FAMILIES = {
    "startup": "engine", "compile": "engine", "chain": "engine", "leak": "engine", "reduce": "arrays", "maps": "arrays",
    "scan": "arrays", "sort": "arrays", "matmul": "arrays", "fft": "arrays", "primes": "arrays", "swarm": "engine",
    "streams": "engine", "operations": "arrays", "programs": "", "nets": "learning", "nets_device": "learning",
    "models": "learning", "vectors": "records", "tables": "records", "exports": "exported", "exports_web": "exported",
    "texts": "learning", "cluster": "learning", "graphs": "arrays", "iteration": "engine", "transfers": "engine",
    "calls": "engine", "eager": "arrays",
}  # fmt: skip
"""Family -> the folder of its file, in the order they run."""
ON_DEVICES = (
    "chain", "streams", "sort", "matmul", "primes", "swarm", "nets_device", "vectors", "iteration", "transfers",
)  # fmt: skip
"""Those that ``--device`` runs on a GPU."""


def main() -> int:
    """Run the families asked for; 0 when all ran and gave right answers, whether bars were met or not."""
    parser = argparse.ArgumentParser(prog="bench", description="Loom's benchmarks.")
    parser.add_argument("families", nargs="*", metavar="family", help=f"{', '.join(FAMILIES)} (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--threads", type=int, help="threads every side uses (default 2)")
    parser.add_argument("--device", help=f"a GPU such as vulkan, for {', '.join(ON_DEVICES)}")
    asked = parser.parse_args()
    if asked.threads:
        os.environ["LOOM_BENCH_THREADS"] = str(asked.threads)
    use_threads()  # for the families, which inherit it
    for name in asked.families:
        if name not in FAMILIES:
            known = near_matches(name, list(FAMILIES))
            print(f"loom: [loom bench] no family is called {name!r}. {known}", file=sys.stderr)
            return 2
    done, failed = [], False
    for name in asked.families or (ON_DEVICES if asked.device else FAMILIES):
        result = _run(name, ["--device", asked.device] if asked.device else [])
        if result is None:
            failed = True
            continue
        done.append(result)
        if not asked.json:
            print_family(result)
    if asked.json:
        print(json.dumps(done, indent=2))
    return 1 if failed else 0


def _run(name: str, options: list[str]) -> dict[str, Any] | None:
    """Return a family's JSON, None if it failed; its errors go to stderr as they come."""
    command = [sys.executable, "-m", ".".join(filter(None, ("bench", FAMILIES[name], name))), "--json", *options]
    finished = subprocess.run(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, check=False)
    if finished.returncode:
        print(f"loom: benchmark {name!r} failed with exit code {finished.returncode}", file=sys.stderr)
        return None
    return json.loads(finished.stdout)


if __name__ == "__main__":
    sys.exit(main())
