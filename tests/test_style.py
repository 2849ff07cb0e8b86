"""What every figure gets: its scale, legible ticks, names that cover no curve."""

from pathlib import Path

import made_runs
import numpy as np
import pytest

from bnjax.draw import elements, labels, style, ticks

FIGURES = Path(style.__file__).parent


@pytest.fixture
def panel():
    with style.figure(1, 1, size=(5.0, 3.0)) as (drawn, [own]):
        own.drawn = drawn
        yield own


def shown(axis, low, high):
    """The texts of an axis that are seen."""
    texts = [
        tick.label1.get_text()
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        if low <= tick.get_loc() <= high
    ]
    return list(filter(None, texts))


@pytest.mark.parametrize(("low", "high"), [(2.05, 2.45), (1.2, 8.0), (2.0, 70.0)])
def test_a_short_logarithmic_axis_has_plain_numbers(panel, tmp_path, low, high):
    panel.plot([0, 1, 2], [low, high, low], label="curve")
    style.log_scale(panel)
    style.save(panel.drawn, tmp_path, "f")
    found = shown(panel.yaxis, *panel.get_ylim())
    assert len(found) >= 2
    assert all(float(text) > 0 for text in found)  # no power of ten, no sign of times


def test_a_long_logarithmic_axis_has_powers_and_chosen_ticks_stay(panel, tmp_path):
    panel.plot([1, 2, 4], [1e-3, 10, 1e3], label="curve")
    panel.set(xscale="log", yscale="log")
    panel.set_xticks([1, 2, 4], ["one", "two", "four"])
    style.save(panel.drawn, tmp_path, "f")
    assert all("10^" in text for text in shown(panel.yaxis, 1e-3, 1e3))
    assert shown(panel.xaxis, 1, 4)[:3] == ["one", "two", "four"]


def test_ticks_of_logarithms_are_two_or_more_and_inside():
    for low, high in [(2.05, 2.45), (0.4, 30.0), (1e-3, 2e5)]:
        found = ticks.log_ticks(low, high)
        assert len(found) >= 2
        assert low <= min(found) < max(found) <= high


@pytest.mark.parametrize("steps", [3, 20])
def test_no_training_step_is_broken(panel, tmp_path, steps):
    panel.plot(range(steps + 1), range(steps + 1), label="curve")
    panel.set_xlabel(ticks.STEP)
    style.step_limits(panel, steps)
    style.save(panel.drawn, tmp_path, "f")
    places = [tick for tick in panel.get_xticks() if 0 <= tick <= steps]
    assert len(places) > 3
    assert all(place == round(place) for place in places)
    low, high = panel.get_xlim()
    assert low < 0
    assert high > steps


def test_the_name_of_a_line_goes_where_no_curve_is(panel, tmp_path):
    steps = np.linspace(0, 10, 50)
    panel.plot(steps, np.where(steps > 5, 1.05, 3.0), label="above the right half")
    panel.plot(steps, np.where(steps > 5, 0.95, -2.0), label="below the right half")
    style.reference_line(panel, 1.0, "edge of stability")
    style.save(panel.drawn, tmp_path, "f")
    [name] = [text for text in panel.texts if text.get_label() == labels.KIND]
    box = name.get_window_extent()
    curves = [labels.points(line, panel) for line in panel.get_lines()]
    assert sum(map(len, curves)) > 1000
    assert not any(box.count_contains(points) for points in curves)
    assert panel.get_window_extent().containsx(box.x0)
    assert name.get_zorder() < panel.get_lines()[0].get_zorder()


def test_names_of_two_lines_do_not_meet(panel, tmp_path):
    panel.plot([0, 10], [0, 10], label="curve")
    style.reference_line(panel, 5.0, "one line")
    style.reference_line(panel, 5.2, "another line")
    style.save(panel.drawn, tmp_path, "f")
    first, second = (text.get_window_extent() for text in panel.texts)
    assert not first.overlaps(second)


def test_sixteen_normalisers_of_ones_own_look_different():
    looks = style.Looks(style.LOOKS)
    own = [looks[f"own{number}"] for number in range(16)]
    assert len({look[:3] for look in own}) == 16


def test_a_caption_says_what_was_trained_on_what_and_how_long():
    results = made_runs.measured(("none",))
    results = results._replace(config={**results.config, "steps": 1000})
    assert elements.subject(results) == "VGG-11 ×0.25, made up; 1,000 steps"


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(FIGURES.glob("*.py")) if "style.caption(" in path.read_text()],
    ids=lambda path: path.stem,
)
def test_no_figure_is_without_its_scale(path):
    imported = {"noisy_batchnorm": "distributions", "optimizers": "variants"}
    imported |= {"regularisation": "variants"}
    source = (FIGURES / f"{imported.get(path.stem, path.stem)}.py").read_text()
    own = ("steps:,} steps", "config['steps']} steps", "config['steps'] * sizes")
    assert "subject(results)" in source or any(told in source for told in own)
