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
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path

import hostile
import made_runs
import numpy as np
import pytest
import xarray

from bnjax.commands import command_line
from bnjax.commands import report as report_command
from bnjax.draw import drawing
from bnjax.errors import RunError
from bnjax.frame import folder, results
from bnjax.frame import study as studies
from bnjax.frame.files import plain
from bnjax.report import charts, dark, pack, page, publish
from bnjax.report.page import command

VOID = {"meta", "link", "input", "img", "br", "hr"}
NASTY = "</script><!--<img src=x onerror=alert(1)>\u2028\u202e&amp;{{7*7}}"
LANDSCAPE = studies.find("landscape")


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


def read(path: Path) -> page.FinishedRun:
    return page.read(path, path)


def alone(run: results.Run) -> page.FinishedRun:
    """A run without claims and figures."""
    return page.FinishedRun("landscape", "0" * 12, "", "", run, [], {}, [], None, "", "")


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


def test_the_page_is_well_formed_and_names_nothing_outside(html):
    found = Page(html)
    own = r"(#|data:|training\.(csv|svg|pdf)$|--light|fill|stroke)"
    for tag, attributes in found.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "action", "srcset", "data", "poster", "style"):
                assert re.match(own, value), (tag, name, value[:80])
            if name == "href" and value.startswith("#"):
                assert value[1:] in found.ids
    for one in found.all("svg"):
        assert one.get("aria-hidden") == "true" or one.get("aria-label")
    assert all(one.get("alt") for one in found.all("img"))
    assert found.all("html") == [{"lang": "en"}]


def test_the_policy_admits_the_two_programs_and_no_other(html):
    found = Page(html)
    policy = next(own["content"] for own in found.all("meta") if "http-equiv" in own)
    assert "default-src 'none'" in policy
    scripts = re.search(r"script-src ([^;]*)", policy)[1]
    assert "unsafe" not in scripts
    programs = [found.text("script").encode(), unzip(found, "plotly")]
    digests = [base64.b64encode(hashlib.sha256(program).digest()).decode() for program in programs]
    assert scripts.split() == [f"'sha256-{digest}'" for digest in digests]
    assert [own for own in found.all("script") if not own] == [{}]
    kinds = {own["type"] for own in found.all("script") if own}
    assert kinds == {"application/gzip", "application/json"}


def unzip(found: Page, identifier: str) -> bytes:
    return gzip.decompress(base64.b64decode(found.text(identifier)))


def test_claims_stand_with_their_verdicts_rule_and_numbers(html):
    body = " ".join(html.split())
    for verdict, kind in page.VERDICTS.items():
        assert f"1 {verdict}" in body
        icon = r'\s*<svg class="icon".*?</svg>\s*'
        assert re.search(rf'<span class="verdict {kind}">{icon}<span>{verdict}</span>', body)
    assert "1.3 [1.1, 1.5] over 2 seeds" in body
    cells = "<td>1.3</td><td>1.1 to 1.5</td><td>2</td><td>1</td>"
    assert body.count(f'<th scope="row">ratio</th>{cells}') == 3
    cells = "<td>5</td><td>one seed</td><td>1</td><td>none</td>"
    assert f'<th scope="row">gap [points]</th>{cells}' in body


def test_a_figure_has_its_drawing_files_definition_and_command(html, kept):
    found = Page(html)
    for suffix in ("csv", "svg", "pdf"):
        content = (kept / f"training.{suffix}").read_bytes()
        assert unzip(found, f"run-1-file-0-{suffix}") == content
        link = next(own for own in found.all("a") if own.get("download") == f"training.{suffix}")
        assert link["data-file"] in found.ids
    definition = "<strong>Definition.</strong> The loss. <cite>Santurkar 2018</cite>"
    assert all(word in html for word in ("Why?", "A paper", definition))
    assert "--lr" in found.text("span")
    drawn = [own for own in found.all("svg") if "viewbox" in own and "aria-label" in own]
    assert any("Training curves" in own["aria-label"] for own in drawn)


def overlays_of(text: str) -> list[dict]:
    data = json.loads(Page(text).text("data"))
    return [chart for chart in data["groups"][0]["charts"] if chart["kind"] == "overlay"]


