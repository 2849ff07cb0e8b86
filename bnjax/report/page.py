"""One self-contained page from runs: it fetches nothing, and escapes all that a run says."""

import functools
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnjax.frame.disk import replacing
from bnjax.frame.messages import printable
from bnjax.report import charts, overlays, pack, tables, vector
from bnjax.report.command import command
from bnjax.report.finished import PAGE, Figure, FinishedRun

TEMPLATES = Path(__file__).parent / "templates"
PROGRAM = ("page", "figures", "charts", "surfaces", "controls")  # parts, each sees those before it
LONGEST = 20_000  # characters of one text
MOST_FILES = 8 * 2**20  # bytes of all files to download, packed; those beyond are linked
MOST_INLINE = 4 * 2**20  # bytes of a figure that stands in the page itself
MOST_KEYS = 12  # arms that have a key; of more the samples at the switches tell enough
MOST_ENDS = 8  # columns of the table of ends
TYPES = {".csv": "text/csv", ".svg": "image/svg+xml", ".pdf": "application/pdf"}
VERDICTS = {"supported": "yes", "not supported": "no", "inconclusive": "open"}
# Dashes of a chart as an SVG draws them.
DASHED = {
    "solid": "none",
    "dash": "7 4",
    "dot": "2 3",
    "dashdot": "7 3 2 3",
    "longdash": "12 4",
    "longdashdot": "12 3 2 3",
}
KINDS = {
    "training": "Training curves",
    "slice": "Slices at one step",
    "course": "Along training",
    "after": "After training",
    "surface": "Surfaces",
    "overlay": "Measured and published",
}
OPEN = ("training", "slice", "surface", "overlay")  # kinds that are unfolded at first


class Download(NamedTuple):
    """A file that a button hands out."""

    name: str
    suffix: str
    type: str
    id: str  # of the element that holds it, packed; empty where the page only links it
    packed: str
    href: str  # of the file in the run's folder, for readers without scripts


class Shown(NamedTuple):
    """A figure as the page shows it."""

    id: str
    figure: Figure
    svg: str  # checked, empty where it is too large
    view: str  # its viewBox
    picture: str  # the PNG as base64, in place of it
    note: str
    downloads: Sequence[Download]


class Section(NamedTuple):
    """A run as the page shows it."""

    id: str
    finished: FinishedRun
    name: str
    command: Sequence[str]
    facts: Sequence[tuple[str, str]]
    options: Mapping[str, str]
    counts: Mapping[str, int]
    figures: Sequence[Shown]
    tables: Sequence[Download]
    group: charts.Group
    ends: Sequence[Sequence[str]]  # an arm and the end of each quantity
    quantities: Sequence[str]


class Pair(NamedTuple):
    """Two runs side by side as the page shows them."""

    first: Section
    second: Section
    found: tables.Comparison
    group: charts.Group
    figures: Sequence[tuple[Shown, Shown]]


def write_page(one: FinishedRun, folder: Path) -> Path:
    """Write a run's own page, `report.html` in its folder. Equal runs have equal pages.

    Raises:
      RunError: a figure cannot be shown, or plotly is missing.
    """
    return save(render([one]), folder / PAGE)


