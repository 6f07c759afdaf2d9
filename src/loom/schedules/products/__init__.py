"""Matrix products of special operands."""
