"""Trainers and ONNX exporters: PyTorch lives here and only here, and `core` is used for its contracts and arrays."""
