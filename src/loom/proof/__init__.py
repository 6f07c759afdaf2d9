"""``loom verify``: proof that a device computes what the contract says, bit for bit.

Layer: proof. Layer 1 probes single operations for known hazards, layer 2 runs every elementary
function, layer 3 the kernels behind the patterns, layer 4 networks in training. Invariant: what a device is held
against was computed beforehand (``golden.json``) and does not depend on the machine that runs the proof.
"""
