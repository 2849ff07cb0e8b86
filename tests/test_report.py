"""The page of runs: what it shows, that nothing of a run is obeyed, how large it gets."""

import base64
import dataclasses
import gzip
import hashlib
import itertools
import json
import math
import random
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import hostile
import made_runs
import numpy as np
import pytest

from bnjax.commands import catalogue, command_line
from bnjax.commands import report as command
from bnjax.draw import style
from bnjax.errors import RunError
from bnjax.frame import folder, publishing, results, verify
from bnjax.frame.names import digest
from bnjax.report import (
    again,
    charts,
    comparison,
    content,
    curves,
    facts,
    pack,
    page,
    palette,
    quantities,
    sections,
    sources,
    tables,
    thinning,
    vector,
)

VOID = {"meta", "link", "input", "img", "br", "hr"}
NASTY = "</script><!--<img src=x onerror=alert(1)>\u2028\u202e&amp;{{7*7}}"


class Page(HTMLParser):
    """The elements of a page; complains of what is not closed, or has the name of another."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        assert not self.open, self.open
        ids = [own["id"] for _, own in self.elements if "id" in own]
        assert len(ids) == len(set(ids))
        self.ids = set(ids)

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        own = {name: value or "" for name, value in attrs}
        self.elements.append((tag, own))
        if tag not in VOID:
            self.open.append((tag, own))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        assert self.open
        assert self.open[-1][0] == tag, (tag, self.open[-3:])
        self.open.pop()

    def handle_data(self, data):
        if self.open:
            tag, own = self.open[-1]
            self.texts.setdefault(own.get("id") or tag, []).append(data)

    def all(self, tag):
        return [own for name, own in self.elements if name == tag]

    def text(self, key):
        return "".join(self.texts.get(key, []))


def read(path: Path, **options) -> content.Run:
    """A run as `report.py` reads it."""
    return content.read(path, {}, None, beside=path, **options)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A finished run, to be looked at only."""
    return made_runs.write(tmp_path_factory.mktemp("runs"), published=made_runs.PUBLISHED)


@pytest.fixture(scope="module")
def html(kept):
    return page.render([read(kept)])


@pytest.fixture
def run(kept, tmp_path):
    """A finished run of a test's own."""
    own = tmp_path / "landscape" / kept.name
    shutil.copytree(kept, own)
    return own


def test_the_page_is_well_formed_and_every_control_is_named(html):
    found = Page(html)
    for own in found.all("a"):
        if own["href"].startswith("#"):
            assert own["href"][1:] in found.ids
    for own in found.all("use"):
        assert own["href"][1:] in found.ids
    for own in found.all("svg"):
        assert own.get("aria-hidden") == "true" or own.get("aria-label")
    assert all(own.get("alt") for own in found.all("img"))
    assert found.all("html") == [{"lang": "en"}]
    assert {own["data-zoom"] for own in found.all("button") if "data-zoom" in own} == {
        "in",
        "out",
        "all",
    }


def test_nothing_outside_is_named_by_an_attribute(html):
    for tag, own in Page(html).elements:
        for name, value in own.items():
            if name in ("src", "href", "action", "srcset", "data", "poster", "style"):
                assert re.match(r"(#|data:|training\.(csv|svg|pdf)$|--light|fill|stroke)", value), (
                    tag,
                    name,
                    value[:80],
                )


def test_the_policy_admits_the_two_programs_and_no_other(html):
    found = Page(html)
    policy = next(own["content"] for own in found.all("meta") if "http-equiv" in own)
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    scripts = re.search(r"script-src ([^;]*)", policy)[1]
    assert "unsafe" not in scripts
    programs = [found.text("script"), gzip.decompress(base64.b64decode(found.text("plotly")))]
    for program in programs:
        content_of = program.encode() if isinstance(program, str) else program
        digest = base64.b64encode(hashlib.sha256(content_of).digest()).decode()
        assert f"'sha256-{digest}'" in scripts
    assert len(scripts.split()) == 2
    inline = [own for own in found.all("script") if not own]
    assert len(inline) == 1
    kinds = {own["type"] for own in found.all("script") if own}
    assert kinds == {"application/gzip", "application/json"}


def test_claims_stand_with_their_verdicts_in_words_and_shapes(html):
    body = " ".join(html.split())
    for verdict, kind in sections.VERDICTS.items():
        assert f"1 {verdict}" in body
        shape = (
            rf'<span class="verdict {kind}">\s*<svg class="icon".*?</svg>\s*<span>{verdict}</span>'
        )
        assert re.search(shape, body)
    assert "1.3 [1.1, 1.5] over 2 seeds" in body


