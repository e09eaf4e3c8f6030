"""How Sphinx makes the site (``make docs``): pages in Markdown, formulas as MathML, a reference of the public names."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from reference import write  # noqa: E402  beside this file

import graphc  # noqa: E402

project, author, copyright = "graphc", "The graphc developers", "The graphc developers"
version = release = graphc.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["constraints.txt"]
nitpicky = True  # pages and anchors; the types in numpydoc sections are prose ("array of shape (n, d)")
nitpick_ignore_regex = [("py:.*", ".*")]
suppress_warnings = ["ref.python"]  # a type written as "shape" or "name" is no link to a property of that name

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

napoleon_google_docstring, napoleon_use_rtype = False, False
autodoc_typehints = "none"  # the docstring says it in words; the signature stays short
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
add_module_names = False
default_role = "code"
maximum_signature_line_length = 90

html_theme = "furo"
html_static_path, html_css_files = ["static"], ["site.css"]
html_title = f"graphc {version}"
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "mathml"
pygments_style = "friendly"


def _inline(self: object, node: nodes.Element) -> None:
    self.body.append(tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def _block(self: object, node: nodes.Element) -> None:
    self.body.append(f'<div class="formula">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def _plain(_app: object, what: str, _name: str, _found: object, _options: object, lines: list[str]) -> None:
    """Docstrings say |x| and n_features_in_ in plain text, where reStructuredText would see markup."""
    if what in ("property", "attribute", "data"):
        lines.insert(0, "")  # else napoleon takes what stands before a colon for a type
    for k, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(`+[^`]+`+)", line)
            parts[::2] = [re.sub(r"\||(?<=\w)_(?=\W|$)", r"\\\g<0>", part) for part in parts[::2]]
            lines[k] = "".join(parts)


def setup(app: object) -> None:
    """Browsers show MathML themselves, so that the pages ask for nothing from outside."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("autodoc-process-docstring", _plain, priority=400)  # before napoleon
    app.connect("builder-inited", lambda app: write(Path(app.srcdir) / "reference"))
