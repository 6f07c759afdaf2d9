"""Elementary functions of 64 bits."""
