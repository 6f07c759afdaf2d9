"""The writer of ONNX files and its records. Layer: export."""
