"""Starting, compiling, chains, streams, units and copies."""
