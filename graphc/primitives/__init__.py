"""Machine code written by hand, which generated CPU code calls by name: vector math, matrix products, the barrier of a
thread team, counter-based random numbers.
"""
