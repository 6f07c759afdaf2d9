"""What a lent GPU is asked for in one call: parts in order, each with a limit, none begun that would not end in time.

``bench/device/run.sh --parts SECONDS [PART ..]`` runs ``PARTS`` (default: all) in that time. Each part is a process of
its own; all that it prints goes to ``$OUT/parts.log`` (or ``parts.log``), its last lines to the terminal. Exits 1 if
one failed or was not begun.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

PARTS: dict[str, tuple[int, list[str]]] = {
    "wide": (60, ["units_figures.py", "--devices", "cuda", "--patches", "q8:2x192x5", "q12:2x128x6"]),
    "bits": (330, ["suite.py", "--gpu-only", "--seeds", "30", "--no-figures"]),
    "programs": (60, ["programs_figures.py"]),
    "models": (120, ["models_figures.py"]),
    "door": (70, ["cuda_door.py"]),
    "exact": (45, ["exact_figures.py"]),
    "onepass": (45, ["onepass_figures.py"]),
    "nets": (180, ["nets_device", "--device", "cuda"]),
    "chains": (60, ["iteration", "chain", "--device", "cuda"]),
    "patterns": (90, ["suite.py", "--no-bits"]),
    "sort": (60, ["sort", "--device", "cuda"]),
    "early": (60, ["pdl_figures.py"]),
    "transfers": (40, ["transfers", "streams", "--device", "cuda"]),
    "several": (60, ["several_gpus.py"]),
}
"""Part -> the most seconds it may take, and a file beside this one or families of ``python -m bench``."""
_TOLD = 40


def _command(words: list[str]) -> list[str]:
    if words[0].endswith(".py"):
        return [sys.executable, f"bench/device/{words[0]}", *words[1:]]
    return [sys.executable, "-m", "bench", *words]


def run(name: str, log: Path) -> bool:
    """Run a part, its text appended to the log; tell whether it went well."""
    limit, words = PARTS[name]
    began = time.monotonic()
    done = subprocess.run(
        ["timeout", "-k", "5", str(limit), *_command(words)], capture_output=True, text=True, check=False,
        env={**os.environ, "OUT": ""},
    )  # fmt: skip
    text = done.stdout + done.stderr
    with log.open("a") as file:
        file.write(f"==== {name}: {' '.join(words)}\n{text}\n")
    seconds = time.monotonic() - began
    print(f"==== {name}: exit {done.returncode}, {seconds:.0f} s", *text.splitlines()[-_TOLD:], sep="\n", flush=True)
    return done.returncode == 0


def main() -> int:
    """Run the parts asked for; 1 if one failed or was left out."""
    end = time.monotonic() + float(sys.argv[1])
    names = sys.argv[2:] or list(PARTS)
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"no such parts: {', '.join(unknown)}. There are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    log = Path(os.environ.get("OUT") or ".") / "parts.log"
    failed, left = [], []
    for name in names:
        if time.monotonic() + PARTS[name][0] > end:
            left.append(name)
            continue
        if not run(name, log):
            failed.append(name)
    print(f"failed: {', '.join(failed) or 'none'}; not begun, for want of time: {', '.join(left) or 'none'}")
    return 1 if failed or left else 0


if __name__ == "__main__":
    sys.exit(main())
