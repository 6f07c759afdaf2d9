"""Keeps a picture: writes it where ``--out`` says, and tells its digest, which is the same on every device."""

import hashlib
import sys
from pathlib import Path

import loom


def keep(name: str, frame: loom.Frame) -> str:
    """Write the picture as NAME.png below the folder after ``--out``; return the first 16 digits of its SHA-256."""
    if "--out" in sys.argv:
        (Path(sys.argv[sys.argv.index("--out") + 1]) / f"{name}.png").write_bytes(frame.png())
    digest = hashlib.sha256(frame.pixels.tobytes()).hexdigest()[:16]
    print(f"{name}: {frame.shape[1]} x {frame.shape[0]} pixels, sha256 {digest}")
    return digest


if __name__ == "__main__":
    assert keep("none", loom.Frame(loom.gpu_range(0.0, 1.0, 0.25).reshape(2, 2))) == "26b3d6bb5847f1dc"
