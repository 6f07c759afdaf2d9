"""The seeds' own names: tier 2 (``loom_boot``, ``loom_run``, ...), tier 3 (``ir_begin``, ``ir_fmul``, ...).

Layer: flow, on top of everything but the command line; nothing imports it. The one-call patterns of
tier 1 are in ``loom`` itself. Invariant: a name here means what the seeds' tables say, and nothing more.

>>> from loom.flow import loom_boot, loom_read
>>> loom_read(loom_boot(1.0, 8, 0), 0.0, 0.0, 2).tolist()
[0.0, 0.0]
"""

from loom.flow import arithmetic, ir, units
from loom.flow.arithmetic import *  # noqa: F403
from loom.flow.ir import *  # noqa: F403
from loom.flow.units import *  # noqa: F403

__all__: list[str] = []
__all__ += arithmetic.__all__
__all__ += ir.__all__
__all__ += units.__all__
