"""Complex tensors: what they are in memory, what arithmetic means for them, their functions. Layer: tensor."""
