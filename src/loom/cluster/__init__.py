"""Work for the devices of many machines, by Ray: chunks, sums, prime counts, swarms of units. Layer: cluster.

    with loom.cluster.connect(4) as pool:
        loom.cluster.prime_count(10**9, workers=pool)

Invariant: a result depends on what is asked alone: not on how many workers there are, where they run, and which of
them are killed, added or slow.

Stability: new.
"""

from loom.cluster.estimates import estimate_step as estimate
from loom.cluster.looking import status
from loom.cluster.mapping import map_chunks as map  # noqa: A004
from loom.cluster.pools import connect
from loom.cluster.ranges import count_primes as prime_count
from loom.cluster.ranges import sum_elements as sum  # noqa: A004
from loom.cluster.swarms import run_units as swarm

__all__ = ["connect", "estimate", "map", "prime_count", "status", "sum", "swarm"]
