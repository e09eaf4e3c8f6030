"""Machines that run CUDA programs: the driver of a GPU, and an emulator with one thread."""