def test_published_curves_lie_over_the_table_that_the_figure_was_drawn_from(html, kept):
    [chart] = overlays_of(html)
    assert chart["title"] == "Training curves: a Loss"
    assert {trace["published"] for trace in chart["traces"]} == {True, False}
    first, count, width = json.loads(Page(html).text("data"))["places"][chart["traces"][0]["a"]]
    numbers = np.frombuffer(unzip(Page(html), "numbers"), f"<f{width}", count, first)
    loss = results.read(kept)["train_loss"].values[0, 0]
    np.testing.assert_allclose(numbers, loss, rtol=1e-6)


def test_equal_runs_write_equal_pages_and_a_page_says_what_failed(run, tmp_path, monkeypatch):
    other = tmp_path / "elsewhere" / "landscape" / run.name
    shutil.copytree(run, other)

    def fails(run, published):
        raise ValueError("no such <layer>")

    parts = {"CLAIMS": (lambda run: made_runs.VERDICTS,), "FIGURES": (made_runs.figure, fails)}
    study = dataclasses.replace(LANDSCAPE, parts=parts)
    for place in (run, other):
        with pytest.raises(RunError, match="1 figures are kept"):
            publish.publish(study, made_runs.PUBLISHED, place, ())
    first, second = ((place / "report.html").read_text() for place in (run, other))
    assert first == second
    assert "figure fails: ValueError: no such &lt;layer&gt;" in first
    summary = folder.read_summary(run)
    assert [one["name"] for one in summary.figures] == ["training"]
    assert summary.question == LANDSCAPE.question
    assert report_command.main([str(run)]) == 0
    assert "figure fails: ValueError: no such &lt;layer&gt;" in (run / "report.html").read_text()


# --- what is shown of a run is never obeyed


def test_texts_of_a_run_are_shown_not_obeyed(tmp_path, html):
    made = made_runs.measured(norms=("none", f"a{NASTY}"), dataset=NASTY, published=NASTY)
    data = made.data.assign_coords(layer=[NASTY, "b", "javascript:alert(1)"])
    cosines = data["shift_cosines"]
    data["x_y"] = (cosines.dims, cosines.values, dict.fromkeys(("long_name", "definition"), NASTY))
    facts = {**made.facts, "device": NASTY, NASTY: {NASTY: [NASTY]}}
    judged = [{**one, **dict.fromkeys(folder.VERDICT, NASTY)} for one in made_runs.verdicts()]
    path = made_runs.write(tmp_path, results.Run(data, made.options, facts), judged)
    one = read(path)
    words = dict.fromkeys(folder.FIGURE_WORDS, NASTY)
    figures = [figure._replace(**words) for figure in one.figures]
    text = page.render([one._replace(figures=figures, failed={NASTY: NASTY}, question=NASTY)])
    found, plain_page = Page(text), Page(html)
    assert not found.all("img")
    assert len(found.all("script")) == len(plain_page.all("script"))
    lists = {"ul", "li"}
    assert {tag for tag, _ in found.elements} <= {tag for tag, _ in plain_page.elements} | lists
    assert not [own for _, own in found.elements if any(key.startswith("on") for key in own)]
    for word in ("\u202e", "\u2028", "<img"):
        assert word not in text
    content = json.loads(found.text("data"))
    labels = json.dumps([curve["label"] for curve in content["groups"][0]["curves"]])
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


OUTSIDE = "https://example.org"
ACTIVE = [
    "<script>alert(1)</script>",
    "<style>*{display:none}</style>",
    "<foreignObject><p>x</p></foreignObject>",
    '<g onload="alert(1)"/>',
    '<a x:href="javascript:alert(1)"><path d="M0 0"/></a>',
    f'<image x:href="{OUTSIDE}/a.png"/>',
    '<image x:href="data:image/svg+xml;base64,PHN2Zz4="/>',
    f'<use x:href="{OUTSIDE}/a.svg#b"/>',
    f'<path style="fill: url({OUTSIDE})"/>',
    '<path style="fill: ur\\6c(x)"/>',
    f"<path fill=\"image-set('{OUTSIDE}')\"/>",
    '<set attributeName="href" to="javascript:alert(1)"/>',
    '<animate attributeName="href" values="javascript:alert(1)"/>',
]


