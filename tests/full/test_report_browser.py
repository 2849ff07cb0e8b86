"""The page of a run in a real browser: it draws, asks for nothing, and its controls work."""

import csv
import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import made_runs
import numpy as np
import pytest

from bnjax.commands import report as command
from bnjax.frame import results
from bnjax.report import dark

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = os.environ.get("BNJAX_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt install chromium")
# Surfaces are drawn by WebGL, here without a graphics card; root has no sandbox.
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
WAIT = 180_000  # milliseconds: surfaces are drawn by the processor, which others may need too


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(place):
    path = made_runs.write(place, published=made_runs.PUBLISHED)
    assert command.main([str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def compared(place, run):
    other = made_runs.write(place, made_runs.measured(factor=2.0, lr=0.1))
    assert command.main(["--compare", str(run), str(other)]) == 0
    return place / "report.html"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)


class Reader:
    """Someone who reads a page, and what the browser said meanwhile."""

    def __init__(self, browser, path: Path, **options) -> None:
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, **options}
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT)
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", self.hear_request)
        self.failed: dict[str, str] = {}
        self.page.on("requestfailed", lambda one: self.failed.update({one.url: one.failure}))
        self.page.on("console", self.hear_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(path.as_uri())

    def hear_request(self, request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.outside.append(request.url)

    def hear_console(self, message):
        if message.type == "error":
            self.errors.append(message.text)

    def draw_all(self, within="main", kinds=".chart:not(.surface)"):
        """Look at every chart of some kinds, and wait until each is drawn.

        Surfaces, which take seconds without a graphics card, are drawn only where they are asked
        for: what holds them stays closed.
        """
        self.page.evaluate(
            """kinds => document.querySelectorAll('details').forEach(e => {
              e.open = !e.classList.contains('kind') || e.querySelector(kinds) !== null; })""",
            kinds,
        )
        for plot in self.page.locator(f"{within} {kinds} .plot").all():
            plot.scroll_into_view_if_needed()
            plot.locator(".main-svg, canvas").first.wait_for(state="attached")
        self.settle()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.context.close()
        assert error[0] or not self.outside
        assert error[0] or not self.errors

    def settle(self):
        self.page.evaluate(
            "new Promise(done => requestAnimationFrame(() => setTimeout(done, 150)))"
        )

    def traces(self, title):
        """The lines of a chart as the program drew them."""
        plot = self.page.locator(".chart", has=self.page.locator("h5", has_text=title)).first
        return json.loads(
            plot.locator(".plot").evaluate(
                "e => JSON.stringify(e.data.map(t => ({name: t.name, y: Array.from(t.y),"
                " colour: t.line.color})))"
            )
        )

    def move_to(self, place):
        self.page.locator("#run-1-step").evaluate(
            "(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", str(place)
        )
        self.settle()


@pytest.fixture
def reader(browser, run):
    with Reader(browser, run / "report.html") as made:
        yield made


def test_every_chart_is_drawn_and_every_control_has_a_name(reader):
    reader.draw_all(kinds=".chart")
    plots = reader.page.locator(".plot")
    assert plots.count() == 10
    drawn = plots.evaluate_all("all => all.map(e => (e.data || []).length)")
    kinds = plots.evaluate_all("all => all.map(e => e.parentElement.className)")
    expected = {"chart training": 8, "chart surface": 0, "chart overlay": 6}
    for kind, count in zip(kinds, drawn, strict=True):
        assert count == expected.get(kind, 4), kind
    assert reader.page.locator(".scene canvas").count() >= 8
    assert reader.page.locator("#status").text_content() == ""
    reached = reader.page.evaluate(
        """() => [...document.querySelectorAll("a[href], button, input, select, summary, .view")]
          .filter((e) => e.checkVisibility() && e.closest(".plot") === null)
          .map((e) => { e.focus(); return document.activeElement === e; })"""
    )
    assert len(reached) > 20
    assert all(reached)
    unnamed = reader.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select")]
          .filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).length"""
    )
    assert unnamed == 0


def test_one_slider_moves_all_slices(reader, run):
    reader.draw_all()
    found = results.read(run)
    slices = {
        "Loss L(θ − ηd)": "line_losses",
        "Effective smoothness": "line_smoothness",
        "Cosine of G": "shift_cosines",
    }
    shown = reader.page.locator("output[for=run-1-step]")
    for place in (3, 0, 2):
        reader.move_to(place)
        assert shown.text_content() == str(10 * place)
        for title, name in slices.items():
            values = found[name].values.reshape(4, 4, -1)[:, place]
            drawn = [trace["y"] for trace in reader.traces(title)]
            np.testing.assert_allclose(drawn, values, rtol=1e-6)
    marked = "e => e.parentElement.matches('.training, .course') ? e.layout.shapes[0].x0 : null"
    marks = [
        plot.evaluate(marked) for plot in reader.page.locator(".chart:not(.surface) .plot").all()
    ]
    assert [mark for mark in marks if mark is not None] == [20] * 4
    reader.page.get_by_label("Step after").click()
    reader.settle()
    assert shown.text_content() == "30"
    reader.page.locator("#run-1-step").focus()
    reader.page.keyboard.press("ArrowLeft")
    assert shown.text_content() == "20"


def test_arms_and_seeds_are_switched_off_and_on(reader):
    reader.draw_all()
    arm = reader.page.locator("input[data-factor=norm][data-value=BatchNorm]")
    seed = reader.page.locator("input[data-factor=seed][data-value='1']")
    for title in ("Loss", "Effective smoothness"):
        assert any("BatchNorm" in trace["name"] for trace in reader.traces(title))
    arm.uncheck()
    reader.settle()
    for title, count in (("Loss", 4), ("Effective smoothness", 2)):
        drawn = reader.traces(title)
        assert len(drawn) == count
        assert not any("BatchNorm" in trace["name"] for trace in drawn)
    seed.uncheck()
    reader.settle()
    assert [trace["name"] for trace in reader.traces("Effective smoothness")] == [
        "no normalisation, seed 0"
    ]
    arm.focus()
    reader.page.keyboard.press("Space")
    seed.check()
    reader.settle()
    assert len(reader.traces("Effective smoothness")) == 4


@pytest.mark.parametrize("suffix", ["csv", "svg", "pdf"])
def test_buttons_hand_out_the_files_of_the_run(reader, run, tmp_path, suffix):
    # A page that has left its run folder still has them.
    moved = tmp_path / "page.html"
    shutil.copyfile(run / "report.html", moved)
    reader.page.goto(moved.as_uri())
    with reader.page.expect_download() as handed:
        reader.page.get_by_label(f"Download training.{suffix}").click()
    assert handed.value.suggested_filename == f"training.{suffix}"
    assert Path(handed.value.path()).read_bytes() == (run / f"training.{suffix}").read_bytes()


def test_a_figure_is_zoomed_and_moved_by_buttons_keys_and_a_pinch(reader):
    view = reader.page.locator(".figure .view").first
    view.scroll_into_view_if_needed()

    def box():
        return [float(x) for x in view.locator("svg").get_attribute("viewBox").split()]

    whole = box()
    view.focus()
    view.hover()
    reader.page.keyboard.down("Control")  # as a pinch on a touchpad arrives
    reader.page.mouse.wheel(0, -300)
    reader.page.keyboard.up("Control")
    reader.settle()
    assert box()[2] < whole[2]
    reader.page.keyboard.press("0")
    assert box() == whole
    reader.page.keyboard.press("+")
    zoomed = box()
    assert zoomed[2] == pytest.approx(whole[2] / 1.5, rel=1e-3)
    reader.page.keyboard.press("ArrowRight")
    assert box()[0] > zoomed[0]
    for _ in range(30):
        reader.page.keyboard.press("ArrowRight")
    assert box()[0] + box()[2] == pytest.approx(whole[0] + whole[2])
    reader.page.get_by_label("Show all: Training curves").click()
    assert box() == whole
    reader.page.get_by_label("Zoom in: Training curves").click()
    place = view.bounding_box()
    before = box()
    reader.page.mouse.move(place["x"] + 200, place["y"] + 100)
    reader.page.mouse.down()
    reader.page.mouse.move(place["x"] + 100, place["y"] + 100)
    reader.page.mouse.up()
    assert box()[0] > before[0]


def test_a_surface_is_turned_by_buttons_all_arms_together(reader):
    reader.draw_all(kinds=".surface")
    surface = reader.page.locator(".chart.surface").first
    eyes = "all => all.map(e => e._fullLayout.scene.camera.eye)"
    before = surface.locator(".scene").evaluate_all(eyes)
    assert len(before) == 4
    surface.get_by_label("Turn left").click()
    reader.settle()
    after = surface.locator(".scene").evaluate_all(eyes)
    assert all(eye == after[0] for eye in after)
    assert after[0]["x"] != pytest.approx(before[0]["x"])
    radius = [float(np.hypot(eye["x"], eye["y"])) for eye in (before[0], after[0])]
    assert radius[0] == pytest.approx(radius[1])
    surface.get_by_label("First view").click()
    reader.settle()
    assert surface.locator(".scene").evaluate_all(eyes)[0]["x"] == pytest.approx(before[0]["x"])
    reader.page.locator("input[data-factor=norm][data-value=BatchNorm]").uncheck()
    reader.settle()
    assert surface.locator(".scene").count() == 2


def test_a_surface_names_its_axes_and_has_the_path_on_it(reader, run):
    reader.draw_all(kinds=".surface")
    scenes = reader.page.locator(".chart.surface").nth(1).locator(".scene")
    names = "e => ['xaxis', 'yaxis'].map(a => e._fullLayout.scene[a].title.text)"
    assert scenes.first.evaluate(names) == ["first component", "second component"]
    other = reader.page.locator(".chart.surface .scene").first
    assert other.evaluate(names) == ["second direction", "first direction"]
    assert other.evaluate("e => e.data.length") == 1
    found = results.read(run)
    for scene, place in enumerate((0, 2, 1, 3)):  # the first seed of each arm comes first
        drawn = scenes.nth(scene).evaluate("e => [e.data[1].x, e.data[1].y, e.data[1].z]")
        where = found["principal_coordinates"].values.reshape(4, -1, 2)[place]
        np.testing.assert_allclose(np.transpose(drawn[:2]), [*where, [0, 0]], rtol=1e-6)
        losses = found["trajectory_losses"].values.reshape(4, 5, 5)[place]
        assert drawn[2][-1] == pytest.approx(losses[2, 2], rel=1e-5)  # the middle of the plane


def every_button(reader, kinds, names):
    """Use every button of the bar of the first chart of some kind."""
    reader.draw_all(kinds=kinds)
    plot = reader.page.locator(f"{kinds} .js-plotly-plot").first
    plot.scroll_into_view_if_needed()
    plot.hover()
    titles = plot.locator(".modebar-btn").evaluate_all("all => all.map(e => e.dataset.title)")
    assert sorted(titles) == sorted(names)
    for title in titles:
        button = plot.locator(f".modebar-btn[data-title='{title}']")
        if title.startswith("Download"):
            with reader.page.expect_download() as handed:
                button.click()
            assert handed.value.suggested_filename.endswith(".svg")
        else:
            before = plot.evaluate("e => JSON.stringify(e.layout)")
            button.click()
            reader.settle()
            assert reader.page.locator(".plotly-cloud-dialog-box").count() == 0
            after = plot.evaluate("e => JSON.stringify(e.layout)")
            assert after != before or title in NO_CHANGE, title


# Buttons that choose what is chosen already, or go where the view is.
NO_CHANGE = {"Zoom", "Autoscale", "Reset axes", "Orbital rotation", "Turntable rotation"}
NO_CHANGE |= {"Reset camera to default", "Reset camera to last save"}


def test_every_button_of_a_chart_works(reader):
    names = ["Download plot", "Zoom", "Pan", "Zoom in", "Zoom out", "Autoscale"]
    every_button(reader, ".training", [*names, "Reset axes"])


def test_every_button_of_a_surface_works(reader):
    names = ["Download plot", "Zoom", "Pan", "Orbital rotation", "Turntable rotation"]
    every_button(
        reader, ".surface", [*names, "Reset camera to default", "Reset camera to last save"]
    )


def test_a_chart_hands_out_the_numbers_it_shows(reader, run, tmp_path):
    reader.draw_all(kinds=".slice")
    reader.move_to(1)
    reader.page.locator("input[data-factor=seed][data-value='1']").uncheck()
    with reader.page.expect_download() as handed:
        reader.page.get_by_label("Download the numbers shown: Loss L(θ − ηd)").click()
    assert handed.value.suggested_filename == "run-1-line_losses-step-10.csv"
    rows = list(csv.reader(Path(handed.value.path()).read_text().splitlines()))
    assert rows[0] == ["series", "step size η", "Loss L(θ − ηd)"]
    expected = results.read(run)["line_losses"].values[:, 0, 1, 0]
    drawn = np.array([float(row[2]) for row in rows[1:]], np.float32)
    np.testing.assert_array_equal(drawn, expected.ravel())
    assert {row[0] for row in rows[1:]} == {"no normalisation, seed 0", "BatchNorm, seed 0"}
    chart = reader.page.locator(".chart", has=reader.page.locator("h5", has_text="Loss L(θ − ηd)"))
    assert chart.locator(".quiet").last.text_content() == "On the line."


def test_a_finger_scrolls_the_page_over_charts_and_figures(browser, run):
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    made = Reader(browser, run / "report.html", **phone)
    made.draw_all(kinds=".training, .surface")
    session = made.context.new_cdp_session(made.page)
    figure = made.page.locator(".figure").first
    figure.locator("[data-zoom=in]").tap()
    assert figure.locator(".view").evaluate("e => e.scrollWidth > 1.4 * e.clientWidth")
    assert figure.locator(".when-zoomed").is_visible()
    for place in (".training .plot", ".surface .scene", ".figure .view"):
        element = made.page.locator(place).first
        element.evaluate("e => e.scrollIntoView({block: 'center', behavior: 'instant'})")
        made.settle()
        where = element.evaluate(
            "e => { const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + 150]; }"
        )
        before = made.page.evaluate("scrollY")
        for kind, up in [("Start", 0), *(("Move", 10 * i) for i in range(1, 13)), ("End", None)]:
            points = [] if up is None else [{"x": where[0], "y": where[1] - up}]
            session.send(
                "Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points}
            )
        made.settle()
        assert made.page.evaluate("scrollY") > before + 60, place
    plot = made.page.locator(".training .plot").first
    assert plot.evaluate("e => e._fullLayout.yaxis.fixedrange")
    assert made.page.locator(".modebar-btn").count() == 0
    figure.locator("[data-zoom=all]").tap()
    assert figure.locator(".view").evaluate("e => e.scrollWidth === e.clientWidth")
    eye = made.page.locator(".scene").first.evaluate("e => e._fullLayout.scene.camera.eye")
    assert np.linalg.norm(list(eye.values())) == pytest.approx(1.4 * np.sqrt(2 * 1.6**2 + 1))
    made.context.close()
    assert not made.errors


def test_a_dark_page_has_dark_figures_and_the_printer_white_ones(browser, run):
    made = Reader(browser, run / "report.html", color_scheme="dark")
    made.draw_all(kinds=".training")
    view = made.page.locator(".figure .view").first

    def fill(element):
        shown = element.evaluate("e => getComputedStyle(e).fill")
        return "#" + "".join(f"{int(part):02X}" for part in re.findall(r"\d+", shown)[:3])

    paper, text = view.locator("path[style*='--xffffff']").first, view.locator("use").last
    arm = view.locator("path[style*='stroke: var(--x0072b2']").first
    stroke = "e => getComputedStyle(e).stroke"
    assert (fill(paper), fill(text)) == (dark.DARK_PAGE, "#FFFFFF")
    blue = [int(dark.ON_DARK["#0072B2"][place : place + 2], 16) for place in (1, 3, 5)]
    assert arm.evaluate(stroke) == f"rgb({', '.join(map(str, blue))})"
    icon = made.page.locator(".modebar-btn path").first.evaluate("e => getComputedStyle(e).fill")
    assert min(int(part) for part in re.findall(r"\d+", icon)[:3]) > 120
    made.page.get_by_role("button", name="Light page").click()
    assert (fill(paper), fill(text)) == ("#FFFFFF", "#000000")
    made.page.get_by_role("button", name="Dark page").click()
    made.page.emulate_media(media="print", color_scheme="dark")
    assert (fill(paper), fill(text)) == ("#FFFFFF", "#000000")
    made.context.close()


SCREENS = {"phone": (390, 844), "laptop": (1280, 900)}


@pytest.mark.parametrize("screen", SCREENS)
def test_figure_and_verdicts_are_on_the_first_screen(browser, run, screen):
    width, height = SCREENS[screen]
    made = Reader(browser, run / "report.html", viewport={"width": width, "height": height})
    for shown in (".first .view", ".first .counts", ".first .outcome"):
        box = made.page.locator(shown).bounding_box()
        assert box["y"] + box["height"] <= height, shown
        assert 0 <= box["x"] <= box["x"] + box["width"] <= width, shown
        caption = made.page.locator(".first figcaption").bounding_box()
        assert caption["y"] >= box["y"] + box["height"], shown
    told = made.page.locator(".outcome li").all_text_contents()
    assert [text.strip() for text in told] == [
        f"{one['sentence']}: {one['verdict']}" for one in made_runs.verdicts()
    ]
    made.page.locator(".outcome a").last.click()
    assert made.page.locator("#run-1-claim-3").evaluate("e => e.matches(':target')")
    made.context.close()


def test_the_wheel_scrolls_the_page_wherever_it_lies(reader):
    """Over a figure that was chosen, a chart and a surface, as over text."""
    reader.draw_all(kinds=".training, .surface")
    reader.page.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    for place in (".figure .view", ".training .plot", ".surface .scene"):
        element = reader.page.locator(place).first
        element.evaluate("e => e.scrollIntoView({block: 'center'})")
        element.click(position={"x": 150, "y": 100})
        element.hover(position={"x": 150, "y": 100})
        before = reader.page.evaluate("scrollY")
        reader.page.mouse.wheel(0, 200)
        reader.settle()
        assert reader.page.evaluate("scrollY") == pytest.approx(before + 200, abs=2), place
    eye = reader.page.locator(".scene").first.evaluate("e => e._fullLayout.scene.camera.eye")
    assert np.linalg.norm(list(eye.values())) == pytest.approx(np.sqrt(2 * 1.6**2 + 1))


def test_a_slider_stands_where_it_acts_and_stays_in_sight_there(reader):
    reader.draw_all()
    slider, plots = reader.page.locator(".stepper"), reader.page.locator(".slice .plot")
    seen = """e => {
      const box = e.getBoundingClientRect(); return box.top >= 0 && box.bottom <= innerHeight;
    }"""
    reader.page.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    reader.page.evaluate("scrollTo(0, 0)")
    assert not slider.evaluate(seen)
    for plot in plots.all():
        plot.evaluate("e => e.scrollIntoView({block: 'center'})")
        assert slider.evaluate(seen)
    reader.page.locator(".training .plot").first.evaluate("e => e.scrollIntoView()")
    assert not slider.evaluate("e => e.getBoundingClientRect().top < 5")


def test_each_run_of_a_page_has_a_slider_of_its_own(browser, compared):
    made = Reader(browser, compared)
    made.draw_all(kinds=".slice")
    shown = {name: made.page.locator(f"output[for={name}-step]") for name in ("run-1", "run-2")}
    plots = [made.page.locator(f"#{name} .slice .plot").first for name in shown]
    before = [plot.evaluate("e => e.data[0].y") for plot in plots]
    made.move_to(1)
    assert [one.text_content() for one in shown.values()] == ["10", "30"]
    first, second = (plot.evaluate("e => e.data[0].y") for plot in plots)
    assert first != before[0]
    assert second == before[1]
    made.page.get_by_role("button", name="Dark page").click()
    made.settle()
    assert plots[1].evaluate("e => e.data[0].y") == before[1]  # all are drawn anew
    made.context.close()


def test_a_list_stands_at_the_charts_it_changes_and_all_of_these_follow(browser, place):
    made_run = made_runs.measured()
    dims = ("norm", "seed", "probe_step", "kind", "rank")
    values = np.arange(128.0).reshape(2, 2, 4, 2, 4)
    data = made_run.data.assign(many_a=(dims, values), many_b=(dims, values + 1))
    data = data.assign_coords(kind=["a", "b"], rank=np.arange(1, 5))
    path = made_runs.write(place / "choices", dataclasses.replace(made_run, data=data))
    assert command.main([str(path)]) == 0
    made = Reader(browser, path / "report.html")
    made.draw_all(kinds=".slice")
    lists = made.page.locator("select[data-axis=kind]")
    title = "e.closest('.chart').querySelector('h5').textContent"
    titles = lists.evaluate_all(f"all => all.map(e => {title})")
    assert [title.strip() for title in titles] == ["Many a", "Many b"]
    lists.first.select_option("b")
    made.settle()
    assert [one.input_value() for one in lists.all()] == ["b", "b"]
    for title, more in (("Many a", 0), ("Many b", 1)):
        drawn = [trace["y"] for trace in made.traces(title)]
        np.testing.assert_array_equal(drawn, values.reshape(4, 4, 2, 4)[:, -1, 1] + more)
    made.context.close()


def test_an_axis_becomes_logarithmic_and_linear(reader):
    reader.draw_all()
    chart = reader.page.locator(".chart.slice").first
    kind = "e => e._fullLayout.yaxis.type"
    before = chart.locator(".plot").evaluate(kind)
    chart.locator("[data-log]").click()
    reader.settle()
    assert {before, chart.locator(".plot").evaluate(kind)} == {"log", "linear"}
    assert chart.locator("[data-log]").get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_system_and_then_the_reader(browser, run, scheme):
    made = Reader(browser, run / "report.html", color_scheme=scheme)
    made.draw_all(kinds=".training")
    ground = "getComputedStyle(document.body).backgroundColor"
    other = {"light": "Dark page", "dark": "Light page"}[scheme]
    before, colours = made.page.evaluate(ground), {t["colour"] for t in made.traces("Loss")}
    light = sum(int(x) for x in before.strip("rgb()").split(",")) / 3
    assert (light > 200) == (scheme == "light")
    made.page.get_by_role("button", name=other).click()
    made.settle()
    assert made.page.evaluate(ground) != before
    assert {t["colour"] for t in made.traces("Loss")} != colours
    made.context.close()
    assert not made.errors


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_is_wider_than_the_screen(browser, run, compared, width):
    for path in (run / "report.html", compared):
        made = Reader(browser, path, viewport={"width": width, "height": 740})
        made.draw_all(kinds=".training")
        assert made.page.evaluate("document.documentElement.scrollWidth") <= width
        assert not made.errors
        made.context.close()


def test_without_scripts_the_message_is_there(browser, run):
    made = Reader(browser, run / "report.html", java_script_enabled=False)
    page = made.page
    assert page.locator(".figure svg").first.is_visible()
    assert page.locator(".claims").is_visible()
    assert not page.locator(".live").is_visible()
    assert not page.locator(".stepper").is_visible()
    assert not page.locator(".zooms").is_visible()
    with page.expect_download() as handed:
        page.get_by_label("Download training.csv").click()
    assert Path(handed.value.path()).read_bytes() == (run / "training.csv").read_bytes()
    made.context.close()


def test_a_browser_that_cannot_unpack_is_told(browser, run):
    made = Reader(browser, run / "report.html")
    made.page.add_init_script("delete window.DecompressionStream")
    made.page.reload()
    assert "cannot unpack" in made.page.locator("#status").text_content()
    assert not made.page.locator(".live").is_visible()
    assert made.page.locator(".figure svg").first.is_visible()
    made.context.close()


def test_the_policy_stops_what_would_be_fetched_or_run(browser, run):
    made = Reader(browser, run / "report.html")
    made.page.evaluate(
        """() => {
          window.stopped = [];
          addEventListener("securitypolicyviolation", (e) => stopped.push(e.effectiveDirective));
          const image = new Image();
          image.src = "http://192.0.2.1/a.png";
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(image, script);
          fetch("http://192.0.2.1/b").catch(() => {});
        }"""
    )
    made.settle()
    assert made.failed == dict.fromkeys(made.outside, "csp")
    assert made.page.evaluate("window.ran") is None
    stopped = set(made.page.evaluate("window.stopped"))
    assert stopped == {"img-src", "script-src-elem", "connect-src"}
    made.context.close()


def test_two_runs_are_drawn_over_each_other(browser, compared):
    made = Reader(browser, compared)
    made.draw_all("#compare", ".training")
    drawn = made.traces("Loss")
    assert len(drawn) == 16
    assert {trace["name"][:2] for trace in drawn} == {"A:", "B:"}
    made.page.locator("#compare input[data-factor=run]").nth(1).uncheck()
    made.settle()
    assert {trace["name"][:2] for trace in made.traces("Loss")} == {"A:"}
    own = made.page.locator("#run-2 .plot").first
    own.scroll_into_view_if_needed()
    own.locator(".main-svg").first.wait_for(state="attached")
    assert own.evaluate("e => e.data.length") == 8  # the switches of a section are its own
    made.page.locator(".twin").first.scroll_into_view_if_needed()
    assert made.page.locator(".twin").nth(1).bounding_box()["height"] > 100
    assert not made.errors
    assert not made.outside
    made.context.close()


def test_print_shows_the_figures_and_the_rules_alone(reader):
    reader.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    reader.page.emulate_media(media="print")
    assert not reader.page.locator(".live").is_visible()
    assert not reader.page.locator(".stepper").is_visible()
    assert reader.page.locator(".figure svg").first.is_visible()
    assert reader.page.get_by_text("the ratio none/batch is above 1").first.is_visible()