def test_a_figure_has_its_drawing_files_definition_and_command(html, kept):
    found = Page(html)
    for suffix in ("csv", "svg", "pdf"):
        packed = found.text(f"run-1-file-0-{suffix}")
        assert (
            gzip.decompress(base64.b64decode(packed)) == (kept / f"training.{suffix}").read_bytes()
        )
        link = next(own for own in found.all("a") if own.get("download") == f"training.{suffix}")
        assert link["data-file"] in found.ids
    assert "Definition." in html
    assert "--lr" in found.text("span")
    drawn = [own for own in found.all("svg") if "viewbox" in own and "aria-label" in own]
    assert any("Training curves" in own["aria-label"] for own in drawn)


def test_published_curves_stand_beside_the_measured_ones(html):
    data = json.loads(Page(html).text("data"))
    beside = [chart for chart in data["groups"][0]["charts"] if chart["kind"] == "beside"]
    assert [chart["title"] for chart in beside] == ["Training curves: a Loss"]
    assert {trace["published"] for trace in beside[0]["traces"]} == {True, False}


def test_a_run_writes_its_own_page_and_equal_runs_write_equal_ones(run, tmp_path):
    other = tmp_path / "elsewhere" / "landscape" / run.name
    shutil.copytree(run, other)
    record = folder.read_config(other)
    moved = {**record.config, "out": "elsewhere", "checkpoint_steps": 3}
    folder.write_config(other, record._replace(config=moved))
    experiment = catalogue.find_experiment("landscape")
    written = []
    for place in (run, other):
        figures = sorted(place.glob("training.*"))
        drawn = publishing.Drawn(
            experiment, results.read(place), made_runs.CLAIMS, figures, made_runs.PUBLISHED
        )
        written.append(page.write_page(drawn, place))
    first, second = (path.read_bytes() for path in written)
    assert first == second
    assert written[0] == run / "report.html"
    assert b"elsewhere" not in second


# --- what is shown of a run is never obeyed


def nasty_run(root: Path) -> Path:
    found = made_runs.measured(norms=("none", f"a{NASTY}"), dataset=NASTY, published=NASTY)
    axes = {**found.axes, "layer": np.array([NASTY, "b", "javascript:alert(1)"])}
    facts = {**found.facts, "device": NASTY, NASTY: {NASTY: [NASTY]}}
    claims = [{name: NASTY for name in claim} for claim in made_runs.CLAIMS[:1]]
    dims = {**found.dims, f"x.{NASTY}": found.dims["shift.cosines"]}
    arrays = {**found.arrays, f"x.{NASTY}": found.arrays["shift.cosines"]}
    changed = found._replace(axes=axes, facts=facts, dims=dims, arrays=arrays)
    return made_runs.write(root, changed, claims)


def test_texts_of_a_run_are_shown_not_obeyed(tmp_path, html):
    made = page.render([read(nasty_run(tmp_path))])
    found, plain = Page(made), Page(html)
    assert not found.all("img")
    assert len(found.all("script")) == len(plain.all("script"))
    assert {tag for tag, _ in found.elements} <= {tag for tag, _ in plain.elements}
    assert not [own for _, own in found.elements if any(key.startswith("on") for key in own)]
    assert "\u202e" not in made
    assert "\u2028" not in made
    assert "<img" not in made
    data = json.loads(found.text("data"))
    labels = json.dumps([curve["label"] for curve in data["groups"][0]["curves"]])
    assert "<" not in labels
    assert "&lt;img" in labels


def test_json_cannot_end_its_element():
    text = pack.as_json({"a": NASTY, "b": [1.5, None]})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": NASTY, "b": [1.5, None]}
    with pytest.raises(ValueError, match="JSON"):
        pack.as_json(math.nan)


SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink"'
    ' viewBox="0 0 9 9">{}</svg>'
)


