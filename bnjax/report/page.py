"""One self-contained page from runs: it fetches nothing, and escapes all that a run says."""

import base64
import dataclasses
import datetime
import functools
import html
import json
import math
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from bnjax.errors import RunError, UsageError, needs
from bnjax.frame import files, folder, results
from bnjax.frame import study as studies
from bnjax.frame.disk import replacing
from bnjax.frame.files import plain
from bnjax.frame.folder import NOT_IN_DIGEST
from bnjax.frame.messages import printable
from bnjax.frame.results import Run, late
from bnjax.frame.study import Study
from bnjax.report import charts, pack
from bnjax.report.charts import Figure

PAGE = "report.html"
LARGEST_FILE = 256 * 2**20  # bytes of one figure or table
SUFFIXES = (".svg", ".png", ".pdf", ".csv")


class FinishedRun(NamedTuple):
    """A run as a page shows it."""

    name: str  # of the study
    digest: str
    question: str
    source: str
    run: Run
    verdicts: Sequence[Mapping[str, Any]]
    failed: Mapping[str, str]  # claims and figures, with their errors
    figures: Sequence[Figure]
    study: Study | None  # None: not a study of bnjax
    date: str  # when it was finished; empty in the page that the run itself writes
    href: str  # of the run's folder as seen from the page, with a slash at the end, or empty


def describe(drawing: Any, files: Iterable[Path]) -> dict[str, Any]:
    """What `summary.json` says of a drawing and of the files that it was saved as."""
    words = {name: str(getattr(drawing, name, "")) for name in folder.FIGURE_WORDS}
    return {**words, "files": [path.name for path in files]}


def load_figures(place: Path, described: Iterable[Mapping[str, Any]]) -> list[Figure]:
    found = []
    for one in described:
        contents: dict[str, bytes] = {}
        for path in (place / name for name in one["files"] if name.endswith(SUFFIXES)):
            try:
                contents[path.suffix] = files.read(path, LARGEST_FILE)
            except ValueError as error:
                raise RunError(f"{path} cannot be read ({error})") from error
        words = {name: one[name] for name in folder.FIGURE_WORDS}
        words["title"] = words["title"] or words["name"].replace("_", " ").capitalize()
        found.append(Figure(**words, files=contents))
    return found


def read(path: Path, page_folder: Path) -> FinishedRun:
    """A finished run from its folder without links, every file compared with its digest."""
    files.refuse_links(Path(os.path.realpath(path)))
    record = folder.read_config(path)
    if not folder.is_finished(path):
        raise RunError(f"{path} is not finished: repeat the command that made it")
    damage = {name: what for name, what in folder.damaged_results(path).items() if name != PAGE}
    for name, what in damage.items():
        raise RunError(f"{path / name} {what}: the command that made it writes it again")
    summary = folder.read_summary(path)
    run = with_config(results.read(path), path)
    finished = datetime.datetime.fromtimestamp(
        (path / folder.SUMMARY).stat().st_mtime, datetime.UTC
    )
    try:
        way = os.path.relpath(path, page_folder).replace(os.sep, "/")
    except ValueError:  # on another drive
        way = "."
    shipped = str(run.facts.get("script", "")).startswith(f"bnjax/studies/{record.study} ")
    return FinishedRun(
        name=record.study,
        digest=Path(os.path.abspath(path)).name,
        question=summary.question,
        source=summary.source,
        run=run,
        verdicts=summary.verdicts,
        failed=summary.failed,
        figures=load_figures(path, summary.figures),
        study=studies.find(record.study) if shipped and record.study in studies.names() else None,
        date=finished.strftime("%Y-%m-%d %H:%M UTC"),
        href="" if way == "." else f"{way}/",
    )


MIXED = "continued under other"


def with_config(run: Run, path: Path) -> Run:
    """A run whose facts are also those of its `config.json`: settings, and what it mixes."""
    try:
        record = folder.read_config(path)
    except RunError:  # arrays alone
        return run
    mixed = " ".join(sorted(folder.mixed(record)))
    more = {MIXED: mixed} if mixed else {}
    return dataclasses.replace(run, facts={**record.fingerprint, **run.facts, **more})


