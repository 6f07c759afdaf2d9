"""Commands over published models: ``loom generate``, ``chat``, ``embed``, ``serve``, ``audit``. Layer: cli."""
