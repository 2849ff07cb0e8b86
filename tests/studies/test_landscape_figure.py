"""The figures of a landscape run, from made-up results."""

import numpy as np
import pytest
from made_lines import SIZES, made_run

from bnjax.draw import measured
from bnjax.frame.published_curves import Curve
from bnjax.frame.results import Run
from bnjax.studies.landscape import figure


def panels_of(drawing):
    """The arms of each panel, by its name."""
    found = {}
    for panel, series, *_ in drawing.table():
        found.setdefault(panel, set()).add(series.split(",")[0])
    return found


def test_two_arms_share_their_panels():
    (drawing,) = figure.landscape(made_run(), {})
    panels = panels_of(drawing)
    assert [name[0] for name in panels] == list("abcd")
    assert panels["a Loss variation | loss L(θ − ηd) [nat]"] == {"no normalisation", "BatchNorm"}
    assert (drawing.name, drawing.title) == ("landscape", "Loss landscape along the gradient")


def test_the_name_of_a_plateau_stands_in_the_margin_whatever_the_number_of_arms():
    for norms in (("none", "batch"), ("none", "batch", "l1")):
        (drawing,) = figure.landscape(made_run(norms), {})
        drawing.finish()
        (name,) = [name for panel in drawing.panels for name in panel.outside]
        assert " ".join(name.get_text().split()) == "2/lr = 1/η_min"
        assert name.get_window_extent().x0 > name.axes.get_window_extent().x1
        others = [panel.axes.get_tightbbox() for panel in drawing.panels if panel.axes != name.axes]
        assert not any(name.get_window_extent().overlaps(other) for other in others)


def test_of_more_arms_each_has_a_column_with_none_and_all_columns_one_scale():
    run = made_run(("none", "batch", "l1"))
    run["line_losses"].loc[{"norm": "l1"}] *= 1e6  # the last column's arm alone
    (drawing,) = figure.landscape(run, {})
    panels = panels_of(drawing)
    for label in ("BatchNorm", "ℓ₁ norm"):
        own = [series for name, series in panels.items() if name.startswith(f"{label} | ")]
        assert [series - {"2/lr = 1/η_min"} for series in own] == [{"no normalisation", label}] * 3
    assert len(panels) == 7
    drawing.finish()
    for panel in drawing.panels:
        low, high = panel.axes.get_ylim()
        for series in panel.table:
            values = series.columns.get("y", np.empty(0))
            assert np.all((low < values) & (values < high))
    assert figure.side_by_side(["batch", "l1", "l2"]) == [["batch", "l1", "l2"]]


def test_several_rates_are_figures_of_their_own_with_step_sizes_of_their_own():
    rates = {"lr": [0.5, 1.0]}
    run = made_run()
    several = Run(run.data.expand_dims(rates), {**run.options, "lr": [0.5, 1.0]}, run.facts)
    first, second = figure.differences(several, {})
    assert (first.name, second.name) == ("gradient_difference_lr0.5", "gradient_difference_lr1")
    assert first.title.endswith(", learning rate 0.5")
    np.testing.assert_array_equal(first.panels[0].table[0].columns["x"], SIZES * np.float32(0.5))
    assert [drawing.name for drawing in figure.landscape(several, {})] == [
        "landscape_lr0.5",
        "landscape_lr1",
    ]


@pytest.mark.parametrize(
    ("lr", "optimizer", "names"),
    [
        (0.1, "sgd", ["2/lr = 1/η_min"]),
        (0.4, "sgd", ["2/lr, edge of stability", "1/η_min, saturation"]),
        (0.4, "adam", ["1/η_min, saturation"]),
    ],
)
def test_the_lines_that_a_plateau_may_be(lr, optimizer, names):
    run = made_run(lr=lr, optimizer=optimizer)
    assert [name for _, name in measured.plateaus(run)] == names


def test_published_differences_stand_beside_those_of_the_nearest_step():
    run = made_run(steps=1000)
    steps = np.array([0.0, 0.9, 1.2]) * 250  # the second is the nearest to step 250
    known = Curve(steps, np.array([1.0, 2.0, 8.0]), np.array([3.0, 4.0, 8.0]))
    published = {
        ("fig11a_vgg_difference_eta0.2", "batch"): known._replace(low=known.low + 2),
        ("fig11a_vgg_difference_eta5e-2", "batch"): known,
        ("fig11a_vgg_difference_eta0.1", "batch"): known._replace(steps=steps + 1e5),
        ("fig11a_vgg_difference_eta0", "batch"): known,
        ("fig11b_dln_difference_eta0.4", "batch"): known,
    }
    run.options["difference_steps"] = [0, 250]
    (drawing,) = figure.differences(run, published)
    drawn = {
        (panel.title, series.name): (series.columns["x"].tolist(), series.columns["y"].tolist())
        for panel in drawing.panels
        for series in panel.table
        if "published" in series.name
    }
    assert drawn == {
        ("BatchNorm", "step 0, published"): ([0.05, 0.2], [2.0, 3.0]),
        ("BatchNorm", "step 250, published"): ([0.05, 0.2], [3.0, 4.0]),
    }
    assert "read off" in drawing.caption