def save(page: str, path: Path) -> Path:
    """Write a page, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


@np.errstate(all="ignore")  # an arm that diverged overflows here too, and is shown as it is
def render(runs: Sequence[FinishedRun], compared: tuple[int, int] | None = None) -> str:
    """The page of some runs, an HTML document.

    Args:
      runs: at least one.
      compared: the places of two of them that are set side by side.
    """
    numbers = pack.Numbers()
    budget = [MOST_FILES]
    sections = [section(f"run-{i + 1}", run, numbers, budget) for i, run in enumerate(runs)]
    groups = [one.group for one in sections]
    pair = None
    if compared is not None:
        first, second = (sections[place] for place in compared)
        pair = set_side_by_side(first, second, numbers)
        groups.append(pair.group)
    steps = sorted({step for group in groups for step in group.steps})
    data = {
        "groups": [group.content for group in groups],
        "places": numbers.places,
        "steps": steps,
    }
    names = ", ".join(dict.fromkeys(run.name for run in runs))
    program, plotly = whole_program(), pack.plotly()
    template = environment().get_template("report.html.j2")
    page: str = template.render(
        title=f"{'Report' if pair is None else 'Comparison'}: {names}",
        sections=sections,
        pair=pair,
        steps=steps,
        kinds=KINDS,
        unfolded=OPEN,
        verdicts=VERDICTS,
        keys=keys,
        program=program,
        style=text("report.css"),
        plotly=plotly,
        # Programs by their hashes alone, and nothing from anywhere else.
        policy="default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: blob:; "
        f"style-src 'unsafe-inline'; script-src '{pack.digest(program)}' '{plotly.digest}'",
        data=pack.as_json(data),
        numbers=pack.pack(numbers.content()),
    )
    return page


def section(identifier: str, one: FinishedRun, numbers: pack.Numbers, budget: list[int]) -> Section:
    """A run as the page shows it; `budget` has the bytes that are left for files."""
    group = charts.build(identifier, [("", one.run)], numbers)
    if drawn := overlays.charts(identifier, one.figures, numbers):
        group = group._replace(
            sections={**group.sections, "overlay": drawn},
            content={**group.content, "charts": [*group.content["charts"], *drawn]},
        )
    figures, loose = [], []
    for place, figure in enumerate(one.figures):
        downloads = [
            download(f"{identifier}-file-{place}", one.href, figure, suffix, budget)
            for suffix in TYPES
            if suffix in figure.files
        ]
        if set(figure.files) <= {".csv"}:
            loose += downloads
        else:
            figures.append(show(f"{identifier}-figure-{place}", figure, downloads))
    # Figures may have been drawn again: they tell whether published curves were given.
    published = True if any(map(overlays.has_published, one.figures)) else None
    options = {**one.run.options, "published": published}
    script = str(one.run.facts.get("script", ""))
    ends = tables.ends(one.run)
    names = list(dict.fromkeys(name for found in ends.values() for name in found))[:MOST_ENDS]
    return Section(
        id=identifier,
        finished=one,
        name=f"{one.name}/{one.digest}",
        command=command(one.name, options, one.study, script).split(" "),
        facts=tables.facts(one),
        options=tables.deciding(one.run.options),
        counts={name: [v["verdict"] for v in one.verdicts].count(name) for name in VERDICTS},
        figures=figures,
        tables=loose,
        group=group,
        ends=[[arm, *(found[name].text for name in names)] for arm, found in ends.items()],
        quantities=names,
    )


def set_side_by_side(first: Section, second: Section, numbers: pack.Numbers) -> Pair:
    """Two runs, their curves over each other and their figures side by side."""
    named = [
        (f"{place}: {one.name}", one.finished.run)
        for place, one in zip("AB", (first, second), strict=True)
    ]
    others = {shown.figure.name: shown for shown in second.figures if shown.svg}
    figures = [
        (shown, others[shown.figure.name])
        for shown in first.figures
        if shown.svg and shown.figure.name in others
    ]
    found = tables.compare(first.finished, second.finished)
    return Pair(first, second, found, charts.build("compare", named, numbers), figures)


def keys(group: charts.Group) -> Sequence[Mapping[str, Any]]:
    """The curves that the key of a group names: one for each arm, of many none."""
    found = [curve for curve in group.content["curves"] if curve["first"]]
    return found if len(found) <= MOST_KEYS else ()


def show(identifier: str, figure: Figure, downloads: Sequence[Download]) -> Shown:
    """A figure as the page shows it; a very large one is shown as a picture."""
    drawing, picture = figure.files.get(".svg", b""), figure.files.get(".png", b"")
    svg = note = ""
    if drawing and len(drawing) <= MOST_INLINE:
        spoken = printable(" ".join(". ".join(filter(None, figure[1:5])).split()), 2000)
        svg = vector.inline(drawing, f"{identifier}-", spoken, f"{figure.name}.svg")
    elif drawing:
        note = f"The drawing has {len(drawing) / 2**20:.0f} MiB: a picture stands in its place."
    small = not svg and len(picture) <= MOST_INLINE
    return Shown(
        identifier,
        figure,
        svg,
        vector.view(drawing) if svg else "",
        pack.plain(picture) if small else "",
        note,
        downloads,
    )


def download(
    identifier: str, href: str, figure: Figure, suffix: str, budget: list[int]
) -> Download:
    """A file to download: in the page while there is room, else in the run's folder."""
    packed = pack.pack(figure.files[suffix])
    fits = len(packed) <= budget[0]
    budget[0] -= len(packed) if fits else 0
    name, kind = f"{figure.name}{suffix}", suffix.removeprefix(".")
    place = f"{identifier}-{kind}" if fits else ""
    content = packed if fits else ""
    return Download(name, kind.upper(), TYPES[suffix], place, content, f"{href}{name}")


def number(value: Any, unit: str) -> str:
    """A number of a verdict as a person reads it; of shares the points."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "none" if value is None else str(value)
    return f"{100 * value if unit == 'points' else value:.4g}"


def whole_program() -> str:
    """The page's program, whose parts see each other and nothing else sees them."""
    parts = "\n".join(text(f"{name}.js") for name in PROGRAM)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def text(name: str) -> str:
    """A part of the page that is the same for all runs."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


@functools.cache
def environment() -> Any:
    """Templates that escape everything, control characters and turned writing too."""
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
        "number": number,
        "dashed": lambda dash: DASHED.get(dash, dash.replace("px", "").replace(",", " ")),
    }
    return made
