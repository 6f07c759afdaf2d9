"""Cases of the language: operations, control flow, memory."""
