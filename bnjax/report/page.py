"""One self-contained page from runs: nothing is fetched, whatever is shown of a run is escaped."""

import functools
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import Any as Drawn

import numpy as np

from bnjax.frame.disk import replacing
from bnjax.frame.messages import printable
from bnjax.report import content, pack, quantities, tables
from bnjax.report.content import PAGE, Run
from bnjax.report.sections import VERDICTS, Section, keys, section, set_side_by_side

TEMPLATES = Path(__file__).parent / "templates"
PROGRAM = ("page", "figures", "charts", "surfaces", "controls")  # parts, each sees those before it
LONGEST = 20_000  # characters of one text
MOST_FILES = 8 * 2**20  # bytes of all files to download, packed; what is beyond them is linked
# Dashes of a chart as an SVG draws them.
DASHED = {
    "solid": "none",
    "dash": "7 4",
    "dot": "2 3",
    "dashdot": "7 3 2 3",
    "longdash": "12 4",
    "longdashdot": "12 3 2 3",
}
SECTIONS = {
    "training": "Training curves",
    "slice": "Slices at one step",
    "course": "Along training",
    "after": "After training",
    "surface": "Surfaces",
    "beside": "Beside the published curves",
}


def write_page(drawn: Drawn, folder: Path) -> Path:
    """Write a run's own page, `report.html` in its folder. Equal runs have equal pages.

    Args:
      drawn: what it measured, claims with their verdicts as `summary.json` will have them, figures
        that were drawn in the folder, and published curves that they were drawn with.
      folder: `<out>/<experiment>/<digest>`.

    Returns:
      The path of the page.

    Raises:
      RunError: a file cannot be read, or plotly is missing.
    """
    here = folder.absolute()
    run = Run(
        experiment=here.parent.name,
        digest=here.name,
        results=drawn.results,
        claims=drawn.claims,
        figures=content.collect(drawn.figures),
        published=drawn.published,
        presets=drawn.experiment.presets,
        date="",
        href="",
    )
    return save(render([run]), folder / PAGE)


def save(page: str, path: Path) -> Path:
    """Write a page, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


@np.errstate(all="ignore")  # an arm that diverged overflows here too, and is shown as it is
def render(runs: Sequence[Run], compared: tuple[Run, Run] | None = None) -> str:
    """The page of some runs.

    Args:
      runs: at least one.
      compared: two of them that are set side by side.

    Returns:
      An HTML document.
    """
    numbers = pack.Numbers()
    budget = [MOST_FILES]
    sections = [section(f"run-{i + 1}", run, numbers, budget) for i, run in enumerate(runs)]
    groups = [one.group for one in sections]
    pair = None
    if compared is not None:
        first, second = (sections[runs.index(run)] for run in compared)
        pair = set_side_by_side(first, second, numbers)
        groups.append(pair.group)
    steps = sorted({step for group in groups for step in group.steps})
    data = {
        "groups": [group.content for group in groups],
        "places": numbers.places,
        "steps": steps,
    }
    program, style = whole_program(), text("report.css")
    plotly = pack.plotly()
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            title=title(sections, pair is not None),
            sections=sections,
            pair=pair,
            steps=steps,
            kinds=SECTIONS,
            verdicts=VERDICTS,
            axis=quantities.axis,
            keys=keys,
            program=program,
            style=style,
            plotly=plotly,
            # Programs by their hashes alone, and nothing from anywhere else.
            policy="default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: blob:; "
            f"style-src 'unsafe-inline'; script-src '{pack.digest(program)}' '{plotly.digest}'",
            data=pack.as_json(data),
            numbers=pack.pack(numbers.content()),
        )
    )


def title(sections: Sequence[Section], compared: bool) -> str:
    """The title of the page."""
    names = ", ".join(dict.fromkeys(one.run.experiment for one in sections))
    return f"{'Comparison' if compared else 'Report'}: {names}"


def whole_program() -> str:
    """The page's program, whose parts see each other and nothing else sees them."""
    parts = "\n".join(text(f"{name}.js") for name in PROGRAM)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def text(name: str) -> str:
    """A part of the page that is the same for all runs."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


@functools.cache
def environment() -> Any:
    """Templates in which everything is escaped, control characters and turned writing too."""
    import jinja2
    from markupsafe import Markup

    def finalize(value: Any) -> Any:
        return value if isinstance(value, Markup) else printable(value, LONGEST)

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "unescape": html.unescape,
        "listed": tables.value,
        "dashed": lambda dash: DASHED.get(dash, dash.replace("px", "").replace(",", " ")),
    }
    return made
