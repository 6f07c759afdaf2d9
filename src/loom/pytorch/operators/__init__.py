"""What records ATen's operators, by family. Layer: pytorch. Invariant: importing a family enters its operators."""

from loom.pytorch.operators import (  # noqa: F401
    attention,
    creation,
    elementwise,
    indexing,
    losses,
    norms,
    products,
    random,
    recurrent,
    reductions,
    shaping,
    windows,
)  # fmt: skip

__all__: list[str] = []
