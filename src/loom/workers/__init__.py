"""Workers: processes on this machine or others that own one Loom device each. Layer: workers.

What is computed is known to whoever gives them work. Invariant: which
worker computed a call, and how often it was computed, cannot be seen in its result.

Stability: new.
"""

from loom.workers.audit import WorkerFault
from loom.workers.pool import WorkerPool

__all__ = ["WorkerFault", "WorkerPool"]