LATE = 0.1  # share of the steps over which minibatches are averaged
AXES = (("step",), ("test_step",), ("probe_step",), ("watch_step",))
TRAINING = {"optimizer": "{}", "lr": "learning rate {}", "steps": "{} steps"}
TRAINING |= {"batch_size": "batch {}"}
# What an arm varies in place of an option of the run, by the name of its axis.
VARIED = {"variant": "optimizer", "multiple": "lr"}
VERSIONS = ("bnjax", "jax", "jaxlib", "flax", "optax", "numpy", "python")


class End(NamedTuple):
    """The end of one quantity over seeds."""

    middle: float
    low: float
    high: float
    seeds: int
    finite: int  # of them

    @property
    def text(self) -> str:
        if not self.finite:
            return "not finite"
        if self.seeds == 1:
            return f"{self.middle:.4g}"
        lost = self.seeds - self.finite
        more = f", {lost} of {self.seeds} seeds not finite" if lost else ""
        return f"{self.middle:.4g} [{self.low:.4g}, {self.high:.4g}]{more}"


def ends(run: Run) -> dict[str, dict[str, End]]:
    """How each arm ended, by arm and quantity: median and range over seeds that are finite.

    Minibatch numbers are means over the last tenth of the steps; test numbers those of the last
    evaluation; numbers of probes those of the last probe, where they are one number.
    """
    lead = charts.leading(run)
    if not lead or lead[-1] != "seed":
        return {}
    names = [name for name in charts.drawable(run) if run[name].dims[len(lead) :] in AXES]
    names.sort(key=lambda name: run[name].dims[-1] in ("probe_step", "watch_step"))
    found: dict[str, dict[str, End]] = {}
    arms = {index[:-1]: arm for index, arm in charts.name_arms(run).items()}
    for name in names:
        axis = str(run[name].dims[-1])
        last = late(run[name], axis, LATE if axis == "step" else 0.0)
        means = last.mean(axis, dtype=np.float64, skipna=False).values
        for index, arm in arms.items():
            own = means[index]
            count = int(np.isfinite(own).sum())
            finite = own[np.isfinite(own)] if count else np.array([np.nan])
            low, middle, high = map(float, np.quantile(finite, (0, 0.5, 1)))
            end = End(middle, low, high, len(own), count)
            quantities = found.setdefault(arm, {})
            label = printable(run[name].attrs.get("long_name") or name, 200)
            quantities[f"{label} ({name})" if label in quantities else label] = end
    return found


def value(content: Any) -> str:
    """An option's value as text: a list without brackets, anything nested as JSON."""
    if content is None:
        return "none given"
    if isinstance(content, bool):
        return "yes" if content else "no"
    if isinstance(content, list) and not any(isinstance(part, list | dict) for part in content):
        return " ".join(map(str, content)) or "none"
    if isinstance(content, list | dict):
        return json.dumps(content, sort_keys=True)
    return f"{content:g}" if isinstance(content, float) else str(content) or "none"


def deciding(options: Mapping[str, Any]) -> dict[str, str]:
    """The options that make a difference to results; of plugins the names of the files."""
    return {
        name: value(file_names(content) if name == "plugins" else content)
        for name, content in options.items()
        if name not in NOT_IN_DIGEST
    }


def facts(one: FinishedRun) -> list[tuple[str, str]]:
    options, found = one.run.options, one.run.facts
    factors = {factor.name: factor for factor in charts.factors(one.run)}
    seeds = factors.pop("seed").values if "seed" in factors else ()
    varied = {*factors, *(VARIED[name] for name in factors if name in VARIED)}
    training = (
        form.format(value(options[name]))
        for name, form in TRAINING.items()
        if name in options and name not in varied
    )
    device = ", ".join(
        filter(None, dict.fromkeys(str(found.get(name, "")) for name in ("device", "platform")))
    )
    count = found.get("num_devices", 1)
    precision = f"training {options.get('precision', '')}"
    if "probe_precision" in options:
        precision += f", probes {options['probe_precision']}"
    drawn = any(map(charts.has_published, one.figures))
    listed = {
        "Source": one.source,
        "Data set": value(found.get("dataset", options.get("dataset"))),
        "Network": f"{options.get('model', '')}, width {value(options.get('width'))}",
        "Arms": "; ".join(
            f"{factor.label}: {', '.join(map(html.unescape, factor.values))}"
            for factor in factors.values()
        ),
        "Training": ", ".join(training),
        "Seeds": " ".join(seeds) or "none",
        "Device": f"{count} × {device}" if count != 1 else device,
        "Precision": f"{precision}, {64 if found.get('float64') else 32} bits",
        "Versions": ", ".join(f"{name} {found[name]}" for name in VERSIONS if name in found),
        "Commit": value(found.get("commit") or "not known"),
        "A mixture": f"continued under other {m}" if (m := found.get(MIXED)) else "",
        "Published curves": "drawn in the figures" if drawn else "none given",
        "Finished": one.date,
    }
    return [(name, text) for name, text in listed.items() if text]