def test_several_seeds_show_their_range_of_smoothness():
    run = made_run()
    (drawing,) = figure.landscape(run, {})
    shaded = [row for row in drawing.table() if row[1] == "BatchNorm, range of seeds"]
    largest = run["line_smoothness"].sel(norm="batch", direction="gradient").max("step_size")
    low, high = (np.array([row[i] for row in shaded], "f4") for i in (5, 6))
    np.testing.assert_array_equal(low, largest.min("seed"))
    np.testing.assert_array_equal(high, largest.max("seed"))
    alone = Run(run.data.isel(seed=[0]), run.options, run.facts)
    (drawing,) = figure.landscape(alone, {})
    assert not any("range of seeds" in row[1] for row in drawing.table())


def test_limits_that_are_measured_at_some_probes_are_joined():
    run = made_run()
    run.data["line_smoothness_limit"][:, :, 1::2] = np.nan
    (drawing,) = figure.landscape(run, {})
    rows = [row for row in drawing.table() if row[1] == "BatchNorm, η → 0"]
    assert [float(row[3]) for row in rows] == [0, 20]
    assert "c: η → 0" in keys(drawing)
    run.data["line_smoothness_limit"][...] = np.nan
    (drawing,) = figure.landscape(run, {})
    assert not [row for row in drawing.table() if row[1].endswith("η → 0")]
    assert "c: η → 0" not in keys(drawing)


def test_what_rounding_may_change_is_marked_and_named():
    run = made_run()
    (drawing,) = figure.landscape(run, {})
    assert not [row for row in drawing.table() if "rounding" in row[1] or "unresolved" in row[1]]
    assert "may change" not in drawing.caption
    # Measured at the first probe only; three times the noise is above every difference at 0.05.
    run.data["line_gradient_distances"][...] = 1.0
    run.data["line_gradient_distances"][..., 0] = 0.02
    run.data["line_smoothness"][..., 0] = 10.0  # the largest is the one at 0.05
    run.data["line_rounding_noise"][:, :, 0] = 0.01
    (drawing,) = figure.landscape(run, {})
    marked = [row for row in drawing.table() if row[1] == "BatchNorm, unresolved"]
    assert [float(row[3]) for row in marked] == [0, 10, 20, 30]
    floor = [float(row[4]) for row in drawing.table() if row[1] == "BatchNorm, rounding"]
    length = run["line_direction_norm"].sel(norm="batch", direction="gradient").median("seed")
    assert len(floor) == len(length)
    assert "rounding may change β by more than 5 % at some steps: η = 0.05" in drawing.caption
    assert {"c: rounding", "c: unresolved"} <= {*keys(drawing)}


def keys(drawing):
    """The entries of a figure's legend."""
    return [text.get_text() for legend in drawing.figure.legends for text in legend.get_texts()]


def test_published_and_measured_curves_stand_beside_each_other_on_the_published_axes():
    run = made_run(("none", "batch", "l1"))
    run["line_gradient_distances"].loc[{"norm": "batch"}] = 1e3  # far outside
    names, _, _ = figure.PUBLISHED["vgg"]
    known = Curve(np.array([-1.0, 15_000.0]), np.array([1.0, 2.0]), np.array([3.0, 40.0]))
    published = {(name, norm): known for name in names for norm in ("none", "batch")}
    (drawing,) = figure.as_published(run, published)
    drawing.finish()
    for left, right in drawing.rows:
        assert left.axes.get_ylim() == right.axes.get_ylim()
        assert left.axes.get_xlim() == right.axes.get_xlim()
        assert left.axes.get_xlim()[1] > 15_000
        shown = [{one.name.split(",")[0] for one in panel.table} for panel in (left, right)]
        assert shown == [{"no normalisation", "BatchNorm"}] * 2  # nothing was published of ℓ₁
    notes = [[text.get_text() for text in panel.axes.texts] for _, panel in drawing.rows]
    assert notes[1] == ["50 % of it lies outside"]
    low, high = drawing.rows[1][0].axes.get_ylim()
    assert low < 1 < 40 < high
    assert list(figure.as_published(run, {})) == []
    only = {key: curve for key, curve in published.items() if key[0] != names[0]}
    assert list(figure.as_published(run, only)) == []
