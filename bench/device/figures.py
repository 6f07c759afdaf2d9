"""The figures of the device suite: the bench's families on the GPU through Vulkan, each beside its peer.

Invariant: every family checks its results before it is timed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from bench.report import print_family

__all__ = ["measure"]


def measure(device: str = "vulkan") -> list[Any]:
    """Run the families, print them, and return their JSON; those that fail have said so on stderr."""
    command = [sys.executable, "-m", "bench", "--json", "--device", device]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    families = json.loads(done.stdout or "[]")
    for family in families:
        print_family(family)
    return families