@pytest.mark.parametrize(
    "part",
    [
        "<script>alert(1)</script>",
        "<style>*{display:none}</style>",
        "<foreignObject><p>x</p></foreignObject>",
        '<g onload="alert(1)"/>',
        '<a x:href="javascript:alert(1)"><path d="M0 0"/></a>',
        '<image x:href="https://example.org/a.png"/>',
        '<image x:href="data:image/svg+xml;base64,PHN2Zz4="/>',
        '<use x:href="https://example.org/a.svg#b"/>',
        '<path style="fill: url(https://example.org)"/>',
        '<path style="fill: ur\\6c(x)"/>',
        "<path fill=\"image-set('https://example.org')\"/>",
        '<set attributeName="href" to="javascript:alert(1)"/>',
        '<animate attributeName="href" values="javascript:alert(1)"/>',
    ],
)
def test_what_does_not_draw_is_left_out_of_a_drawing(part):
    made = vector.inline(SVG.format(part + '<path d="M1 1"/>').encode(), "p-", "title", "f.svg")
    assert '<path d="M1 1">' in made
    for word in ("alert", "example.org", "script", "display", "foreign", "onload", "svg+xml", "ur"):
        assert word not in made.replace("currentColor", "").replace("stroke", ""), word


def test_names_of_two_drawings_do_not_meet():
    text = '<defs><clipPath id="a"><rect width="1"/></clipPath></defs>'
    text += '<g clip-path="url(#a)" style="clip-path: url(#a)"><use x:href="#a"/></g>'
    made = vector.inline(SVG.format(text).encode(), "p-", 'a "title"', "f.svg")
    assert made.count("p-a") == 4
    assert 'aria-label="a &quot;title&quot;"' in made
    assert "url(#a)" not in made


@pytest.mark.parametrize(
    "text",
    [
        "no xml",
        "<html/>",
        '<svg xmlns="http://www.w3.org/2000/svg"/>',
        '<!DOCTYPE s [<!ENTITY a "b">]>' + SVG.format("&a;"),
        SVG.format("<g>" * 150 + "</g>" * 150),
        SVG.replace("0 0 9 9", "0 0 9 9&quot; onload=&quot;x").format(""),
    ],
)
def test_what_is_no_drawing_is_refused(text):
    with pytest.raises(RunError, match=r"f\.svg"):
        vector.inline(text.encode(), "p-", "t", "f.svg")


def test_a_damaged_run_gets_a_line_and_no_page(run, tmp_path, capsys):
    """Damage of every kind, often with right digests: a page or one line, nothing else."""
    generator = random.Random(7)
    statuses = set()
    saved = run / "checkpoints" / "none-0" / "1"
    saved.mkdir(parents=True)
    (saved / "MANIFEST.json").write_text("{}")
    for number in range(60):
        copy = tmp_path / str(number) / "runs" / "landscape" / run.name
        shutil.copytree(run, copy)
        (tmp_path / str(number) / "outside").mkdir()
        (tmp_path / str(number) / "outside" / "kept").write_text("kept")
        try:
            done = hostile.damage(generator, copy, tmp_path / str(number))
        except OSError:  # damage to what was damaged before
            continue
        status = command.main("", [str(copy), "--out", str(tmp_path / f"{number}.html")])
        statuses.add(status)
        error = capsys.readouterr().err
        assert status in (0, 1, 2), done
        assert (status == 0) == (tmp_path / f"{number}.html").exists(), done
        assert "Traceback" not in error, done
        assert error.count("\n") == (status != 0), (done, error)
        if status == 0:
            Page((tmp_path / f"{number}.html").read_text())
    assert statuses >= {0, 1}


def mutate(generator: random.Random, found):
    """Results of the right form with something in them that no run measures."""
    arrays, axes, dims = dict(found.arrays), dict(found.axes), dict(found.dims)
    axis, name = generator.choice(sorted(axes)), generator.choice(sorted(arrays))
    length, shape = len(axes[axis]), arrays[name].shape
    act = generator.randrange(7)
    if act == 0:
        axes[axis] = np.array([NASTY] * length)
    elif act == 1:
        axes[axis] = np.array([generator.choice([np.nan, np.inf, -1e308, 0])] * length)
    elif act == 2:
        arrays[name] = np.full(shape, generator.choice([np.nan, np.inf, 1e308, 0.0]))
    elif act == 3:
        arrays[name] = np.full(shape, generator.choice(["text", True, 1j]))
    elif act == 4:
        del arrays[name], dims[name]
    elif act == 5:  # nothing of an axis
        axes[axis] = axes[axis][:0]
        for other, own in dims.items():
            if axis in own:
                arrays[other] = arrays[other].take([], axis=own.index(axis))
    else:
        order = generator.sample(range(len(shape)), len(shape))
        arrays[name] = arrays[name].transpose(order)
        dims[name] = tuple(found.dims[name][place] for place in order)
    return found._replace(arrays=arrays, axes=axes, dims=dims)