@pytest.mark.parametrize("part", ACTIVE)
def test_what_does_not_draw_is_left_out_of_a_drawing(part):
    made = pack.inline(SVG.format(part + '<path d="M1 1"/>').encode(), "p-", "title", "f.svg")
    assert '<path d="M1 1">' in made
    for word in ("alert", "example.org", "script", "display", "foreign", "onload", "svg+xml", "ur"):
        assert word not in made.replace("currentColor", "").replace("stroke", ""), word


def test_names_of_two_drawings_do_not_meet():
    text = '<defs><clipPath id="a"><rect width="1"/></clipPath></defs>'
    text += '<g clip-path="url(#a)" style="clip-path: url(#a)"><use x:href="#a"/></g>'
    made = pack.inline(SVG.format(text).encode(), "p-", 'a "title"', "f.svg")
    assert made.count("p-a") == 4
    assert 'aria-label="a &quot;title&quot;"' in made
    assert "url(#a)" not in made


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig", "iso-8859-1", "koi8-r"])
@pytest.mark.parametrize("entity", ["", '<!ENTITY a "b">', '<!ENTITY % a "b">'])
def test_entities_are_refused_in_any_encoding(encoding, entity):
    declared = encoding.removesuffix("-sig")
    text = f'<?xml version="1.0" encoding="{declared}"?><!DOCTYPE svg [{entity}]>'
    content = (text + SVG.format('<path d="M1 1"/>')).encode(encoding)
    if entity:
        with pytest.raises(RunError, match=r"f\.svg cannot be shown \(it declares entities\)"):
            pack.inline(content, "p-", "t", "f.svg")
    else:
        assert '<path d="M1 1">' in pack.inline(content, "p-", "t", "f.svg")


@pytest.mark.parametrize(
    "text",
    [
        "no xml",
        '<?xml version="1.0" encoding="banana"?>' + SVG.format(""),
        '<?xml version="1.0" encoding="utf-7"?>' + SVG.format(""),
        "<html/>",
        '<svg xmlns="http://www.w3.org/2000/svg"/>',
        '<!DOCTYPE s [<!ENTITY a "b">]>' + SVG.format("&a;"),
        SVG.format("<g>" * 150 + "</g>" * 150),
        SVG.replace("0 0 9 9", "0 0 9 9&quot; onload=&quot;x").format(""),
    ],
)
def test_what_is_no_drawing_is_refused(text):
    with pytest.raises(RunError, match=r"f\.svg"):
        pack.inline(text.encode(), "p-", "t", "f.svg")


def test_a_damaged_run_gets_a_line_and_no_page(run, tmp_path, capsys):
    """Damage of every kind, often with right digests: a page or one line, nothing else."""
    generator = random.Random(7)
    statuses = set()
    for number in range(40):
        copy = tmp_path / str(number) / "runs" / "landscape" / run.name
        shutil.copytree(run, copy)
        (tmp_path / str(number) / "outside").mkdir()
        (tmp_path / str(number) / "outside" / "kept").write_text("kept")
        try:
            done = hostile.damage(generator, copy, tmp_path / str(number))
        except OSError:  # damage to what was damaged before
            continue
        out = tmp_path / f"{number}.html"
        status = report_command.main([str(copy), "--out", str(out)])
        statuses.add(status)
        error = capsys.readouterr().err
        assert status in (0, 1, 2), done
        assert (status == 0) == out.exists(), done
        assert "Traceback" not in error, done
        assert error.count("\n") == (status != 0), (done, error)
    assert statuses >= {0, 1}


@pytest.mark.parametrize("name", ["training.svg", "results.nc", "models"])
def test_a_report_follows_no_link_out_of_the_folder_of_a_run(run, tmp_path, capsys, name):
    outside = shutil.copytree(run, tmp_path / "outside")
    if name == "models":
        (run / name).symlink_to(outside, target_is_directory=True)
    else:
        (run / name).unlink()
        (run / name).symlink_to(outside / name)
    assert report_command.main([str(run), "--out", str(tmp_path / "page.html")]) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(rf"error: \S+/{name} is a symbolic link, .*\n", said)
    assert not (tmp_path / "page.html").exists()


def test_a_link_that_a_person_typed_is_followed(run, tmp_path):
    way = tmp_path / "way"
    way.symlink_to(run.parents[1], target_is_directory=True)
    typed = way / run.parent.name / run.name
    assert report_command.main([str(typed), "--out", str(tmp_path / "typed.html")]) == 0


