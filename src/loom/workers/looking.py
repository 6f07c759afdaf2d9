"""What a Ray cluster is at the moment: its nodes, what they have, and the workers of all pools.

Layer: workers. Invariant: looking changes nothing: it starts no Ray, and ends none.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from loom.core.errors import DeviceError
from loom.workers.joining import JoinedRay, join_ray
from loom.workers.worker import WorkerReport

__all__ = ["NAMESPACE", "look_at"]

NAMESPACE = "loom"
"""Of the names of workers in Ray."""
_SECONDS_TO_ANSWER = 5.0


def look_at(address: str | None, where: str) -> dict[str, Any]:
    """Return nodes (address, resources, whether alive) and workers (number, device, calls, ...) as plain data.

    ``address``: "auto" or None for the Ray of this machine. DeviceError where there is none.
    """
    joined = join_ray(where, "auto" if address is None else address, 0)
    try:
        return {
            "address": joined.address,
            "resources": _countable(joined.resources()),
            "free": _countable(joined.ray.available_resources()),
            "nodes": [_node(n) for n in joined.ray.nodes()],
            "workers": _workers(joined),
        }
    except joined.ray.exceptions.RayError as error:
        raise DeviceError(where, f"Ray at {joined.address} does not answer ({type(error).__name__})",
                          remedy="See whether its head is up") from None  # fmt: skip
    finally:
        joined.close()


def _countable(resources: Any) -> dict[str, float]:
    """Return resources without those that only name nodes."""
    return {str(name): float(count) for name, count in resources.items() if ":" not in name}


def _node(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "node": str(facts["NodeID"])[:12], "host": facts["NodeManagerHostname"], "address": facts["NodeManagerAddress"],
        "alive": bool(facts["Alive"]), "resources": _countable(facts["Resources"]),
    }  # fmt: skip


def _workers(joined: JoinedRay) -> list[dict[str, Any]]:
    """Ask each worker of every pool; one that does not answer is told as silent."""
    ray = joined.ray
    names = [n["name"] for n in ray.util.list_named_actors(all_namespaces=True) if n["namespace"] == NAMESPACE]
    asked: dict[str, Any] = {}
    for name in sorted(names):
        try:
            asked[name] = ray.get_actor(name, namespace=NAMESPACE).report.remote()
        except ValueError:  # it ended meanwhile
            continue
    if asked:
        ray.wait(list(asked.values()), num_returns=len(asked), timeout=_SECONDS_TO_ANSWER)
    found: list[dict[str, Any]] = []
    for name, ref in asked.items():
        try:
            told: WorkerReport = ray.get(ref, timeout=0)
            found.append({"name": name, "state": "computing" if told.is_computing else "idle", **asdict(told)})
        except Exception as error:
            found.append({"name": name, "state": f"silent ({type(error).__name__})"})
    return found
