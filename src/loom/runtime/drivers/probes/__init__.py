"""Small computations whose bits are known, by which drivers find out what a device computes rightly."""

from pathlib import Path

__all__ = ["probe_sources"]


def probe_sources() -> bytes:
    """Return the code of all probes, on which findings kept on disk depend."""
    return b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
