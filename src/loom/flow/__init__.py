"""Loom under its older names: tier 2 (``loom_boot``, ``loom_run``, ...), tier 3 (``ir_begin``, ``ir_fmul``, ...).

Layer: flow, on top of everything but the command line; nothing imports it. The one-call patterns of
tier 1 are those of ``loom``, the names of networks in ``loom.flow.dnvm``. ``from loom.flow import *`` gives all of
them, databases included, whose modules are imported at their first use. Invariant: a name here means what the tables of
``docs/guide/flow.md`` say, and nothing more.

Stability: stable.

>>> import loom
>>> loom.flow.loom_read(loom.flow.loom_boot(1.0, 8, 0), 0.0, 0.0, 2).tolist()
[0.0, 0.0]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loom.core.names import missing_name
from loom.core.tracebacks import brief_names
from loom.flow.aliases import *
from loom.flow.arithmetic import *
from loom.flow.async_files import *
from loom.flow.extras import *
from loom.flow.functions import *
from loom.flow.ir import *
from loom.flow.tier_one import *
from loom.flow.units import *
from loom.flow.window import *

if TYPE_CHECKING:
    from loom import (
        gpu_attention,
        gpu_map,
        gpu_matmul,
        gpu_max,
        gpu_min,
        gpu_prime_count,
        gpu_scan,
        gpu_sort,
        gpu_sum,
    )
    from loom.flow.tables import *
    from loom.flow.vectors import *

__all__ = [
    "bits_to_float",
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
    "float_to_bits",
    "gpu_attention",
    "gpu_map",
    "gpu_matmul",
    "gpu_max",
    "gpu_min",
    "gpu_prime_count",
    "gpu_scan",
    "gpu_sieve",
    "gpu_sort",
    "gpu_sum",
    "ir_and",
    "ir_as_f32",
    "ir_as_u32",
    "ir_barrier",
    "ir_begin",
    "ir_bitcount",
    "ir_block",
    "ir_buf_atomic_add",
    "ir_buf_atomic_and",
    "ir_buf_atomic_or",
    "ir_buf_len",
    "ir_buf_load",
    "ir_buf_store",
    "ir_const",
    "ir_const_u",
    "ir_entry",
    "ir_eq",
    "ir_f32_to_u32",
    "ir_fabs",
    "ir_fadd",
    "ir_fceil",
    "ir_fcos",
    "ir_fdiv",
    "ir_fexp",
    "ir_ffloor",
    "ir_finalize",
    "ir_flog",
    "ir_fmax",
    "ir_fmin",
    "ir_fmul",
    "ir_fneg",
    "ir_fpow",
    "ir_frint",
    "ir_fsin",
    "ir_fsqrt",
    "ir_fsub",
    "ir_ftanh",
    "ir_ftrunc",
    "ir_ge",
    "ir_get",
    "ir_global_id",
    "ir_group_id",
    "ir_gt",
    "ir_iadd",
    "ir_iadd64",
    "ir_if",
    "ir_imul",
    "ir_imul64",
    "ir_isub",
    "ir_isub64",
    "ir_le",
    "ir_local_id",
    "ir_loop",
    "ir_lt",
    "ir_ne",
    "ir_not",
    "ir_num_groups",
    "ir_or",
    "ir_push_const",
    "ir_push_const_u",
    "ir_select",
    "ir_set",
    "ir_shared_load",
    "ir_shared_store",
    "ir_shl",
    "ir_shr",
    "ir_spirv",
    "ir_u32_to_f32",
    "ir_u32_to_u64",
    "ir_u64_to_u32",
    "ir_udiv",
    "ir_udiv64",
    "ir_umax",
    "ir_umin",
    "ir_umod",
    "ir_umod64",
    "ir_var",
    "ir_xor",
    "loom_async_read",
    "loom_async_write",
    "loom_await",
    "loom_boot",
    "loom_build",
    "loom_copy",
    "loom_dispatch",
    "loom_dispatch_indirect",
    "loom_dispatch_jit",
    "loom_launch",
    "loom_mailbox",
    "loom_pace",
    "loom_poll",
    "loom_present",
    "loom_profile",
    "loom_profile_end",
    "loom_profile_start",
    "loom_read",
    "loom_repeat",
    "loom_run",
    "loom_set_heap",
    "loom_shutdown",
    "loom_stream",
    "loom_wait",
    "loom_write",
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
    "ui_close",
    "ui_open",
    "ui_poll_events",
    "vm_boot",
    "vm_build",
    "vm_copy",
    "vm_dispatch",
    "vm_dispatch_indirect",
    "vm_dispatch_jit",
    "vm_launch",
    "vm_mailbox",
    "vm_pace",
    "vm_poll",
    "vm_present",
    "vm_profile_end",
    "vm_profile_start",
    "vm_read",
    "vm_repeat",
    "vm_run",
    "vm_set_heap",
    "vm_shutdown",
    "vm_wait",
    "vm_write",
]

brief_names(globals(), __all__)

_LATER = {"gpu_": "loom", "loomdb_": "loom.flow.vectors", "db_": "loom.flow.tables"}
"""Names, by how they begin, whose module is imported at their first use."""


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name == "dnvm":
        return import_module("loom.flow.dnvm")
    for start, module in _LATER.items():
        if name in __all__ and name.startswith(start):
            return getattr(import_module(module), name)
    raise missing_name("loom.flow", name, __all__)
