"""How Sphinx builds these pages: `sphinx-build -W --keep-going -b html docs docs/_build/html`."""

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from bnjax import __version__  # noqa: E402

project = "bnjax"
copyright = "the bnjax authors, Apache-2.0"
release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "mathml",
    "docstrings",
]
exclude_patterns = ["_build"]
html_math_renderer = "mathml"
html_theme = "furo"
html_title = "bnjax"
html_copy_source = False
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
default_role = "code"  # single backticks in docstrings
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Source"]
napoleon_attr_annotations = False  # `docstrings` says the shapes
napoleon_use_ivar = True
autodoc_typehints = "none"  # shapes and dtypes are in the text


def name_outer_pages(text: str, place: Path) -> str:
    """Links to Markdown files that are no pages of these become their names.

    Args:
      text: Markdown.
      place: the folder that its links are relative to.
    """

    def rename(link: re.Match) -> str:
        target = (place / link[2]).resolve()
        return link[0] if target.is_relative_to(HERE) else f"`{link[1]}`"

    return re.sub(r"\[([^]]+)\]\((?!https?:)([^)#]+\.md)[^)]*\)", rename, text)


def read_page(app: Sphinx, page: str, source: list[str]) -> None:
    """Rewrite a page before it is parsed."""
    source[0] = name_outer_pages(source[0], (Path(app.srcdir) / page).parent)


def read_included(app: Sphinx, path: Path, page: str, content: list[str]) -> None:
    """Rewrite a file that a page includes before it is parsed."""
    del page
    content[0] = name_outer_pages(content[0], (Path(app.srcdir) / path).parent)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect both."""
    app.connect("source-read", read_page)
    app.connect("include-read", read_included)
    return {"parallel_read_safe": True}
