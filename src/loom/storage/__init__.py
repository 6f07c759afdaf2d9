"""The only code of Loom that writes files."""
