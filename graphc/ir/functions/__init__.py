"""The declarations of all scalar functions; a file imports only from those before it.

arrays, declaring; choices, elementary, smooth, analytic, floats, normal, gamma, bessel; then words: numpy_words,
activation_words, special_words.
"""
