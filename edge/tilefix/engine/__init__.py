"""Faster forms of a model: quantized ONNX files and TensorRT engines, and the check that they describe as it does."""
