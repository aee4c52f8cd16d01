"""The engine: models in, maps out. Only numpy, ONNX Runtime and itself by relative import, so it runs anywhere."""
