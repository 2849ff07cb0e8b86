"""The figure of a landscape run, from made-up results."""

import csv

import made_runs
import numpy as np
import pytest

from bnjax.draw import elements, style
from bnjax.frame.published_curves import Curve
from bnjax.studies.landscape import figure as landscape

LINE = ("losses", "gradient_distances", "smoothness", "cosines")
CENTRE = ("loss", "gradient_norm", "direction_norm", "smoothness_limit")


def measured(norms, steps=made_runs.STEPS):
    """Made-up results with all that the figure shows."""
    found = made_runs.measured(norms, steps=steps)
    probe = ("norm", "seed", "probe_step", "direction")
    dims = {f"line.{name}": (*probe, "step_size") for name in LINE}
    dims |= {f"line.{name}": probe for name in CENTRE}
    generator = np.random.default_rng(1)
    arrays = {
        name: generator.uniform(0.1, 2.0, [len(found.axes[axis]) for axis in own]).astype("f4")
        for name, own in dims.items()
    }
    return found._replace(
        arrays=found.arrays | arrays,
        dims=found.dims | dims,
        facts={**found.facts, "chance_loss": 2.3},
    )


def table(folder):
    """Names of series by panel, and the rows of the table."""
    with (folder / "landscape.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    panels: dict[str, set[str]] = {}
    for row in rows:
        panels.setdefault(row["panel"], set()).add(row["series"].split(",")[0])
    return panels, rows


def test_two_arms_share_their_panels(tmp_path):
    landscape.draw(measured(("none", "batch")), {}, tmp_path)
    panels, _ = table(tmp_path)
    assert len(panels) == 4
    loss = next(series for name, series in panels.items() if name.startswith("a "))
    assert loss == {"no normalisation", "BatchNorm"}


def test_of_more_arms_each_has_a_column_beside_none(tmp_path):
    landscape.draw(measured(("none", "batch", "l1", "linf")), {}, tmp_path)
    panels, _ = table(tmp_path)
    for label in ("BatchNorm", "ℓ₁ norm", "ℓ∞ norm"):
        own = [panels[name] for name in panels if name.startswith(f"{label} | ")]
        assert len(own) == 3
        for series in own[:2]:
            assert series == {"no normalisation", label}
        assert own[2] >= {"no normalisation", label, "2/lr"}
    assert len(panels) == 10
    training = next(series for name, series in panels.items() if name.startswith("d "))
    assert training == {"no normalisation", "BatchNorm", "ℓ₁ norm", "ℓ∞ norm", "chance"}


def test_without_none_all_arms_share_their_panels():
    assert landscape.side_by_side(["batch", "l1", "l2"]) == [["batch", "l1", "l2"]]


@pytest.mark.parametrize(("steps", "window"), [(499, 0), (1000, 21)])
def test_a_long_training_is_shown_by_its_running_median(tmp_path, steps, window):
    found = measured(("none", "batch"), steps)
    landscape.draw(found, {}, tmp_path)
    _, rows = table(tmp_path)
    assert elements.median_window(found) == window
    drawn = [float(row["y"]) for row in rows if row["series"] == "BatchNorm, minibatch"]
    losses = found.select("train.loss", norm="batch")
    if window:
        half = window // 2
        around = [losses[:, i - half : i + half + 1] for i in range(half, steps - half)]
        losses = np.stack([np.median(values, axis=1) for values in around], axis=1)
        drawn = drawn[half:-half]
    np.testing.assert_allclose(drawn, np.median(losses, axis=0), rtol=1e-6)
    name = "BatchNorm, every minibatch of one seed"
    raw = [float(row["y"]) for row in rows if row["series"] == name]
    np.testing.assert_array_equal(
        np.float32(raw), found.select("train.loss", norm="batch", seed=0) if window else []
    )


def test_a_full_batch_has_no_noise_to_see_through():
    found = measured(("none", "batch"), 1000)
    assert elements.median_window(found._replace(config={**found.config, "model": "dln"})) == 0


def test_a_running_median_ends_where_the_arm_does():
    values = np.array([np.nan, np.nan])
    np.testing.assert_array_equal(elements.running_median(values, 3), values)
    values = np.array([5.0, 1.0, 2.0, np.nan, 4.0])
    np.testing.assert_array_equal(
        elements.running_median(values, 3), [5.0, 2.0, 2.0, np.nan, np.nan]
    )


def test_all_that_is_drawn_lies_within_the_scale_of_its_row(tmp_path, monkeypatch):
    found = measured(("none", "batch", "l1"))
    found.arrays["line.losses"][2] *= 1e6  # the last column's arm alone
    found.arrays["line.smoothness"][2] /= 1e6
    shown = []
    save = style.save

    def keep(drawn, *rest):
        shown.append(drawn)
        return save(drawn, *rest)

    monkeypatch.setattr(style, "save", keep)
    landscape.draw(found, {}, tmp_path)
    assert len(shown[0].axes) == 7
    for panel in shown[0].axes:
        low, high = panel.get_ylim()
        for line in panel.get_lines():
            if line.get_transform() == panel.transData:
                values = line.get_ydata()[np.isfinite(line.get_ydata())]
                assert low < values.min()
                assert values.max() < high


def test_a_name_beside_its_panel_has_room_there(tmp_path):
    with style.figure(1, 1, size=(4.0, 2.5)) as (drawn, [panel]):
        panel.plot([0, 10], [0, 10], label="curve")
        style.reference_line(panel, 5.0, "2/lr, edge of stability", beside=True)
        style.save(drawn, tmp_path, "f")
        (name,) = panel.texts
        box, whole = name.get_window_extent(), drawn.bbox
        assert box.x0 > panel.get_window_extent().x1
        assert box.x1 <= whole.x1
        assert name.get_text().count("\n") == 1


def test_published_differences_stand_beside_those_of_the_nearest_step(tmp_path):
    results = measured(("none", "batch"), steps=1000)
    results.config["difference_steps"] = shown = [int(s) for s in results.axes["probe_step"][:2]]
    spacing = shown[1] - shown[0]
    steps = np.array([0.0, 0.9, 1.2]) * spacing + shown[0]  # the second is the nearest to shown[1]
    known = Curve(steps, np.array([1.0, 2.0, 8.0]), np.array([3.0, 4.0, 8.0]))
    late = Curve(steps + 100 * spacing, known.low, known.high)
    published = {
        ("fig11a_vgg_difference_eta0.2", "batch"): known._replace(low=known.low + 2),
        ("fig11a_vgg_difference_eta5e-2", "batch"): known,
        ("fig11a_vgg_difference_eta0.1", "batch"): late,
        ("fig11a_vgg_difference_eta0", "batch"): known,
        ("fig11a_vgg_difference_eta-1", "batch"): known,
        ("fig11b_dln_difference_eta0.4", "batch"): known,
    }
    landscape.draw(results, published, tmp_path)
    with (tmp_path / "gradient_difference.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if "published" in row["series"]]
    assert {row["panel"].split(" | ")[0] for row in rows} == {"BatchNorm"}
    drawn = {
        step: [
            (float(r["x"]), float(r["y"])) for r in rows if r["series"].startswith(f"step {step},")
        ]
        for step in shown
    }
    assert drawn == {shown[0]: [(0.05, 2.0), (0.2, 3.0)], shown[1]: [(0.05, 3.0), (0.2, 4.0)]}
