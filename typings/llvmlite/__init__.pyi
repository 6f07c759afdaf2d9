"""llvmlite has no types of its own: everything of it is Any."""

from typing import Any

def __getattr__(name: str) -> Any: ...
