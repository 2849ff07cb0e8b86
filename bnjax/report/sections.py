"""What a page says of each run, and of two side by side: facts, figures, files, charts."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bnjax.frame.messages import printable
from bnjax.report import again, beside, captions, charts, comparison, facts, pack, tables, vector
from bnjax.report.content import Figure, Run

VERDICTS = {"supported": "yes", "not supported": "no", "inconclusive": "open"}
MOST_INLINE = 4 * 2**20  # bytes of a figure that stands in the page itself
TYPES = {".csv": "text/csv", ".svg": "image/svg+xml", ".pdf": "application/pdf"}
MOST_KEYS = 12  # arms that have a key; of more the samples beside the switches tell enough


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
    # What is drawn decides, not what the run was begun with: figures may have been drawn again.
    published = {
        "published": again.PLACEHOLDERS["published"] if facts.draws_published(run) else None
    }
    return Section(
        id=identifier,
        run=run,
        name=f"{run.experiment}/{run.digest}",
        question=captions.EXPERIMENTS.get(run.experiment, ""),
        command=again.command(
            run.experiment,
            {**config, **published},
            run.presets,
            str(run.results.facts.get("script", "")),
        ).split(" "),
        facts=facts.facts(run),
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


def shown(identifier: str, run: Run, figure: Figure, downloads: Sequence[Download]) -> Shown:
    """A figure with its caption; one that is very large is shown as a picture."""
    known = captions.caption(figure.name) or captions.Definition(
        figure.name.replace("_", " ").capitalize(), ""
    )
    drawing, picture, note = figure.files.get(".svg", b""), figure.files.get(".png", b""), ""
    told = f"{known.title}. {known.text} Arms: {facts.arms(run.results)}."
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
