"""From loop nests to text: a backend is a printer of loop nests and one table of scalar functions. It names
primitives (vector math, matrix tiles, reductions) without knowing what implements them, and imports no compiler.
"""
