"""How a pattern is called: arguments read, programs kept, workspaces lent, operations fused."""
