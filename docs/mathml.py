"""Formulas as MathML, which browsers draw by themselves: pages need no script and no network."""

import re

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

# What the formulas have that docutils does not know.
SPELLED_OUT = {
    "…": r"\ldots ",
    r"\dots": r"\ldots",
    r"\lVert": r"\|",
    r"\rVert": r"\|",
    r"\lvert": "|",
    r"\rvert": "|",
}


def mathml(formula: str, *, as_block: bool) -> str:
    """A formula of LaTeX as MathML."""
    for known, spelled in SPELLED_OUT.items():
        formula = formula.replace(known, spelled)
    formula = re.sub(r"(\\t?frac)(\w)(\w)", r"\1{\2}{\3}", formula)
    return latex2mathml.tex2mathml(formula, as_block=as_block)


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    """Write an inline formula."""
    self.body.append(mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a displayed formula."""
    self.body.append(mathml(node.astext(), as_block=True))
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register as the renderer `mathml`."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
