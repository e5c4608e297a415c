"""Networks as ONNX models: the graph, JAX's operations as ONNX's, the conversion."""
