"""Trainers and ONNX exporters: PyTorch lives here and only here, and `core` is used for its contracts and arrays."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as core/sessions.py says; here ONNX Runtime is imported by others as well
