"""Models as ONNX, and at work in onnxruntime."""