def test_results_of_odd_forms_get_a_page_or_an_error(kept):
    generator = random.Random(3)
    shown = 0
    for _ in range(60):
        found = made_runs.measured()
        for _ in range(generator.choice([1, 1, 2, 4])):
            found = mutate(generator, found)
        run = content.Run("landscape", "0" * 12, found, [], [], {}, None, "", "")
        try:
            made = page.render([run, run])
        except (RunError, ValueError, TypeError, KeyError, IndexError):
            continue
        json.loads(Page(made).text("data"))
        shown += 1
    assert shown > 40


def test_a_changed_figure_is_named(run, capsys):
    (run / "training.svg").write_text("other")
    assert command.main("", [str(run)]) == 1
    assert "training.svg has 5 bytes" in capsys.readouterr().err
    assert not (run / "report.html").exists()


# --- the command line


def test_a_single_run_gets_its_page_and_keeps_its_digests(run, capsys):
    assert command.main("", [str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert not verify.verify(run).damage
    # A page that the run itself has written belongs to its results.
    found = folder.read_summary(run)
    (run / "report.html").write_text("older")
    folder.write_summary(run, found.claims, [*found.files, "report.html"])
    assert command.main("", [str(run)]) == 0
    assert not verify.verify(run).damage
    assert "report.html" in folder.read_summary(run).files


def test_several_runs_get_one_page_beside_them(run, tmp_path):
    other = made_runs.write(tmp_path, made_runs.measured(lr=0.1))
    assert command.main("", [str(run), str(other), str(run)]) == 0
    found = Page((tmp_path / "report.html").read_text())
    assert {"run-1", "run-2"} <= found.ids
    assert "run-3" not in found.ids
    links = [own["href"] for own in found.all("a") if own.get("download") == "training.csv"]
    assert links == [f"landscape/{path.name}/training.csv" for path in (run, other)]


def test_figures_are_drawn_anew_with_other_published_curves(run, tmp_path, monkeypatch):
    given = tmp_path / "curves.csv"
    given.write_text("panel,series,step,low,high\nloss,standard,0,1,2\nloss,standard,9,1,2\n")
    experiment = catalogue.find_experiment("landscape")._replace(draw=made_runs.draw)
    monkeypatch.setattr(catalogue, "find_experiment", lambda name: experiment)
    before = (run / "training.svg").read_bytes()
    out = tmp_path / "p.html"
    assert command.main("", [str(run), "--published", str(given), "--out", str(out)]) == 0
    data = json.loads(Page(out.read_text()).text("data"))
    beside = [chart for chart in data["groups"][0]["charts"] if chart["kind"] == "beside"]
    published = [trace for trace in beside[0]["traces"] if trace["published"]]
    assert {trace["n"] for trace in published} == {2}
    assert len(published) == 2
    assert (run / "training.svg").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "no run folder is given"),
        (["nowhere"], 2, "nowhere is not a folder"),
        (["."], 2, "is no run folder"),
        (["RUN", "--out", "."], 2, "--out"),
        (["RUN", "--out", "no/such/place.html"], 2, "--out"),
        (["RUN", "--published", "none.csv"], 2, "none.csv"),
        (["--compare", "RUN"], 2, "--compare"),
        (["RUN", "--nonsense"], 2, "nonsense"),
    ],
)
def test_wrong_calls_get_one_line(run, capsys, monkeypatch, tmp_path, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    given = [str(run) if word == "RUN" else word for word in arguments]
    assert command.main("", given) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_unfinished_run_has_no_page(run, capsys):
    (run / "summary.json").unlink()
    assert command.main("", [str(run)]) == 1
    assert "is not finished" in capsys.readouterr().err


# --- the command that makes a run again

EXPERIMENTS = [name for name in catalogue.names() if name not in ("report", "reproduce")]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_command_makes_the_same_run_again(name, tmp_path):
    experiment = catalogue.find_experiment(name)
    for preset in experiment.presets.values():
        changed = dataclasses.replace(preset, seeds=3, steps=123, weight_decay=0.5, augment=True)
        switches = {
            name: not value
            for name, value in dataclasses.asdict(preset).items()
            if isinstance(value, bool)
        }
        for config in (preset, changed, dataclasses.replace(preset, **switches)):
            plain = made_runs.files.plain(dataclasses.asdict(config))
            for presets in (experiment.presets, None):
                told = again.command(name, plain, presets)
                words = made_words(told)
                assert words[:2] == ["bnjax", name]
                parsed = command_line.parse(experiment.presets, words[2:], "")
                assert digest(parsed) == digest(config), told


def made_words(line: str) -> list[str]:
    import shlex

    return shlex.split(line)


def test_defaults_and_a_persons_folders_are_not_written_down():
    presets = catalogue.find_experiment("landscape").presets
    config = {**made_runs.options(), "data_dir": "/home/me/data", "published": "/home/me/c.csv"}
    told = again.command("landscape", config, presets)
    assert "/home/me" not in told
    assert "--data-dir DIR" in told
    assert "--published CSV" in told
    assert "--width" not in told
    assert "--lr 0.4" in told


def test_what_decides_bits_is_in_the_command_and_folders_of_plugins_are_not():
    presets = catalogue.find_experiment("landscape").presets
    config = {**made_runs.options(), "deterministic": True, "plugins": ["/home/me/my norm.py"]}
    told = made_words(again.command("landscape", config, presets))
    assert "--deterministic" in told
    assert told[told.index("--plugins") + 1] == "my norm.py"
    assert dict(tables.options(config))["plugins"] == "my norm.py"


def commands(text: str) -> set[str]:
    """The commands of a page; each figure has one."""
    found = re.findall(r"<code>(<span>bnjax.*?)</code>", text)
    assert len(found) > 1
    return {" ".join(re.sub("<.*?>", "", one).split()) for one in found}


def test_a_command_makes_the_figures_as_they_are_drawn(kept, tmp_path):
    """Published curves are said where they are drawn, whatever the run was begun with."""
    [told] = commands(page.render([read(kept)]))
    assert told.startswith("bnjax landscape --")
    assert told.endswith("--published CSV") or " --published CSV " in told
    plain = made_runs.write(tmp_path, made_runs.measured(published="/home/me/curves.csv"))
    [told] = commands(page.render([read(plain)]))
    assert "--published" not in told
    given = read(plain)._replace(published=made_runs.PUBLISHED)
    [told] = commands(page.render([given]))
    assert "--published CSV" in told


def test_what_was_run_follows_from_the_arms():
    def told(axes, **changed):
        found = made_runs.measured(**changed)
        lead = (*axes, "seed")
        arrays = {"train.loss": np.ones([*map(len, axes.values()), 2, 40], np.float32)}
        own = results.Results(
            arrays,
            {"train.loss": (*lead, "step")},
            {**found.axes, **{name: np.array(values) for name, values in axes.items()}},
            found.config,
            found.facts,
        )
        run = content.Run("landscape", "0" * 12, own, [], [], {}, None, "", "")
        return dict(facts.facts(run))

    plain = told({"norm": ["none", "batch"]})
    assert plain["Arms"] == "normaliser: no normalisation, BatchNorm"
    assert plain["Training"].startswith("sgd, learning rate 0.4, 40 steps, batch ")
    swept = {"norm": ["batch"], "variant": ["sgd+zeros", "adam+zeros"], "multiple": [0.1, 1.0]}
    varied = told(swept, lr=math.nan)
    assert varied["Training"].startswith("40 steps, batch ")
    assert varied["Arms"].startswith("normaliser: BatchNorm; setting: sgd+zeros, adam+zeros; ")
    assert varied["Arms"].endswith("times the usual learning rate: 0.1, 1")
    sizes = told({"norm": ["batch"], "batch_size": [2, 16]})
    assert "batch" not in sizes["Training"]
    assert sizes["Arms"].endswith("batch size: 2, 16")


# --- charts


def build(found, numbers=None):
    return charts.build("run-1", [("", found)], numbers or pack.Numbers())


def by_title(group, title):
    return next(chart for chart in group.content["charts"] if chart["title"] == title)


def unpacked(numbers, place):
    first, count, width = numbers.places[place]
    return np.frombuffer(numbers.content(), f"<f{width}", count, first)


def test_an_arrays_axes_decide_how_it_is_drawn():
    group = build(made_runs.measured())
    kinds = {chart["title"]: chart["kind"] for chart in group.content["charts"]}
    assert kinds == {
        "Loss": "training",
        "Accuracy": "training",
        "Loss L(θ − ηd)": "slice",
        "Effective smoothness β(η)": "slice",
        "Loss L(θ) on the probed batch": "course",
        "Cosine of G and G′ of the layers": "slice",
        "Loss on the plane of two random directions": "surface",
        "Loss on the plane of the path's components": "surface",
        "The path's coordinates": "course",
    }
    assert group.steps == [0, 10, 20, 30]
    assert [factor.name for factor in group.factors] == ["norm", "seed"]


def test_a_trace_finds_its_numbers_at_every_step():
    found, numbers = made_runs.measured(), pack.Numbers()
    group = build(found, numbers)
    chart = by_title(group, "Effective smoothness β(η)")
    for trace, (norm, seed) in zip(
        chart["traces"], itertools.product(range(2), range(2)), strict=True
    ):
        values = unpacked(numbers, trace["a"])
        for step in range(4):
            start = trace["s"] + step * trace["p"]
            drawn = values[start : start + trace["n"] * trace["d"] : trace["d"]]
            expected = found.arrays["line.smoothness"][norm, seed, step, 0]
            np.testing.assert_array_equal(drawn, expected)
        np.testing.assert_array_equal(unpacked(numbers, trace["x"]), found.axes["step_size"])


def test_a_surface_has_the_names_of_its_axes_and_the_path_in_its_plane():
    found, numbers = made_runs.measured(), pack.Numbers()
    group = build(found, numbers)
    plane = by_title(group, "Loss on the plane of two random directions")
    assert (plane["along"], plane["across"]) == ("second direction", "first direction")
    assert all("path" not in trace for trace in plane["traces"])
    own = by_title(group, "Loss on the plane of the path's components")
    assert (own["along"], own["across"]) == ("first component", "second component")
    for place, trace in enumerate(own["traces"]):
        path = trace["path"]
        drawn = unpacked(numbers, path["a"])[path["s"] : path["s"] + 2 * path["n"]]
        expected = found.arrays["principal.coordinates"].reshape(4, -1)[place]
        np.testing.assert_array_equal(drawn, expected)


def test_an_axis_that_is_too_short_to_draw_along_is_chosen_from():
    found = made_runs.measured()
    dims = {**found.dims, "many.values": ("norm", "seed", "probe_step", "kind", "rank")}
    axes = {**found.axes, "kind": np.array(["a", "b"]), "rank": np.arange(1, 5)}
    arrays = {**found.arrays, "many.values": np.arange(128.0).reshape(2, 2, 4, 2, 4)}
    numbers = pack.Numbers()
    group = build(found._replace(dims=dims, axes=axes, arrays=arrays), numbers)
    chart = by_title(group, "Many: values")
    assert (chart["kind"], chart["along"], chart["choices"]) == (
        "slice",
        "rank of the eigenvalue",
        ["kind"],
    )
    assert list(group.choices["kind"]) == ["a", "b"]
    trace = chart["traces"][1]
    values = unpacked(numbers, trace["a"])
    start = trace["s"] + 2 * trace["p"] + 1 * trace["c"]["kind"]
    assert values[start : start + 4].tolist() == arrays["many.values"][0, 1, 2, 1].tolist()


def test_a_short_last_axis_is_not_drawn_along():
    found = made_runs.measured()
    dims = {**found.dims, "many.values": ("norm", "seed", "probe_step", "rank", "kind")}
    axes = {**found.axes, "kind": np.array(["a", "b"]), "rank": np.arange(1, 5)}
    arrays = {**found.arrays, "many.values": np.arange(128.0).reshape(2, 2, 4, 4, 2)}
    chart = by_title(build(found._replace(dims=dims, axes=axes, arrays=arrays)), "Many: values")
    assert (chart["along"], chart["choices"]) == ("rank of the eigenvalue", ["kind"])
    assert chart["traces"][0]["d"] == 2


def test_packing_knows_no_time(monkeypatch):
    first = pack.pack(b"text")
    monkeypatch.setattr("time.time", lambda: 1e9)
    assert pack.pack(b"text") == first


def test_numbers_beyond_32_bits_are_kept_and_begin_where_64_bits_may():
    numbers = pack.Numbers()
    places = [numbers.add(np.array(values)) for values in ([1.5], [1e300, np.nan, np.inf], [2.5])]
    assert [numbers.places[place][2] for place in places] == [4, 8, 4]
    assert numbers.places[1][0] % 8 == 0
    np.testing.assert_array_equal(unpacked(numbers, 1), [1e300, np.nan, np.inf])


def test_long_training_curves_keep_their_spikes():
    found = made_runs.measured(steps=40)
    steps = 50_000
    loss = np.ones((2, 2, steps), np.float32)
    loss[1, 0, 31_234], loss[0, 1, 7] = 1e9, -5
    axes = {**found.axes, "step": np.arange(steps)}
    arrays = {"train.loss": loss}
    dims = {"train.loss": ("norm", "seed", "step")}
    thinned = thinning.thin(found._replace(axes=axes, arrays=arrays, dims=dims))
    drawn = thinned.arrays["train.loss"]
    assert drawn.shape == (4, len(thinned.axes["step"]))
    assert drawn.shape[1] <= thinning.USUAL_POINTS
    assert drawn[2].max() == 1e9
    assert drawn[1].min() == -5
    where = thinned.axes["step"][drawn[2].argmax()]
    assert abs(where - 31_234) < 30
    assert "least and the greatest of every" in thinned.notes[0]


def test_a_block_of_nothing_measured_stays_nothing():
    values = np.array([[1.0, 3.0, np.nan, np.nan, 5.0, 4.0, 7.0]])
    drawn = thinning.extremes(values, 2)
    np.testing.assert_array_equal(drawn, [[1, 3, np.nan, np.nan, 5, 4, 7, 7]])


def test_ten_million_numbers_make_a_small_page_that_says_so(tmp_path):
    found = made_runs.measured()
    axes = {**found.axes, "probe_step": np.arange(2500), "unit": np.arange(1000)}
    generator = np.random.default_rng(1)
    arrays = {
        name: values
        for name, values in found.arrays.items()
        if "probe_step" not in found.dims[name]
    }
    dims = {name: found.dims[name] for name in arrays}
    arrays["big.values"] = generator.normal(size=(2, 2, 2500, 1000)).astype(np.float32)
    dims["big.values"] = ("norm", "seed", "probe_step", "unit")
    big = found._replace(axes=axes, arrays=arrays, dims=dims)
    made = page.render([content.Run("landscape", "0" * 12, big, [], [], {}, None, "", "")])
    assert len(made) < 20e6
    assert "To keep this page small" in made
    assert "one of every" in made


def test_more_curves_than_can_be_told_apart_are_left_out_and_said():
    found = made_runs.measured()
    count = 400
    axes = {**found.axes, "seed": np.arange(count)}
    arrays = {"train.loss": np.ones((2, count, 40), np.float32)}
    dims = {"train.loss": ("norm", "seed", "step")}
    group = build(found._replace(axes=axes, arrays=arrays, dims=dims))
    assert len(group.content["curves"]) == 300
    assert "500 more curves are left out" in group.notes


# Sight without the cones for green, Machado et al. 2009, of linear RGB.
DEUTERANOPE = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
]
TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    low, high = sorted(float(np.array(TO_XYZ)[1] @ linear(colour)) for colour in (first, second))
    return (high + 0.05) / (low + 0.05)


