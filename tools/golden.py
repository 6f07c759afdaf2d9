"""Writes ``src/loom/proof/golden.json``, the digests every device is held against, and their root into the guide.

Run ``python tools/golden.py``. The reference interpreter computes them; a change of any digest is a change of
the numeric contract. ``--on cpu`` takes another device, for trying out; what is committed comes from interp.
``--layer 4`` computes one layer and keeps the others' digests.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path

import loom
from loom.proof.cases import LAYERS, cases_of
from loom.proof.golden import SPEC
from loom.proof.running import digest_of, digest_of_texts

FILE = Path(__file__).parents[1] / "src" / "loom" / "proof" / "golden.json"
GUIDE = Path(__file__).parents[1] / "docs" / "guide" / "verify.md"


def main() -> None:
    """Compute all digests and write the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--on", default="interp")
    parser.add_argument("--slow", type=float, default=2.0, help="tell cases that take longer than this")
    parser.add_argument("--layer", type=int, choices=list(LAYERS), help="compute this one alone")
    given = parser.parse_args()
    device = loom.device(given.on)
    kept = json.loads(FILE.read_text()) if given.layer else {"cases": {}, "layers": {}, "vectors": {}}
    names = {case.name for layer in LAYERS if layer != given.layer for case in cases_of(layer)}
    cases = {name: digest for name, digest in kept["cases"].items() if name in names}
    layers: dict[str, str] = kept["layers"]
    vectors: dict[str, str] = kept["vectors"]
    for layer in [given.layer] if given.layer else LAYERS:
        lines, inputs = [], []
        for case in cases_of(layer):
            begun = time.perf_counter()
            arrays = case.inputs()
            cases[case.name] = digest_of(case.compute(device, *arrays))
            lines.append(f"{case.name} {cases[case.name]}")
            inputs.append(digest_of(arrays))
            if time.perf_counter() - begun > given.slow:
                print(f"{time.perf_counter() - begun:6.1f} s  {case.name}", flush=True)
        layers[str(layer)] = digest_of_texts(lines)
        vectors[str(layer)] = digest_of_texts(inputs)
    FILE.write_text(json.dumps({"spec": SPEC, "vectors": vectors, "cases": cases, "layers": layers}, indent=1) + "\n")
    root = digest_of_texts([SPEC, *(f"{layer} {digest}" for layer, digest in layers.items())])
    GUIDE.write_text(re.sub("(?<=The root of all four is `)[0-9a-f]+", root, GUIDE.read_text()))
    print(f"{len(cases)} cases; layers {layers}")


if __name__ == "__main__":
    main()
