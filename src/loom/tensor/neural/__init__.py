"""Functions of networks, named as torch's, channels last. Layer: tensor."""
