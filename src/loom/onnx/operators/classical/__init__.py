"""Operators of classical models, ONNX's domain ``ai.onnx.ml``: linear ones, machines, trees. Layer: onnx."""
