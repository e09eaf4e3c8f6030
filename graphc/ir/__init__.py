"""What an equation is: indices and quasi-affine maps, the one node, the scalar functions with their derivatives,
and the checks and the one-line printing of a graph. Everything else in graphc is written in these terms; nothing
here knows of anything but :mod:`graphc.errors`.
"""
