"""One self-contained page from runs: nothing is fetched, whatever is shown of a run is escaped."""

import functools
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnjax.report import (
    again,
    beside,
    charts,
    comparison,
    content,
    definitions,
    pack,
    tables,
    vector,
)
from bnjax.report.content import PAGE, Figure, Run
from bnjax.runs.published import Published
from bnjax.runs.publishing import Drawn
from bnjax.runs.results import Results
from bnjax.storage.disk import replacing
from bnjax.storage.printable import printable

TEMPLATES = Path(__file__).parent / "templates"
LONGEST = 20_000  # characters of one text
MOST_INLINE = 4 * 2**20  # bytes of a figure that stands in the page itself
MOST_FILES = 8 * 2**20  # bytes of all files to download, packed; what is beyond them is linked
VERDICTS = {"supported": "yes", "not supported": "no", "inconclusive": "open"}
TYPES = {".csv": "text/csv", ".svg": "image/svg+xml", ".pdf": "application/pdf"}
MOST_KEYS = 12  # arms that have a key; of more the samples beside the switches tell enough
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


class Download(NamedTuple):
    """A file that a button hands out."""

    name: str
    suffix: str
    type: str
    id: str  # of the element that holds it, packed; empty where the page only links it
    packed: str
    href: str  # of the file beside the page, for readers without scripts


class Shown(NamedTuple):
    """A figure as the page shows it."""

    id: str
    name: str
    title: str
    text: str
    source: str
    svg: str  # checked, empty where it is too large
    view: str  # its viewBox
    picture: str  # the PNG as base64, in place of it
    note: str
    downloads: Sequence[Download]


class Section(NamedTuple):
    """A run as the page shows it."""

    id: str
    run: Run
    name: str
    question: str
    command: Sequence[str]
    facts: Sequence[tuple[str, str]]
    options: Sequence[tuple[str, str]]
    counts: Mapping[str, int]
    figures: Sequence[Shown]
    tables: Sequence[Download]
    group: charts.Group
    ends: Mapping[str, Mapping[str, tables.Number]]
    quantities: Sequence[tuple[str, str]]


class Pair(NamedTuple):
    """Two runs side by side as the page shows them."""

    first: Section
    second: Section
    found: comparison.Comparison
    group: charts.Group
    figures: Sequence[tuple[Shown, Shown]]


def write(
    results: Results,
    claims: Sequence[Mapping[str, str]],
    figures: Sequence[Path],
    published: Published,
    folder: Path,
    presets: Mapping[str, Any] | None = None,
) -> Path:
    """Write a run's own page, `report.html` in its folder. Equal runs have equal pages.

    Args:
      results: what it measured.
      claims: with their verdicts, as `summary.json` will have them.
      figures: files that were drawn in the folder.
      published: curves that they were drawn with; may be empty.
      folder: `<out>/<experiment>/<digest>`.
      presets: of the experiment; options that are theirs are left out of the command.

    Returns:
      The path of the page.

    Raises:
      RunError: a file cannot be read, or plotly is missing.
    """
    here = folder.absolute()
    run = Run(
        here.parent.name,
        here.name,
        results,
        claims,
        content.collect(figures),
        published,
        presets,
        "",
        "",
    )
    return save(render([run]), folder / PAGE)


def write_page(drawn: Drawn, folder: Path) -> Path:
    """Write the page of a run that is just being published; arguments and errors as `write`'s."""
    presets = drawn.experiment.presets
    return write(drawn.results, drawn.claims, drawn.figures, drawn.published, folder, presets)


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
    program, style = text("report.js"), text("report.css")
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
            axis=definitions.axis,
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


def keys(group: charts.Group) -> Sequence[Mapping[str, Any]]:
    """The curves that the key of a group names: one for each arm, of many none."""
    found = [curve for curve in group.content["curves"] if curve["first"]]
    return found if len(found) <= MOST_KEYS else ()


def set_side_by_side(first: Section, second: Section, numbers: pack.Numbers) -> Pair:
    """Two runs, their curves over each other and their figures beside each other."""
    named = [(f"A: {first.name}", first.run.results), (f"B: {second.name}", second.run.results)]
    found = comparison.compare(first.run, second.run)
    drawn = ((shown_as(first, name), shown_as(second, name)) for name in found.figures)
    figures = [(a, b) for a, b in drawn if a and b and a.svg and b.svg]
    return Pair(first, second, found, charts.build("compare", named, numbers), figures)


def shown_as(one: Section, name: str) -> Shown | None:
    """A figure of a run by its name."""
    return next((figure for figure in one.figures if figure.name == name), None)


