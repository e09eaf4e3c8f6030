"""One page that shows a model: HTML without anything from outside, formulas as MathML."""
