"""Facts shared by every layer: errors, element types, the numeric contract. Imports nothing of Loom."""
