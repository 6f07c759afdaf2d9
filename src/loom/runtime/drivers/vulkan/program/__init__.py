"""Plans as recorded commands."""
