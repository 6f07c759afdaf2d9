"""Names that people guess for patterns that stand elsewhere. Layer: patterns."""
