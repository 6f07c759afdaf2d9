"""What a target's compiler lacks or gets wrong, computed by integers of 32 bits.

Layer: ir. ``exact`` puts f32 quotients and roots right, ``narrow`` carries integers of 8 and 16 bits.
"""
