"""Every stage made visible: formulas in index, matrix and lecture form, derivations line by line, pictures of the
graph, plots, loss landscapes and the self-contained HTML report.
"""
