"""Products with weights that stay whole numbers of 4 or 8 bits, a scale for each block of them."""
