"""Units: bound memory with chains of dispatches over it."""
