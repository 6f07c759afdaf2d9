"""Devices as the runtime sees them: the port that drivers implement, its caches, clocks and budgets."""
