"""What goes in and comes out: CSV, numpy, copies."""
