"""Loom under its older names: tier 2 (``loom_boot``, ``loom_run``, ...), tier 3 (``ir_begin``, ``ir_fmul``, ...).

Layer: flow, on top of everything but the command line; nothing imports it. The one-call patterns of
tier 1 are those of ``loom``, the names of networks in ``loom.flow.dnvm``. ``from loom.flow import *`` gives all of
them, databases included, whose modules are imported at their first use. Invariant: a name here means what the tables of
``docs/guide/flow.md`` say, and nothing more.

>>> import loom
>>> loom.flow.loom_read(loom.flow.loom_boot(1.0, 8, 0), 0.0, 0.0, 2).tolist()
[0.0, 0.0]
"""

from importlib import import_module
from typing import Any

from loom.core.names import missing_name
from loom.core.tracebacks import brief_names
from loom.flow import aliases, arithmetic, async_files, extras, functions, ir, tier_one, units, window
from loom.flow.aliases import *  # noqa: F403
from loom.flow.arithmetic import *  # noqa: F403
from loom.flow.async_files import *  # noqa: F403
from loom.flow.extras import *  # noqa: F403
from loom.flow.functions import *  # noqa: F403
from loom.flow.ir import *  # noqa: F403
from loom.flow.tier_one import *  # noqa: F403
from loom.flow.units import *  # noqa: F403
from loom.flow.window import *  # noqa: F403

__all__: list[str] = []
__all__ += aliases.__all__
__all__ += [name for name in arithmetic.__all__ if name.startswith("ir_")]
__all__ += extras.__all__
__all__ += functions.__all__
__all__ += ir.__all__
__all__ += tier_one.__all__
__all__ += async_files.__all__
__all__ += [name for name in units.__all__ if name.startswith("loom_")]
__all__ += window.__all__


brief_names(globals(), __all__)

_OF_LOOM = (
    "gpu_attention",
    "gpu_map",
    "gpu_matmul",
    "gpu_max",
    "gpu_min",
    "gpu_prime_count",
    "gpu_scan",
    "gpu_sort",
    "gpu_sum",
)
_OF_VECTORS = (
    "loomdb_capture",
    "loomdb_create",
    "loomdb_create_vectors",
    "loomdb_flush",
    "loomdb_gpu_search",
    "loomdb_needs_flush",
    "loomdb_normalize",
    "loomdb_restore_meta",
    "loomdb_restore_vectors",
    "loomdb_result_count",
    "loomdb_result_id",
    "loomdb_result_meta",
    "loomdb_result_score",
    "loomdb_search",
)
_OF_TABLES = (
    "db_aggregate",
    "db_count",
    "db_create",
    "db_delete",
    "db_distinct",
    "db_import_csv",
    "db_insert",
    "db_load",
    "db_load_all",
    "db_save",
    "db_save_all_add",
    "db_save_all_start",
    "db_select",
    "db_select_column",
    "db_select_row",
    "db_table",
    "db_update",
    "db_where",
)
_LATER = {
    **dict.fromkeys(_OF_LOOM, "loom"),
    **dict.fromkeys(_OF_VECTORS, "loom.flow.vectors"),
    **dict.fromkeys(_OF_TABLES, "loom.flow.tables"),
}
"""Names whose module is imported at their first use."""
__all__ += list(_LATER)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


def __getattr__(name: str) -> Any:
    if name == "dnvm":
        return import_module("loom.flow.dnvm")
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise missing_name("loom.flow", name, __all__)
