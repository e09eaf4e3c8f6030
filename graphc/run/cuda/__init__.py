"""CUDA programs on a GPU: libraries, compilation, launches, training."""
