"""How control goes: the loop over groups; loops of lanes together, apart, or one lane after the other."""
