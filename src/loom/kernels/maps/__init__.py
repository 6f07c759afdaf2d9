"""Element by element: fused maps, strided maps, random numbers, literals."""
