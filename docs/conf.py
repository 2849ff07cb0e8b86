"""How Sphinx builds these pages: `sphinx-build -W --keep-going -b html docs docs/_build/html`."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from bnjax import __version__

project = "bnjax"
copyright = "the bnjax authors, Apache-2.0"
release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "docstrings",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "bnjax"
html_copy_source = False
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
# Single backticks in docstrings are code.
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Source"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes and dtypes are in the text
autodoc_default_options = {"members": False, "show-inheritance": False}
