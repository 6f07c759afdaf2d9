"""Loom under its older names: tier 2 (``loom_boot``, ``loom_run``, ...), tier 3 (``ir_begin``, ``ir_fmul``, ...).

Layer: flow, on top of everything but the command line; nothing imports it. The one-call patterns of
tier 1 are in ``loom`` itself, the names of networks in ``loom.flow.dnvm``. Invariant: a name here means what
the tables of ``docs/guide/flow.md`` say, and nothing more.

>>> import loom
>>> loom.flow.loom_read(loom.flow.loom_boot(1.0, 8, 0), 0.0, 0.0, 2).tolist()
[0.0, 0.0]
"""

from importlib import import_module
from typing import Any

from loom.core.names import missing_name
from loom.core.tracebacks import brief_names
from loom.flow import aliases, arithmetic, extras, functions, ir, units, window
from loom.flow.aliases import *  # noqa: F403
from loom.flow.arithmetic import *  # noqa: F403
from loom.flow.extras import *  # noqa: F403
from loom.flow.functions import *  # noqa: F403
from loom.flow.ir import *  # noqa: F403
from loom.flow.units import *  # noqa: F403
from loom.flow.window import *  # noqa: F403

__all__: list[str] = []
__all__ += aliases.__all__
__all__ += [name for name in arithmetic.__all__ if name.startswith("ir_")]
__all__ += extras.__all__
__all__ += functions.__all__
__all__ += ir.__all__
__all__ += [name for name in units.__all__ if name.startswith("loom_")]
__all__ += window.__all__


brief_names(globals(), __all__)

_LATER = {"loomdb_": "loom.flow.vectors", "db_": "loom.flow.tables"}
"""Names by how they begin, whose module is imported at their first use."""


def __dir__() -> list[str]:
    return sorted({*globals(), *(name for module in _LATER.values() for name in import_module(module).__all__)})


def __getattr__(name: str) -> Any:
    if name == "dnvm":
        return import_module("loom.flow.dnvm")
    for start, module in _LATER.items():
        if name.startswith(start) and name in (found := import_module(module)).__all__:
            return getattr(found, name)
    raise missing_name("loom.flow", name, __all__)