def mutate(generator: random.Random, run: results.Run) -> results.Run:
    """Results of the right form with something in them that no run measures."""
    data = run.data
    axis, name = (generator.choice(sorted(map(str, names))) for names in (data.coords, data))
    values, length = data[name], data.sizes[axis]
    odd = generator.choice([np.nan, np.inf, -1e308, 1e308, 0.0])
    full = np.full(values.shape, generator.choice([odd, odd, "text", True, 1j]))
    order = generator.sample(values.dims, len(values.dims))
    act = generator.choice(
        [
            lambda: data.assign_coords({axis: [NASTY] * length}),
            lambda: data.assign_coords({axis: [odd] * length}),
            lambda: data.assign({name: (values.dims, full)}),
            lambda: data.drop_vars(name),
            lambda: data.isel({axis: slice(0)}),
            lambda: data.assign(
                {name: values.transpose(*order).assign_attrs(long_name=3, units=None)}
            ),
        ]
    )
    return dataclasses.replace(run, data=act())


@pytest.mark.full  # many compiles
def test_results_of_odd_forms_get_a_page_or_an_error():
    generator = random.Random(3)
    shown = 0
    for _ in range(50):
        run = made_runs.measured()
        for _ in range(generator.choice([1, 1, 2, 4])):
            run = mutate(generator, run)
        try:
            made = page.render([alone(run), alone(run)], (0, 1))
        except (RunError, ValueError, TypeError, KeyError, IndexError):
            continue
        json.loads(Page(made).text("data"))
        shown += 1
    assert shown > 35


# --- the command line