UNDECIDED = "inconclusive"


def compare(first: FinishedRun, second: FinishedRun) -> dict[str, Any]:
    """What differs between two runs, and what they have in common, as the page's template reads it.

    `options` and `surroundings` that differ; `claims` of both, of which `decided` are decided in
    both runs, `changed` of these differently, and `undecided` are judged in both, but decided in
    one or none; `numbers` of the arms in both; arms `only_first`, `only_second`.
    """
    runs = (first, second)
    here, there = ends(first.run), ends(second.run)
    options = ({"study": one.name, **deciding(one.run.options)} for one in runs)
    surroundings = ({name: value(v) for name, v in one.run.facts.items()} for one in runs)
    own, other = ({claim["identifier"]: claim for claim in one.verdicts} for one in runs)
    both = {name: {own[name]["verdict"], other[name]["verdict"]} for name in own if name in other}
    decided = {name for name, found in both.items() if UNDECIDED not in found}
    changed = {name for name in decided if len(both[name]) > 1}
    return {
        "options": differences(*options),
        "surroundings": differences(*surroundings),
        "claims": [
            {"claim": claim, "runs": (own.get(name), other.get(name)), "changed": name in changed}
            for name, claim in {**own, **other, **own}.items()
        ],
        "decided": len(decided),
        "changed": len(changed),
        "undecided": len(both) - len(decided),
        "numbers": [
            (arm, quantity, a.text, b.text, change(a, b))
            for arm in here
            for quantity, a in here[arm].items()
            if (b := there.get(arm, {}).get(quantity)) is not None
        ],
        "only_first": [arm for arm in here if arm not in there],
        "only_second": [arm for arm in there if arm not in here],
    }


def differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[tuple[str, str, str]]:
    pairs = (
        (name, first.get(name, "not there"), second.get(name, "not there"))
        for name in {**first, **second}
    )
    return [(name, a, b) for name, a, b in pairs if a != b]


def change(first: End, second: End) -> str:
    """What became of a number: the difference, and by how much of the first."""
    if not (math.isfinite(first.middle) and math.isfinite(second.middle)):
        return "" if np.isnan([first.middle, second.middle]).all() else "one is not finite"
    difference = second.middle - first.middle
    if difference == 0:
        return "equal"
    share = f" ({difference / abs(first.middle):+.1%})" if first.middle else ""
    return f"{difference:+.3g}{share}"


PLACEHOLDERS = {"data_dir": "DIR", "published": "CSV", "text": "FILE"}
# Folders and display belong to the person who ran it; `deterministic` decides the last bits on a
# GPU.
LEFT_OUT = NOT_IN_DIGEST - {*PLACEHOLDERS, "yes", "deterministic"} | {"model"}
MOST_VALUES = 200  # of one option


def command(name: str, options: Mapping[str, Any], study: Study | None, script: str = "") -> str:
    """The command line of a run, shell-quoted: `bnjax landscape --lr 0.4`.

    The values of the study's presets are left out; a file that is not of bnjax is called by its
    name. `DIR`, `CSV` and `FILE` stand for folders and files of the person who ran it.
    """
    preset, model = str(options.get("preset", "")), str(options.get("model", ""))
    presets = study.presets if study is not None else {}
    base: Mapping[str, Any] = {}
    usual = None  # the network of the preset, where none is given
    if study is not None:
        try:
            usual = study.preset(preset).model
            base = plain(vars(study.preset(preset, model)))
        except (UsageError, TypeError):  # a preset of another version
            presets = {}
    foreign = script and not script.startswith("bnjax/studies/")
    line = ["python", script.rpartition(" ")[0]] if foreign else ["bnjax", name]
    if preset and preset != next(iter(presets), ""):
        line += ["--preset", preset]
    if model and (model != usual or f"{preset} {model}" in presets):
        line += ["--model", model]
    for option, value in options.items():
        own = words(option, value)
        if option not in LEFT_OUT and not (option in base and own == words(option, base[option])):
            line += own
    return shlex.join(line)


