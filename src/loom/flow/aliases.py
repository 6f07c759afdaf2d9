"""The names that ``loom_...`` had before: ``vm_boot``, ``vm_dispatch`` and so on.

Layer: flow. Invariant: each is the very function of the newer name.
"""

from __future__ import annotations

from loom.flow.extras import (
    loom_copy,
    loom_dispatch_indirect,
    loom_mailbox,
    loom_pace,
    loom_profile_end,
    loom_profile_start,
    loom_repeat,
)
from loom.flow.units import (
    loom_boot,
    loom_build,
    loom_dispatch,
    loom_dispatch_jit,
    loom_launch,
    loom_poll,
    loom_present,
    loom_read,
    loom_run,
    loom_set_heap,
    loom_shutdown,
    loom_wait,
    loom_write,
)

__all__ = [
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

vm_boot = loom_boot
vm_build = loom_build
vm_copy = loom_copy
vm_dispatch = loom_dispatch
vm_dispatch_indirect = loom_dispatch_indirect
vm_dispatch_jit = loom_dispatch_jit
vm_launch = loom_launch
vm_mailbox = loom_mailbox
vm_pace = loom_pace
vm_poll = loom_poll
vm_present = loom_present
vm_profile_end = loom_profile_end
vm_profile_start = loom_profile_start
vm_read = loom_read
vm_repeat = loom_repeat
vm_run = loom_run
vm_set_heap = loom_set_heap
vm_shutdown = loom_shutdown
vm_wait = loom_wait
vm_write = loom_write
