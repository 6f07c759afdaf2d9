"""``loom explain FILE:KERNEL``: says line by line what the CPU makes of a kernel."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["explain"]


def explain(
    kernel: Annotated[str, typer.Argument(metavar="FILE:KERNEL", help="A Python file, and a kernel in it.")],
) -> None:
    """Say line by line what is read side by side, what gathers, where lanes part, and what a tuned form would do."""
    from loom.cli.inputs.kernel_file import load_kernel
    from loom.runtime.explain import explain as explained

    typer.echo(str(explained(load_kernel(kernel))))
