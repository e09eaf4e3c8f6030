"""The ways in and out: exported C, ONNX, array interfaces and data parallel runs. Each
optional package is loaded in the one file that needs it, with an error that names the extra which installs it.
"""