def section(identifier: str, run: Run, numbers: pack.Numbers, budget: list[int]) -> Section:
    """A run as the page shows it."""
    group = charts.build(identifier, [("", run.results)], numbers)
    if drawn := beside.charts(identifier, run.figures, numbers):
        group = group._replace(
            sections={**group.sections, "beside": drawn},
            content={**group.content, "charts": [*group.content["charts"], *drawn]},
        )
    ends = tables.ends(run.results)
    figures, loose = [], []
    for place, figure in enumerate(run.figures):
        downloads = [
            download(f"{identifier}-file-{place}", run, figure, suffix, budget)
            for suffix in TYPES
            if suffix in figure.files
        ]
        if set(figure.files) <= {".csv"}:
            loose += downloads
        else:
            figures.append(shown(f"{identifier}-figure-{place}", run, figure, downloads))
    config = run.results.config
    return Section(
        id=identifier,
        run=run,
        name=f"{run.experiment}/{run.digest}",
        question=definitions.EXPERIMENTS.get(run.experiment, ""),
        command=again.command(run.experiment, config, run.presets).split(" "),
        facts=facts(run),
        options=tables.options(config),
        counts={
            verdict: sum(claim["verdict"] == verdict for claim in run.claims)
            for verdict in VERDICTS
        },
        figures=figures,
        tables=loose,
        group=group,
        ends=ends,
        quantities=tables.quantity_names(ends)[:8],
    )


def facts(run: Run) -> list[tuple[str, str]]:
    """What was run on what."""
    config, found = run.results.config, run.results.facts
    seeds = run.results.axes.get("seed", np.empty(0)).tolist()
    count = found.get("num_devices", 1)
    kinds = (str(found.get("device", "")), str(found.get("platform", "")))
    device = ", ".join(filter(None, dict.fromkeys(kinds)))
    table = config.get("published")
    versions = ("bnjax", "jax", "jaxlib", "flax", "optax", "numpy", "python")
    listed = [
        ("Data set", tables.value(found.get("dataset", config.get("dataset")))),
        ("Network", f"{config.get('model', '')}, width {tables.value(config.get('width'))}"),
        (
            "Training",
            f"{config.get('optimizer', '')}, learning rate "
            f"{tables.value(config.get('lrs', config.get('lr')))}, "
            f"{tables.value(config.get('steps'))} steps, batch "
            f"{tables.value(config.get('batch_sizes', config.get('batch_size')))}",
        ),
        ("Seeds", " ".join(map(str, seeds)) or "none"),
        ("Device", f"{count} × {device}" if count != 1 else device),
        (
            "Precision",
            f"training {config.get('precision', '')}"
            + (f", probes {config['probe_precision']}" if "probe_precision" in config else "")
            + (", 64 bits" if found.get("float64") else ", 32 bits"),
        ),
        ("Versions", ", ".join(f"{name} {found[name]}" for name in versions if name in found)),
        ("Commit", tables.value(found.get("commit") or "not known")),
        (
            "Published curves",
            f"{len(run.published)} given"
            if run.published
            else f"from {Path(str(table)).name}"
            if table
            else "none given",
        ),
    ]
    return [*listed, *([("Finished", run.date)] if run.date else [])]


def shown(identifier: str, run: Run, figure: Figure, downloads: Sequence[Download]) -> Shown:
    """A figure with its caption; one that is very large is shown as a picture."""
    known = definitions.FIGURES.get(
        figure.name, definitions.Definition(figure.name.replace("_", " ").capitalize(), "")
    )
    drawing, picture, note = figure.files.get(".svg", b""), figure.files.get(".png", b""), ""
    arms = run.results.axes.get("norm", np.empty(0)).tolist()
    told = f"{known.title}. {known.text} Arms: {', '.join(map(str, arms))}."
    svg = ""
    if drawing and len(drawing) <= MOST_INLINE:
        svg = vector.inline(drawing, f"{identifier}-", printable(told, 2000), f"{figure.name}.svg")
    elif drawing:
        note = f"The drawing has {len(drawing) / 2**20:.0f} MiB: a picture stands in its place."
    small = bool(picture) and not svg and len(picture) <= MOST_INLINE
    return Shown(
        identifier,
        figure.name,
        known.title,
        known.text,
        known.source,
        svg,
        vector.view(drawing) if svg else "",
        pack.plain(picture) if small else "",
        note,
        downloads,
    )


def download(identifier: str, run: Run, figure: Figure, suffix: str, budget: list[int]) -> Download:
    """A file to download: in the page while there is room, else beside it."""
    packed = pack.pack(figure.files[suffix])
    fits = len(packed) <= budget[0]
    budget[0] -= len(packed) if fits else 0
    name = f"{figure.name}{suffix}"
    return Download(
        name,
        suffix.removeprefix(".").upper(),
        TYPES[suffix],
        f"{identifier}-{suffix.removeprefix('.')}" if fits else "",
        packed if fits else "",
        f"{run.href}{name}",
    )


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
