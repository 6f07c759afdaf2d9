"""PTX of kernels that may be begun before those they depend on are over: programmatic dependent launch, from sm_90 on.

Layer: targets. All lanes wait before they do anything else: the wait is written into the text that LLVM made, which
would have moved loads of what a kernel does not write across it. So a kernel is over only after all that it waited for
is, and what depends on it alone finds their memory too: edges that others imply may be left out. Invariant: nothing is
read or written, but parameters, before the wait.

Source: PTX ISA, "griddepcontrol", "ld.global.nc", "fence.proxy"; CUDA Programming Guide, "Programmatic Dependent
Launch".
"""

from __future__ import annotations

import re

__all__ = ["waiting"]

_WAIT, _LAUNCH = "griddepcontrol.wait;", "griddepcontrol.launch_dependents;"
_SAID = {"waited": (_WAIT, _LAUNCH), "begun": (_LAUNCH, _WAIT)}
_PROXY = "fence.proxy.async.global;"
_BODY = re.compile(r"^\.visible \.entry [^{]*\{$", re.MULTILINE)
_UNCHANGING = "ld.global.nc."


def waiting(text: str, dependents: str, *, copies: bool) -> str:
    """Return PTX of a kernel that waits; ``dependents`` as of ``Machine``; ``copies``: it has the copy engine read.

    Dependents are launched once all groups of a kernel have said so or are over. They wait for the whole kernel, so it
    is right wherever it is said; and they take no room from its groups, of which all have begun by then, so it is said
    first thing. After the wait ("waited"), what depends on a kernel at work holds room and waits. Before it ("begun"),
    so does what depends on a kernel that waits itself, and so on: launched sooner, in the way of others for longer.

    Loads through the cache that is not kept coherent (.nc) are for memory that nobody writes from a kernel's begin to
    its end, and this one begins while others write what it will read. The copy engine reads by a proxy of its own,
    which is told by a fence what lanes see.
    """
    said = [*_SAID[dependents], *([_PROXY] if copies else [])]
    lines = "".join(f"\n\t{line}" for line in said)
    return _BODY.sub(lambda m: m[0] + lines, text).replace(_UNCHANGING, "ld.global.")
