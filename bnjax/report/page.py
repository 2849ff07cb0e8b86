"""One self-contained page from runs: it fetches nothing, and escapes all that a run says."""

import base64
import functools
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from bnjax.frame.disk import replacing
from bnjax.frame.messages import printable
from bnjax.report import charts, pack, tables
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
DASHED = {"solid": "none", "dash": "7 4", "dot": "2 3", "dashdot": "7 3 2 3", "longdash": "12 4"}
DASHED |= {"longdashdot": "12 3 2 3"}
KINDS = {
    "training": "Training curves",
    "slice": "Slices at one step",
    "course": "Along training",
    "after": "After training",
    "surface": "Surfaces",
    "overlay": "Measured and published",
}
Part: TypeAlias = dict[str, Any]  # as the template reads it
OPEN = ("training", "slice", "surface", "overlay")  # kinds that are unfolded at first


def write_page(one: FinishedRun, folder: Path) -> Path:
    """Write a run's own page, `report.html` in its folder. Equal runs have equal pages."""
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
    groups = [one["group"] for one in sections]
    pair = None
    if compared is not None:
        first, second = (sections[place] for place in compared)
        pair = set_side_by_side(first, second, numbers)
        groups.append(pair["group"])
    steps = sorted({step for group in groups for step in group.steps})
    content = [group.content for group in groups]
    data = {"groups": content, "places": numbers.places, "steps": steps}
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


def section(identifier: str, one: FinishedRun, numbers: pack.Numbers, budget: list[int]) -> Part:
    """A run as the page shows it; `budget` has the bytes that are left for files."""
    group = charts.build(identifier, [("", one.run)], numbers)
    drawn = charts.charts(identifier, one.figures, numbers)
    if drawn:
        group.sections["overlay"] = drawn
        group.content["charts"] += drawn
    figures, loose = [], []
    for place, figure in enumerate(one.figures):
        found = [suffix for suffix in TYPES if suffix in figure.files]
        name = f"{identifier}-file-{place}"
        downloads = [download(name, one.href, figure, suffix, budget) for suffix in found]
        if set(figure.files) <= {".csv"}:
            loose += downloads
        else:
            figures.append(show(f"{identifier}-figure-{place}", figure, downloads))
    # Figures may have been drawn again: they tell whether published curves were given.
    options = {**one.run.options, "published": True if drawn else None}
    script = str(one.run.facts.get("script", ""))
    ends = tables.ends(one.run)
    quantities = list(dict.fromkeys(name for found in ends.values() for name in found))[:MOST_ENDS]
    return {
        "id": identifier,
        "finished": one,
        "name": f"{one.name}/{one.digest}",
        "command": tables.command(one.name, options, one.study, script).split(" "),
        "facts": tables.facts(one),
        "options": tables.deciding(one.run.options),
        "counts": {name: [v["verdict"] for v in one.verdicts].count(name) for name in VERDICTS},
        "figures": figures,
        "tables": loose,
        "group": group,
        "ends": [[arm, *(found[name].text for name in quantities)] for arm, found in ends.items()],
        "quantities": quantities,
    }


def set_side_by_side(first: Part, second: Part, numbers: pack.Numbers) -> Part:
    """Two runs, their curves over each other and their figures side by side."""
    runs = [
        (f"A: {first['name']}", first["finished"]),
        (f"B: {second['name']}", second["finished"]),
    ]
    others = {shown["figure"].name: shown for shown in second["figures"] if shown["svg"]}
    figures = [
        (shown, others[shown["figure"].name])
        for shown in first["figures"]
        if shown["svg"] and shown["figure"].name in others
    ]
    return {
        "first": first,
        "second": second,
        "found": tables.compare(first["finished"], second["finished"]),
        "group": charts.build("compare", [(name, one.run) for name, one in runs], numbers),
        "figures": figures,
    }


def keys(group: charts.Group) -> list[Part]:
    """The curves that the key of a group names: one for each arm, of many none."""
    found = [curve for curve in group.content["curves"] if curve["first"]]
    return found if len(found) <= MOST_KEYS else []


def show(identifier: str, figure: Figure, downloads: list[Part]) -> Part:
    """A figure as the page shows it; a very large one is shown as a picture."""
    drawing, picture = figure.files.get(".svg", b""), figure.files.get(".png", b"")
    shown = {"id": identifier, "figure": figure, "downloads": downloads}
    shown |= dict.fromkeys(("svg", "view", "picture", "note"), "")
    if drawing and len(drawing) <= MOST_INLINE:
        spoken = printable(" ".join(". ".join(filter(None, figure[1:5])).split()), 2000)
        svg = pack.inline(drawing, f"{identifier}-", spoken, f"{figure.name}.svg")
        return {**shown, "svg": svg, "view": pack.view(drawing)}
    if drawing:
        size = f"{len(drawing) / 2**20:.0f} MiB"
        shown["note"] = f"The drawing has {size}: a picture stands in its place."
    return {
        **shown,
        "picture": base64.b64encode(picture).decode() if len(picture) <= MOST_INLINE else "",
    }


def download(identifier: str, href: str, figure: Figure, suffix: str, budget: list[int]) -> Part:
    """A file to download: packed in the page while there is room, else in the run's folder."""
    packed = pack.pack(figure.files[suffix])
    fits = len(packed) <= budget[0]
    budget[0] -= len(packed) if fits else 0
    name = f"{figure.name}{suffix}"
    return {
        "name": name,
        "suffix": suffix[1:].upper(),
        "type": TYPES[suffix],
        "id": f"{identifier}-{suffix[1:]}" if fits else "",
        "packed": packed if fits else "",
        "href": f"{href}{name}",
    }


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
