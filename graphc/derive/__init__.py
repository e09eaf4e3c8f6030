"""Calculus on equations: the pullback of one node, delta contraction, gradients, pushforward, Hessians and the
question whether a loss is differentiable. The derivative of a graph is again a graph, so any order comes from the
same rule.
"""
