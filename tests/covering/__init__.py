"""Random graphs that cover: every kind of value, read in every way, by every kind of reader, in every kind of program.

A row of a covering array (:mod:`.array`) names what a graph must contain; :mod:`.draw` draws such a graph as a small
description, a list of steps that JSON holds.  :mod:`.build` reads a description with graphc and, by functions of its
own, with JAX; :mod:`.compare` runs what graphc made of it and says what differs; :mod:`.shrink` makes a description
that differs small.  ``python -m tests.covering`` is the long search (``make fuzz``).
"""
