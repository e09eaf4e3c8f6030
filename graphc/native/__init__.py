"""From generated text to machine code: a compilation target inside Numba, a cache of object files, their loader."""
