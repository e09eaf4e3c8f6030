"""From text to a running program: build and cache, the primitives behind the emitted names, the training loop,
data, random numbers and checkpoints. With :mod:`graphc.interop` the only place that may import Numba and llvmlite.
"""