def over(colour: str, ground: str, opacity: float) -> str:
    parts = ([int(one[place : place + 2], 16) for place in (1, 3, 5)] for one in (colour, ground))
    mixed = (opacity * a + (1 - opacity) * b for a, b in zip(*parts, strict=True))
    return "#" + "".join(f"{round(part):02X}" for part in mixed)


def seen(colour: str) -> np.ndarray:
    """A colour in CIELAB, as a deuteranope sees it."""
    own = np.clip(np.array(DEUTERANOPE) @ linear(colour), 0, 1)
    x, y, z = np.cbrt(np.array(TO_XYZ) @ own / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def looks() -> list[tuple[str, str | tuple]]:
    """Colour and dashes of every arm, those of a user's own too."""
    known = [style.LOOKS[name] for name in list(style.LOOKS) if style.LOOKS[name].hatch != "oo"]
    spare = zip(style.SPARE_COLOURS, style.SPARE_LINES, strict=True)
    return [*((look.colour, look.line) for look in known), *spare]


def assert_differ_for_deuteranopes(drawn):
    for (first, line), (second, other) in itertools.combinations(drawn, 2):
        distance = np.linalg.norm(seen(first) - seen(second))
        assert distance > (20 if line == other else 10), (first, second)


def test_curves_in_print_have_contrast_and_differ_for_deuteranopes():
    light = {style.LOOKS[name].colour for name in ("linf", "noisy_batch")}  # Okabe & Ito's own
    for colour, _ in looks():
        assert contrast(colour, "#FFFFFF") >= (2 if colour in light else 3), colour
    assert_differ_for_deuteranopes(looks())


def test_curves_on_a_dark_page_have_contrast_and_differ_for_deuteranopes():
    assert {colour for colour, _ in looks()} | set(curves.COLOURS) <= set(palette.ON_DARK)
    assert f"--paper: {palette.DARK_PAGE.lower()}" in page.text("report.css")
    drawn = [(palette.on_dark(colour), line) for colour, line in looks()]
    for colour, _ in [*drawn, (palette.NEUTRAL, "")]:
        for stroke in (sources.STROKE, *sources.STROKES):
            drawn_as = over(colour, palette.DARK_PAGE, stroke["opacity"])
            assert contrast(drawn_as, palette.DARK_PAGE) >= 3, colour
    assert_differ_for_deuteranopes(drawn)


def test_every_quantity_and_axis_of_every_experiment_has_a_name():
    for name in EXPERIMENTS:
        experiment = catalogue.find_experiment(name)
        axes = set(experiment.rows.values())
        for group, fields in experiment.dims.items():
            assert quantities.definition(f"{group}.any"), group
            for field, own in fields.items():
                assert f"{group}.{field}" in quantities.QUANTITIES
                axes |= set(own)
        for config in experiment.presets.values():
            axes |= set(config.arm_axes)
        assert axes <= set(quantities.AXES), name


# --- tables and comparison


def test_the_end_of_an_arm_is_a_median_over_seeds():
    found = made_runs.measured()
    ends = tables.ends(found)
    assert list(ends) == ["no normalisation", "BatchNorm"]
    test = found.arrays["test.accuracy"][1, :, -1].astype(float)
    assert ends["BatchNorm"]["test.accuracy"].middle == pytest.approx(np.median(test))
    late = found.arrays["train.loss"][0, :, -4:].astype(float).mean(axis=1)
    assert ends["no normalisation"]["train.loss"].low == pytest.approx(late.min())


def test_a_comparison_tells_all_that_differs(tmp_path):
    claims = [dict(claim) for claim in made_runs.CLAIMS]
    claims[0]["verdict"] = "inconclusive"
    first = read(made_runs.write(tmp_path / "a"))
    second = read(
        made_runs.write(
            tmp_path / "b", made_runs.measured(norms=("batch", "l1"), factor=2.0, lr=0.1), claims
        )
    )
    found = comparison.compare(first, second)
    assert ("lr", "0.4", "0.1") in found.options
    assert ("norms", "none batch", "batch l1") in found.options
    assert len(found.options) == 2
    assert [claim.identifier for claim in found.claims if claim.changed] == ["claim-supported"]
    assert found.changed == 1
    assert (list(found.only_first), list(found.only_second)) == (["no normalisation"], ["ℓ₁ norm"])
    rows = {row.quantity: row for row in found.numbers}
    assert {row.arm for row in found.numbers} == {"BatchNorm"}
    own = tables.ends(first.results)["BatchNorm"]["test.loss"].middle
    other = tables.ends(second.results)["BatchNorm"]["test.loss"].middle
    assert rows["Test loss"].change.startswith(f"{other - own:+.3g}")
    assert list(found.figures) == ["training"]


def test_a_comparison_has_both_runs_curves_and_figures(tmp_path, run):
    other = made_runs.write(tmp_path, made_runs.measured(factor=3.0, lr=0.1))
    out = tmp_path / "compared.html"
    assert command.main("", ["--compare", str(run), str(other), "--out", str(out)]) == 0
    found = Page(out.read_text())
    data = json.loads(found.text("data"))
    group = data["groups"][-1]
    assert group["id"] == "compare"
    assert {curve["values"]["run"][0] for curve in group["curves"]} == {"A", "B"}
    own, other = ([c for c in group["curves"] if c["source"] == place] for place in (0, 1))
    assert {curve["width"] for curve in own}.isdisjoint({curve["width"] for curve in other})
    # Hue and dashes stay those of the arm.
    looks = [[(curve["dash"], curve["colour"]) for curve in chosen] for chosen in (own, other)]
    assert looks[0] == looks[1]
    assert len({dash for dash, _ in looks[0]}) == 2
    loss = next(chart for chart in group["charts"] if chart["title"] == "Loss")
    assert len(loss["traces"]) == 16
    twins = [own for own in found.all("svg") if own.get("class") == "twin"]
    assert len(twins) == 2
    assert all("viewbox" in own for own in twins)


def test_equal_runs_differ_in_nothing(kept):
    found = comparison.compare(read(kept), read(kept))
    assert not found.options
    assert not found.surroundings
    assert found.changed == 0
    assert {row.change for row in found.numbers} == {"equal"}