def test_a_single_run_gets_its_page_and_keeps_its_digests(run, capsys):
    assert report_command.main([str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert not folder.verify(run).damage
    # A page that the run itself has written belongs to its results.
    found = folder.read_summary(run)
    (run / "report.html").write_text("older")
    about = {"figures": found.figures}
    folder.write_summary(run, found.verdicts, {}, [*found.files, "report.html"], **about)
    assert report_command.main([str(run)]) == 0
    assert not folder.verify(run).damage
    assert folder.read_summary(run).figures == found.figures


def test_several_runs_get_one_page_in_the_folder_of_all_runs(run, tmp_path):
    other = made_runs.write(tmp_path, made_runs.measured(lr=0.1))
    assert report_command.main([str(run), str(other), str(run)]) == 0
    found = Page((tmp_path / "report.html").read_text())
    assert {"run-1", "run-2"} <= found.ids
    assert "run-3" not in found.ids
    links = [own["href"] for own in found.all("a") if own.get("download") == "training.csv"]
    assert links == [f"landscape/{path.name}/training.csv" for path in (run, other)]


@pytest.mark.full  # many compiles
def test_figures_are_drawn_again_with_other_published_curves(run, tmp_path, monkeypatch, capsys):
    given = tmp_path / "charts.csv"
    given.write_text("panel,series,step,low,high\nloss,standard,0,1,2\nloss,standard,9,1,2\n")
    study = dataclasses.replace(LANDSCAPE, parts={"FIGURES": (made_runs.figure,)})
    monkeypatch.setattr(studies, "find", lambda name: study)
    before = (run / "training.svg").read_bytes()
    out = tmp_path / "p.html"
    assert report_command.main([str(run), "--published", str(given), "--out", str(out)]) == 0
    [chart] = overlays_of(out.read_text())
    assert [trace["n"] for trace in chart["traces"] if trace["published"]] == [2, 2]
    assert (run / "training.svg").read_bytes() == before
    foreign = made_runs.measured(lr=0.3)
    facts = {**foreign.facts, "script": "mine.py 0123456789ab"}
    other = made_runs.write(tmp_path / "other", dataclasses.replace(foreign, facts=facts))
    assert report_command.main([str(other), "--published", str(given)]) == 2
    assert "no study of bnjax" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "no run folder is given"),
        ("nowhere", "nowhere is not a folder"),
        (".", "is no run folder"),
        ("RUN --out .", "--out"),
        ("RUN --out no/such/place.html", "--out"),
        ("RUN --published none.csv", "none.csv"),
        ("--compare RUN", "--compare"),
        ("RUN --nonsense", "nonsense"),
    ],
)
def test_wrong_calls_get_one_line(kept, capsys, monkeypatch, tmp_path, words, message):
    monkeypatch.chdir(tmp_path)
    assert (
        report_command.main([str(kept) if word == "RUN" else word for word in words.split()]) == 2
    )
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_runs_without_a_page_get_one_line(run, capsys, monkeypatch):
    def refused(message):
        assert report_command.main([str(run)]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1

    (run / "training.svg").write_text("other")
    refused("training.svg has 5 bytes")
    (run / "summary.json").unlink()
    refused("is not finished")
    record = folder.read_config(run)
    monkeypatch.setattr(folder, "FORMAT", 1)
    folder.write_config(run, record)
    monkeypatch.undo()
    refused("it is of bnjax 0.1 (format 1, here 2)")


# --- the command that repeats a run


@pytest.mark.parametrize("name", studies.names())
def test_the_command_repeats_the_run(name):
    study = studies.find(name)
    for key in study.presets:
        preset = study.preset(*key.split())
        values = vars(preset)
        switches = {one: not value for one, value in values.items() if isinstance(value, bool)}
        more = {"seeds": 3, "steps": 123, "weight_decay": 0.5}
        for given in ({}, more, switches):
            chosen = dataclasses.replace(preset, **given)
            for known in (study, None):
                line = command(name, plain(vars(chosen)), known)
                words = shlex.split(line)
                assert words[:2] == ["bnjax", name]
                parsed = command_line.parse(study, words[2:])
                assert folder.digest(parsed) == folder.digest(chosen), line
    short = command(name, plain(vars(study.preset(next(iter(study.presets))))), study)
    assert short == f"bnjax {name}"


def test_a_persons_folders_are_not_written_down_and_what_decides_bits_is(html, tmp_path):
    given = {"data_dir": "/home/me/data", "published": "/home/me/c.csv", "deterministic": True}
    options = made_runs.options(plugins=["/home/me/my norm.py"], **given)
    line = command("landscape", options, LANDSCAPE)
    assert "/home/me" not in line
    for word in (
        "--data-dir DIR",
        "--published CSV",
        "--deterministic",
        "'my norm.py'",
        "--lr 0.4",
    ):
        assert word in line
    assert "--width" not in line
    assert page.deciding(options)["plugins"] == "my norm.py"
    foreign = command("mine", {"lr": 0.1}, None, "mine.py 0123456789ab")
    assert foreign == "python mine.py --lr 0.1"
    path = made_runs.write(tmp_path, made_runs.measured(published="/home/me/charts.csv"))
    for text, drawn in ((html, True), (page.render([read(path)]), False)):
        [line] = set(re.findall(r"<code>(<span>bnjax.*?)</code>", text))
        assert ("<span>--published</span> <span>CSV</span>" in line) == drawn


def test_what_was_run_follows_from_the_arms():
    def say(axes, **options):
        shape = [*map(len, axes.values()), 2, 40]
        loss = made_runs.variable("train_loss", (*axes, "seed", "step"), np.ones(shape))
        data = xarray.Dataset({"train_loss": loss}, {**axes, "seed": [0, 1], "step": np.arange(40)})
        run = results.Run(data, made_runs.options(**options), made_runs.FACTS)
        return dict(page.facts(alone(run)))

    one = say({"norm": ["none", "batch"]})
    assert one["Arms"] == "norm: no normalisation, BatchNorm"
    assert one["Training"].startswith("sgd, learning rate 0.4, 40 steps, batch ")
    swept = {"norm": ["batch"], "variant": ["sgd+zeros", "adam+zeros"], "multiple": [0.1, 1.0]}
    assert say(swept)["Training"].startswith("40 steps, batch ")
    assert say(swept)["Arms"].endswith("variant: sgd+zeros, adam+zeros; multiple: 0.1, 1")
    assert "batch" not in say({"norm": ["batch"], "batch_size": [2, 16]})["Training"]


# --- charts


def build(run, numbers=None):
    return charts.build("run-1", [("", run)], numbers or pack.Numbers())


def by_title(group, title):
    return next(chart for chart in group.content["charts"] if chart["title"] == title)


def unpacked(numbers, place):
    first, count, width = numbers.places[place]
    return np.frombuffer(numbers.content(), f"<f{width}", count, first)


def test_the_axes_of_a_variable_decide_its_chart():
    group = build(made_runs.measured())
    kinds = {chart["title"]: chart["kind"] for chart in group.content["charts"]}
    assert kinds == {
        "Loss": "training",
        "Accuracy": "training",
        "Loss L(θ − ηd)": "slice",
        "Effective smoothness β(η)": "slice",
        "Loss L(θ) on the probed batch": "course",
        "Cosine of G and G′ of the layers": "slice",
        "Loss, plane": "surface",
        "Loss, trajectory": "surface",
        "The path's coordinates": "course",
    }
    assert group.content["steps"] == [0, 10, 20, 30]
    assert [factor.label for factor in group.factors] == ["normaliser", "seed"]
    line = by_title(group, "Loss L(θ − ηd)")
    assert (line["along"], line["definition"]) == ("step size η", "On the line.")
    assert line["logX"]
    assert by_title(group, "Loss")["definition"].endswith("Hollow marks: the whole test set.")


def test_shares_are_never_on_a_logarithmic_scale():
    run = made_runs.measured()
    for name, log in (("line_losses", True), ("shift_cosines", False)):
        run.data[name][0] *= 1e-5
        chart = by_title(build(run), made_runs.LABELS[name])
        assert chart["logY"] == log


def test_a_trace_finds_its_numbers_at_every_step():
    run, numbers = made_runs.measured(), pack.Numbers()
    chart = by_title(build(run, numbers), "Effective smoothness β(η)")
    places = itertools.product(range(2), range(2))
    for trace, (norm, seed) in zip(chart["traces"], places, strict=True):
        values = unpacked(numbers, trace["a"])
        for step in range(4):
            start = trace["s"] + step * trace["p"]
            drawn = values[start : start + trace["n"] * trace["d"] : trace["d"]]
            expected = run["line_smoothness"].values[norm, seed, step, 0]
            np.testing.assert_array_equal(drawn, expected)
        np.testing.assert_array_equal(unpacked(numbers, trace["x"]), run["step_size"].values)


def test_a_surface_has_the_names_of_its_axes_and_the_path_in_its_plane():
    run, numbers = made_runs.measured(), pack.Numbers()
    group = build(run, numbers)
    plane, own = by_title(group, "Loss, plane"), by_title(group, "Loss, trajectory")
    assert (plane["along"], plane["across"]) == ("second direction", "first direction")
    assert all("path" not in trace for trace in plane["traces"])
    assert (own["along"], own["across"]) == ("first component", "second component")
    for place, trace in enumerate(own["traces"]):
        path = trace["path"]
        drawn = unpacked(numbers, path["a"])[path["s"] : path["s"] + 2 * trace["n"]]
        expected = run["principal_coordinates"].values.reshape(4, -1)[place]
        np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize("inner", [("kind", "rank"), ("rank", "kind")])
def test_a_short_axis_is_chosen_from_and_not_drawn_along(inner):
    run, numbers = made_runs.measured(), pack.Numbers()
    sizes = {"kind": 2, "rank": 4}
    values = np.arange(128.0).reshape(2, 2, 4, *(sizes[axis] for axis in inner))
    dims = ("norm", "seed", "probe_step", *inner)
    data = run.data.assign(many_values=(dims, values)).assign_coords(kind=["a", "b"])
    data = data.assign_coords(
        rank=("rank", np.arange(1, 5), {"long_name": "rank of the eigenvalue"})
    )
    group = build(dataclasses.replace(run, data=data), numbers)
    chart = by_title(group, "Many values")
    expected = ("slice", "rank of the eigenvalue", ["kind"])
    assert (chart["kind"], chart["along"], chart["choices"]) == expected
    assert group.choices["kind"] == ("kind", ["a", "b"])
    trace = chart["traces"][1]
    start = trace["s"] + 2 * trace["p"] + 1 * trace["c"]["kind"]
    drawn = unpacked(numbers, trace["a"])[start :: trace["d"]][:4]
    here = data["many_values"].isel(norm=0, seed=1, probe_step=2, kind=1)
    np.testing.assert_array_equal(drawn, here.values)


def test_packing_knows_no_time_and_numbers_beyond_32_bits_begin_where_64_bits_may(monkeypatch):
    first = pack.pack(b"text")
    monkeypatch.setattr("time.time", lambda: 1e9)
    assert pack.pack(b"text") == first
    numbers = pack.Numbers()
    places = [numbers.add(np.array(values)) for values in ([1.5], [1e300, np.nan, np.inf], [2.5])]
    assert [numbers.places[place][2] for place in places] == [4, 8, 4]
    assert numbers.places[1][0] % 8 == 0
    np.testing.assert_array_equal(unpacked(numbers, 1), [1e300, np.nan, np.inf])


def test_long_training_curves_keep_their_spikes():
    steps = 50_000
    loss = np.ones((2, 2, steps), np.float32)
    loss[1, 0, 31_234], loss[0, 1, 7] = 1e9, -5
    variable = made_runs.variable("train_loss", ("norm", "seed", "step"), loss)
    axes = {"norm": ["none", "batch"], "seed": [0, 1], "step": np.arange(steps)}
    run = results.Run(xarray.Dataset({"train_loss": variable}, axes), made_runs.options(), {})
    data, notes = charts.thin(run)
    drawn = data["train_loss"].values
    assert drawn.shape == (4, data.sizes["block"])
    assert drawn.shape[1] <= charts.USUAL_POINTS
    assert drawn[2].max() == 1e9
    assert drawn[1].min() == -5
    assert abs(data["block"].values[drawn[2].argmax()] - 31_234) < 30
    assert "least and the greatest of every" in notes[0]
    assert by_title(build(run), "Loss")["traces"][0]["n"] == drawn.shape[1]
    values = np.array([[1.0, 3.0, np.nan, np.nan, 5.0, 4.0, 7.0]])  # nothing measured stays nothing
    np.testing.assert_array_equal(charts.extremes(values, 2), [[1, 3, np.nan, np.nan, 5, 4, 7, 7]])


def test_ten_million_numbers_make_a_small_page_that_says_so():
    run = made_runs.measured()
    data = run.data.drop_dims("probe_step")
    values = np.random.default_rng(1).normal(size=(2, 2, 2500, 1000)).astype(np.float32)
    data["big_values"] = (("norm", "seed", "probe_step", "channel"), values)
    made = page.render([alone(dataclasses.replace(run, data=data))])
    assert len(made) < 20e6
    assert "To keep this page small" in made
    assert "one of every" in made


def test_more_curves_than_can_be_told_apart_are_left_out_and_said():
    loss = made_runs.variable("train_loss", ("norm", "seed", "step"), np.ones((2, 400, 40)))
    axes = {"norm": ["none", "batch"], "seed": np.arange(400), "step": np.arange(40)}
    group = build(results.Run(xarray.Dataset({"train_loss": loss}, axes), {}, {}))
    assert len(group.content["curves"]) == 300
    assert "500 more curves are left out" in group.notes
    assert ("seed", "1") in group.off


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
    known = [drawing.LOOKS[name] for name in [*drawing.LOOKS] if drawing.LOOKS[name].hatch != "oo"]
    spare = zip(drawing.SPARE_COLOURS, drawing.SPARE_LINES, strict=True)
    return [*((look.colour, look.line) for look in known), *spare]


@pytest.mark.parametrize("page_is", ["print", "dark"])
def test_curves_have_contrast_and_differ_for_deuteranopes(page_is):
    drawn = looks()
    if page_is == "print":
        own = {drawing.LOOKS[name].colour for name in ("linf", "noisy_batch")}  # Okabe & Ito's
        for colour, _ in drawn:
            assert contrast(colour, "#FFFFFF") >= (2 if colour in own else 3), colour
    else:
        assert {colour for colour, _ in drawn} | set(charts.COLOURS) <= set(dark.ON_DARK)
        assert f"--paper: {dark.DARK_PAGE.lower()}" in page.text("dark.css")
        drawn = [(dark.on_dark(colour), line) for colour, line in drawn]
        for colour, _ in [*drawn, (dark.NEUTRAL_ON_DARK, "")]:
            for stroke in (charts.STROKE, *charts.STROKES):
                drawn_as = over(colour, dark.DARK_PAGE, stroke["opacity"])
                assert contrast(drawn_as, dark.DARK_PAGE) >= 3, colour
    for (first, line), (second, other) in itertools.combinations(drawn, 2):
        distance = np.linalg.norm(seen(first) - seen(second))
        assert distance > (20 if line == other else 10), (first, second)


# --- tables and comparison


def test_the_end_of_an_arm_is_a_median_over_seeds():
    run = made_runs.measured()
    run.data["train_loss"][1, 0, -1] = np.nan  # diverged
    ends = page.ends(run)
    assert list(ends) == ["no normalisation", "BatchNorm"]
    test = run["test_accuracy"].values[1, :, -1].astype(float)
    assert ends["BatchNorm"]["Test accuracy"].middle == pytest.approx(np.median(test))
    late = run["train_loss"].values[:, :, -4:].astype(float).mean(axis=2)
    assert ends["no normalisation"]["Minibatch loss"].low == pytest.approx(late[0].min())
    assert ends["BatchNorm"]["Minibatch loss"].middle == pytest.approx(late[1, 1])


def test_a_comparison_tells_all_that_differs(tmp_path):
    judged = made_runs.verdicts({0: {"verdict": "not supported"}})
    judged.append({**judged[0], "identifier": "another"})
    first = read(made_runs.write(tmp_path / "a"))
    other = made_runs.measured(norms=("batch", "l1"), factor=2.0, lr=0.1)
    second = read(made_runs.write(tmp_path / "b", other, judged))
    found = page.compare(first, second)
    assert found["options"] == [("norms", "none batch", "batch l1"), ("lr", "0.4", "0.1")]
    changed = [one["claim"]["identifier"] for one in found["claims"] if one["changed"]]
    assert changed == ["claim-supported"]
    counts = [found[what] for what in ("decided", "changed", "undecided")]
    assert (counts, len(found["claims"])) == ([2, 1, 1], 4)
    assert (found["only_first"], found["only_second"]) == (["no normalisation"], ["ℓ₁ norm"])
    assert {row[0] for row in found["numbers"]} == {"BatchNorm"}
    rows = {row[1]: row for row in found["numbers"]}
    here, there = (page.ends(one.run)["BatchNorm"]["Test loss"].middle for one in (first, second))
    assert rows["Test loss"][4].startswith(f"{there - here:+.3g}")
    text = page.render([first, second], (0, 1))
    assert "Both runs decide 2 claims, 1 of them differently." in text
    assert "1 more is inconclusive in one or both, and not counted." in text


@pytest.mark.parametrize("place", [0, 1])
def test_a_comparison_counts_only_what_both_runs_decided(kept, place):
    """A claim that one run decides and the other leaves open differs in nothing."""
    one = read(kept)
    other = one._replace(verdicts=made_runs.verdicts({place: {"verdict": "inconclusive"}}))
    for pair in ((one, other), (other, one)):
        found = page.compare(*pair)
        assert [found[what] for what in ("decided", "changed", "undecided")] == [1, 0, 2]
        assert not any(claim["changed"] for claim in found["claims"])


def test_a_comparison_has_both_runs_curves_and_figures(tmp_path, run):
    other = made_runs.write(tmp_path, made_runs.measured(factor=3.0, lr=0.1))
    out = tmp_path / "compared.html"
    assert report_command.main(["--compare", str(run), str(other), "--out", str(out)]) == 0
    found = Page(out.read_text())
    group = json.loads(found.text("data"))["groups"][-1]
    assert group["id"] == "compare"
    assert {curve["values"]["run"][0] for curve in group["curves"]} == {"A", "B"}
    own, others = ([c for c in group["curves"] if c["source"] == place] for place in (0, 1))
    assert {curve["width"] for curve in own}.isdisjoint({curve["width"] for curve in others})
    # Hue and dashes stay those of the arm.
    looks = [[(curve["dash"], curve["colour"]) for curve in chosen] for chosen in (own, others)]
    assert looks[0] == looks[1]
    assert len({dash for dash, _ in looks[0]}) == 2
    loss = next(chart for chart in group["charts"] if chart["title"] == "Loss")
    assert len(loss["traces"]) == 16
    twins = [own for own in found.all("svg") if own.get("class") == "twin"]
    assert len(twins) == 2
    assert all("viewbox" in own for own in twins)


def test_one_configuration_from_two_places_differs_in_nothing(run, tmp_path):
    other = tmp_path / "elsewhere" / "landscape" / run.name
    shutil.copytree(run, other)
    out = tmp_path / "p.html"
    for pair in ((run, other), (run, run)):
        assert report_command.main(["--compare", *map(str, pair), "--out", str(out)]) == 0
        assert "both have the same options" in out.read_text()
    found = page.compare(read(run), read(other))
    assert not found["options"]
    assert not found["surroundings"]
    assert found["changed"] == 0
    assert {row[4] for row in found["numbers"]} == {"equal"}