def words(name: str, value: Any) -> list[str]:
    """One option as words of a command line; a list of one value is that value."""
    dashed = name.replace("_", "-")
    if name in PLACEHOLDERS:
        return [] if value is None else [f"--{dashed}", PLACEHOLDERS[name]]
    if isinstance(value, bool):
        return [f"--{dashed}" if value else f"--no-{dashed}"]
    values = file_names(value) if name == "plugins" else value
    values = values if isinstance(values, list | tuple) else [values]
    texts = (repr(one) if isinstance(one, float) else str(one) for one in values[:MOST_VALUES])
    return [f"--{dashed}", *texts]


def file_names(paths: Any) -> list[str]:
    """Files without the folders of the person who has them."""
    given = paths if isinstance(paths, list | tuple) else [paths]
    return [Path(str(path)).name for path in given]


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


def save(page: str, path: Path) -> Path:
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


@np.errstate(all="ignore")  # an arm that diverged overflows here too, and is shown as it is
def render(runs: Sequence[FinishedRun], compared: tuple[int, int] | None = None) -> str:
    """The page of some runs, an HTML document; two of them may be `compared`, by their places."""
    numbers = pack.Numbers()
    budget = [MOST_FILES]
    sections = [section(f"run-{i + 1}", run, numbers, budget) for i, run in enumerate(runs)]
    groups = [one["group"] for one in sections]
    pair = None
    if compared is not None:
        first, second = (sections[place] for place in compared)
        pair = set_side_by_side(first, second, numbers)
        groups.append(pair["group"])
    data = {"groups": [group.content for group in groups], "places": numbers.places}
    names = ", ".join(dict.fromkeys(run.name for run in runs))
    drawings = (shown["svg"] for one in sections for shown in one["figures"])
    # The parts of the program see each other and nothing else sees them.
    parts = "\n".join(text(f"{name}.js") for name in PROGRAM)
    program, plotly = f'"use strict";\n(() => {{\n{parts}}})();\n', pack.plotly()
    template = environment().get_template("report.html.j2")
    page: str = template.render(
        title=f"{'Report' if pair is None else 'Comparison'}: {names}",
        sections=sections,
        pair=pair,
        kinds=KINDS,
        unfolded=OPEN,
        verdicts=VERDICTS,
        keys=keys,
        program=program,
        style=text("report.css"),
        dark=f"{text('dark.css')} {pack.inks(drawings)}",
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
    arms = ends(one.run)
    quantities = list(dict.fromkeys(name for found in arms.values() for name in found))[:MOST_ENDS]
    return {
        "id": identifier,
        "finished": one,
        "name": f"{one.name}/{one.digest}",
        "command": command(one.name, options, one.study, script).split(" "),
        "facts": facts(one),
        "options": deciding(one.run.options),
        "counts": {name: [v["verdict"] for v in one.verdicts].count(name) for name in VERDICTS},
        "figures": figures,
        "tables": loose,
        "group": group,
        "ends": [[arm, *(found[name].text for name in quantities)] for arm, found in arms.items()],
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
        "found": compare(first["finished"], second["finished"]),
        "group": charts.build("compare", [(name, one.run) for name, one in runs], numbers),
        "figures": figures,
    }


def keys(group: charts.Group) -> list[Part]:
    """The curves that the key of a group names: one for each arm, of many none."""
    found = [curve for curve in group.content["curves"] if curve["first"]]
    return found if len(found) <= MOST_KEYS else []


def show(identifier: str, figure: Figure, downloads: list[Part]) -> Part:
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


def text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@functools.cache
def environment() -> Any:
    """Templates that escape everything, control characters and turned writing too."""
    with needs("studies"):
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
        "listed": value,
        "number": number,
        "dashed": lambda dash: DASHED.get(dash, dash.replace("px", "").replace(",", " ")),
    }
    return made
