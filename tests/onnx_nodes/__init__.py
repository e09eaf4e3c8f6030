"""ONNX's operators in graphc's words, held to the cases that ONNX itself tests its backends with."""
