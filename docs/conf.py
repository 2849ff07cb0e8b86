"""How Sphinx builds these pages: `sphinx-build -W --keep-going -b html docs docs/_build/html`.

The page of a study is `bnjax/studies/<name>/page.md`, that of a notebook is made of its `.ipynb`.
Each build writes them to `docs/studies/` and `docs/notebooks/`, so that a new one needs no entry
here.
"""

import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]

import notebook_pages  # noqa: E402

from bnjax import __version__, norms  # noqa: E402

sys.modules["bnjax.norms"] = norms  # users type `bnjax.norms.batch_norm`; Sphinx imports its module
project = "bnjax"
copyright = "the bnjax authors, Apache-2.0"
release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "mathml",
    "docstrings",
]
exclude_patterns = ["_build"]
html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"bnjax {release}"  # on every page
html_copy_source = False
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
default_role = "code"  # single backticks in docstrings
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Source", ("Arguments that its methods share", "params_style")]
napoleon_attr_annotations = False  # `docstrings` says the shapes
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
viewcode_line_numbers = True

STUDIES, NOTEBOOKS = ROOT / "bnjax" / "studies", ROOT / "notebooks"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINK = re.compile(r"(!?)\[([^]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)")


def relink(text: str, place: Path, page: Path) -> str:
    """Links of a text, which lead to files of the repository, as links of a page of these docs.

    Args:
      text: Markdown.
      place: the folder of the file that it stands in.
      page: the folder of the page that shows it.

    Returns:
      The text. A link to a Markdown file that is no page here becomes its name.
    """

    def change(link: re.Match[str]) -> str:
        mark, words, name, anchor = link.groups(default="")
        target = (place / name).resolve()
        if target.name == "page.md" and target.parent.parent == STUDIES:
            target = HERE / "studies" / f"{target.parent.name}.md"
        elif target.parent == NOTEBOOKS and target.suffix == ".ipynb":
            target = HERE / "notebooks" / f"{target.stem}.md"
        elif target == ROOT / "CHANGELOG.md":
            target = HERE / "changelog.md"
        elif not target.exists():  # code that looks like a link
            return link[0]
        elif target.suffix == ".md" and HERE not in target.parents:
            return f"`{words.strip('`')}`"
        return f"{mark}[{words}]({Path(os.path.relpath(target, page)).as_posix()}{anchor})"

    return LINK.sub(change, text)


def write_studies(app: Sphinx) -> None:
    """A page for each study: its `page.md`, or question and docstring where it has none."""
    from bnjax.frame import study

    folder = Path(app.srcdir) / "studies"
    write_pages(folder, {name: study_page(study.find(name), folder) for name in study.names()})


def write_notebooks(app: Sphinx) -> None:
    """A page for each notebook, with its pictures."""
    folder = Path(app.srcdir) / "notebooks"
    repository = PROJECT.get("urls", {}).get("Repository", "")
    pages = {}
    for path in NOTEBOOKS.glob("*.ipynb"):
        folder.mkdir(exist_ok=True)
        text = notebook_pages.page(path, folder, repository)
        pages[path.stem] = relink(text, NOTEBOOKS, folder)
    write_pages(folder, pages)


def write_pages(folder: Path, pages: dict[str, str]) -> None:
    """Have these pages in a folder and no others; those that are as they were keep their time."""
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.md"):
        if path.stem not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def study_page(study: Any, folder: Path) -> str:
    """The page of one study, and how it is declared."""
    place = STUDIES / study.name
    if (place / "page.md").exists():
        text = relink((place / "page.md").read_text(encoding="utf-8"), place, folder)
    else:
        title, _, rest = study.description.partition("\n")
        text = f"# {title.rstrip('.')}\n\n**Question.** {study.question} ({study.source})\n{rest}\n"
    options = study.options
    return text + (
        f"\n```{{eval-rst}}\n.. autoclass:: {options.__module__}.{options.__qualname__}\n"
        "   :members:\n   :exclude-members: check\n```\n"
    )


def read_page(app: Sphinx, page: str, source: list[str]) -> None:
    """Change the links of a page before it is parsed."""
    place = (Path(app.srcdir) / page).parent
    if place.name not in ("studies", "notebooks"):  # their links are changed
        source[0] = relink(source[0], place, place)


def read_included(app: Sphinx, path: Path, page: str, content: list[str]) -> None:
    """Change the links of a file that a page includes."""
    source = Path(app.srcdir)
    content[0] = relink(content[0], (source / path).parent, (source / page).parent)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect them."""
    app.connect("builder-inited", write_studies)
    app.connect("builder-inited", write_notebooks)
    app.connect("source-read", read_page)
    app.connect("include-read", read_included)
    return {"parallel_read_safe": True}
