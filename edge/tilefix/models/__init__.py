"""Model files that ship with tilefix: each a .onnx with its .json manifest."""
