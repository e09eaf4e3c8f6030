"""Algebra on equations: a table of proven rules (stable forms, collapse, sharing, fusion) and the one loop that
applies them. Each rule states its equation before and after in its docstring; the driver reports what fired, where
and why.
"""
