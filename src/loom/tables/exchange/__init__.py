"""What goes in and comes out: CSV, Arrow, numpy, copies."""
