"""The picture of a graph: boxes made of the lines of a derivation, a layered layout, SVG and text."""
