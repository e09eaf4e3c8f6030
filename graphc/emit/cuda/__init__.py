"""Plans as CUDA programs: the same loop nests and the same memory plan as on the CPU, printed for many threads."""
