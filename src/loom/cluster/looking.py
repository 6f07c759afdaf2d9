"""``loom.cluster.status``: the nodes of a Ray cluster, and the workers there.

Layer: cluster. Invariant: it starts nothing and ends nothing.
"""

from __future__ import annotations

from typing import Any

from loom.core.given import text
from loom.workers.looking import look_at

__all__ = ["status"]


def status(address: str | None = None) -> dict[str, Any]:
    """Return a cluster as plain data: ``address``, ``resources``, ``free``, ``nodes`` and ``workers`` of all pools.

    Each worker tells its device, node, process, how many calls it has ended and whether it computes; one that does not
    answer within seconds is silent.

    Args:
        address: Address of a cluster's head (host:port); None: the Ray of this machine.

    Raises:
        DTypeError: The address is no text.
        DeviceError: No Ray answers.
    """
    where = "loom.cluster.status"
    return look_at(None if address is None else text(address, f"{where}, address"), where)
