"""How people write a network: Tensor operators, index notation, formula text with its own parser, and layers,
losses and metrics as plain functions over them. Whatever can be known from shapes, names and types is refused here,
in the user's names.
"""
