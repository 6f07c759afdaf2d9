"""Support Loom: all that moves between units and the world, on one I/O thread; Mains only receive dispatches."""
