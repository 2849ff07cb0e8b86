"""Anything measured as a Dataset, a frame, ten lines or a figure; figures are those of studies."""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from jaxtyping import Array, Float
from made_lines import SIZES, made_run

import bnjax
from bnjax import probes
from bnjax.errors import UsageError
from bnjax.fields import Field
from bnjax.frame import folder, results
from bnjax.frame.results import Run
from bnjax.studies.landscape import figure

LINE = ["a Loss variation", "b Gradient predictiveness", "c Effective β-smoothness"]
SHIFT = ["cos(G, G')", "‖G − G'‖₂", "‖G − G'‖₂ / ‖G‖₂"]
SPECTRUM = ["Greatest eigenvalues, ± residual", "Gradient in their span"]


def made(kind, **fields):
    """A measurement; scalars that do not matter are ½."""
    return kind(**{**dict.fromkeys(kind._fields, np.float32(0.5)), **fields})


def line(step=0.0):
    losses = np.array([2.0, 1.5, 1.0, 3.0], "f4") + np.float32(step / 100)
    along = {"losses": losses, "gradient_norms": losses, "gradient_distances": losses / 2}
    along |= {"smoothness": losses * 3, "scaled_smoothness": losses * 2, "cosines": losses / 4}
    return made(probes.Line, step_sizes=SIZES, rounding_noise=np.float32(1e-7), **along)


def shift(step=0.0):
    values = jnp.array([0.0, 0.5, 0.7]) + step / 1000
    return probes.Shift(("conv1", "conv2", "output"), values, 2 * values, 1 - values)


def spectrum(step=0.0):
    rows = np.array([[-1.0, 0.1, 2.0, 9.0 + step / 100]], "f4")
    top, low = np.array([9.0 + step / 100, 2.0], "f4"), np.array([-1.0, 0.1], "f4")
    return made(
        probes.Spectrum,
        nodes=rows,
        weights=np.full_like(rows, 0.25),
        residuals=rows / 50,
        shares=rows / 50,
        largest=top,
        largest_residuals=top / 100,
        smallest=low,
        smallest_residuals=-low / 100,
        gradient_fraction=np.array([0.3, 0.4], "f4"),
    )


def plane():
    rows, columns = np.linspace(-1, 1, 3), np.linspace(-2, 2, 5)
    return probes.Plane(rows, columns, 0.1 + rows[:, None] ** 2 + columns**2)


class Own(NamedTuple):
    """Of a probe of one's own. Not of bnjax."""

    total: Annotated[Float[Array, ""], Field("Σ|g|", "nat")]
    by_layer: Annotated[Float[Array, " layer"], Field("|g| of layers")]
    unsaid: np.ndarray


def own(step=0.0):
    return Own(jnp.array(1.0 + step), jnp.array([0.5, 0.5]) + step, np.arange(2.0))


MADE = {"line": line, "shift": shift, "spectrum": spectrum, "own": own}
AT_POINT = {  # panels of one measurement
    "line": ["a Loss", *LINE[1:], "d Turn of the gradient"],
    "shift": SHIFT,
    "spectrum": ["Density", *SPECTRUM],
    "own": ["|g| of layers", "Unsaid"],
}
ALONG = {  # of many
    "line": [*LINE, "d Loss at the centre"],
    "shift": ["all layers", *SHIFT],
    "spectrum": [
        "a Eigenvalues λ₁ and λ₂",
        "b Gradient in the top 2 eigenvectors",
        "c Trace, with standard error",
        "d Loss at the point",
    ],
    "own": ["Σ|g| [nat]", "|g| of layers", "Unsaid"],
}


def collected(kind):
    return {step: MADE[kind](step) for step in (0, 10, 30)}


def titles(drawing):
    return [panel.title for panel in drawing.panels if panel.axes.axison]


def test_maps_of_nested_layers_are_as_wide_as_their_panels():
    names = tuple(f"encoder/stage{i}/block{i}/separable_conv{j}" for i in (1, 2) for j in range(4))
    values = jnp.linspace(0, 1, 8)
    one = probes.Shift(names, values, 2 * values, 1 - values)
    drawing = bnjax.plot({norm: {0: one, 10: one} for norm in ("none", "batch")})
    figure = drawing.finish()
    widths = [panel.axes.get_window_extent().width for panel in drawing.panels]
    assert min(widths) > 0.5 * figure.bbox.width / len(widths)
    first, second = (panel.axes for panel in drawing.panels[:2])
    texts = [text.get_text() for text in first.get_yticklabels() if text.get_visible()]
    assert len(set(texts)) == len(texts)
    assert max(map(len, texts)) < 20
    assert not [text for text in second.get_yticklabels() if text.get_visible()]
    (legend,) = figure.legends
    assert legend.get_window_extent().width <= figure.bbox.width
    assert names[-1] in {series.name.split(", ")[1] for series in drawing.panels[-1].table}
    assert sorted({row[3] for row in drawing.table() if row[2] == "grid"}) == ["0", "10"]


@pytest.mark.parametrize(
    ("measure", "name", "axes", "coordinate", "values"),
    [
        (line, "losses", ("step_size",), "step_size", SIZES),
        (shift, "cosines", ("layer",), "layer", ["conv1", "conv2", "output"]),
        (spectrum, "largest", ("rank",), "rank", [1, 2]),
        (spectrum, "nodes", ("vector", "node"), None, None),
        (plane, "losses", ("row", "column"), "column", [-2, -1, 0, 1, 2]),
        (own, "by_layer", ("layer",), None, None),
        (own, "unsaid", ("unsaid_0",), None, None),
    ],
)
def test_a_measurement_is_a_dataset_with_the_declared_axes(measure, name, axes, coordinate, values):
    measured = measure()
    data = bnjax.to_xarray(measured)
    assert data[name].dims == axes
    np.testing.assert_array_equal(data[name].values, np.asarray(getattr(measured, name)))
    if coordinate:
        assert data[coordinate].values.tolist() == np.asarray(values).tolist()
        assert f"{coordinate}s" not in data
    assert data[name].attrs["probe"] == type(measured).__name__.lower()
    assert all(values.attrs["long_name"] for values in data.variables.values())


def test_labels_units_and_definitions_are_those_of_the_fields():
    attrs = bnjax.to_xarray(own())["total"].attrs
    assert (attrs["long_name"], attrs["units"]) == ("Σ|g|", "nat")
    assert attrs["definition"] == "Of a probe of one's own. Not of bnjax."
    assert bnjax.to_xarray(line())["step_size"].attrs["long_name"] == "step size η"
    assert bnjax.to_xarray(line())["cosines"].attrs["bounded"] == 1


def stacked(steps):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(line, steps))


@pytest.mark.parametrize(
    ("many", "sizes"),
    [
        (lambda: {0: line(0), 10: line(10)}, {"step": [0, 10]}),
        (lambda: [line(0), line(10)], {"step": [0, 1]}),
        (lambda: stacked([0, 10]), {"step": [0, 1]}),
        (lambda: {"none": line(0), "mine": line(10)}, {"norm": ["none", "mine"]}),
        (lambda: {"none": [line(0), line(1)]}, {"norm": ["none"], "step": [0, 1]}),
        (lambda: {"none": stacked([0, 10])}, {"norm": ["none"], "step": [0, 1]}),
    ],
    ids=["dict by step", "list", "stack", "dict by name", "names of steps", "names of stacks"],
)
def test_many_measurements_have_an_axis_of_steps_or_of_names(many, sizes):
    data = bnjax.to_xarray(many())
    assert data["losses"].dims == (*sizes, "step_size")
    assert {axis: data[axis].values.tolist() for axis in sizes} == sizes
    np.testing.assert_array_equal(data["losses"].isel(dict.fromkeys(sizes, -1))[1] > 0, True)
    assert data["step_size"].dims == ("step_size",)
    assert bnjax.to_dataframe(many()).index.names == [*sizes, "step_size"]


def test_fields_within_fields_and_leaves_are_columns_of_their_own():
    class Outer(NamedTuple):
        """Around another."""

        inner: Own
        diagonal: dict

    trees = [{"conv": {"kernel": np.full((2, 3), step), "bias": np.zeros(3)}} for step in (0, 1)]
    data = bnjax.to_xarray([Outer(own(), tree) for tree in trees])
    assert data["inner_by_layer"].dims == ("step", "layer")
    assert data["diagonal/conv/kernel"].shape == (2, 2, 3)
    assert data["diagonal/conv/kernel"].dims[0] == "step"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (3.0, "a float holds nothing measured"),
        ({}, "a dict holds nothing measured"),
        ({0: line(), 1: shift()}, "other fields, shapes or steps"),
        ({"a": {0: line()}, "b": {1: line()}}, "'b' has other fields"),
        ({0: {0: line()}}, "two axes step"),
        (jax.tree.map(lambda leaf: jnp.asarray(leaf)[None, None], line()), "2 axes more than"),
    ],
)
def test_what_is_no_collection_of_measurements_is_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        bnjax.to_xarray(wrong)


@pytest.mark.parametrize("measure", [line, shift, spectrum, plane])
def test_a_measurement_prints_in_about_ten_lines_also_under_jit(measure, capsys):
    measured = measure()
    text = repr(measured).splitlines()
    assert text[0] == type(measured).__name__
    assert 4 <= len(text) <= 14
    assert max(map(len, text)) <= 100
    jax.jit(lambda given: print(given))(measured)
    assert len(capsys.readouterr().out.splitlines()) < 40


def test_long_arrays_print_their_range_and_how_many_are_not_finite():
    long = plane()._replace(losses=np.array([[1.0, np.nan, 3.0, 2.0] * 3]))
    assert "(1, 12) from 1 to 3, 3 not finite" in repr(long)


@pytest.mark.parametrize("kind", MADE)
def test_everything_has_a_figure_at_a_point_and_along_training(kind, tmp_path):
    assert titles(bnjax.plot(MADE[kind]())) == AT_POINT[kind]
    drawing = bnjax.plot(collected(kind))
    assert titles(drawing) == ALONG[kind]
    drawing.save(str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    "measure", [line, shift, spectrum, plane, lambda: {0: line(0), 5: line(5)}]
)
def test_networks_are_drawn_side_by_side_in_their_looks(measure):
    drawing = bnjax.plot({norm: measure() for norm in ("none", "batch", "mine", "theirs")})
    drawn = {series.name.split(",")[0] for panel in drawing.panels for series in panel.table}
    assert {"no normalisation", "BatchNorm", "mine", "theirs"} <= drawn


def test_a_plane_has_contours_around_the_network():
    (panel,) = plane().plot().panels
    grid, trained = panel.table
    assert grid.columns["value"].shape == (3, 5)
    assert (trained.name, float(trained.columns["x"][0])) == ("trained network", 0.0)


def rows(drawing, arm, panels="abc"):
    """The rows of some panels, without the name of the arm and the unit of the loss."""
    found = []
    for panel, series, *row in drawing.table():
        if panel[0] in panels and series.startswith(arm):
            found.append((panel.split(" | ")[0], series.removeprefix(arm), *row))
    return found


def test_lines_of_ones_own_loop_are_drawn_as_the_study_draws_them():
    run = made_run()
    run = Run(run.data.isel(seed=[0]), run.options, run.facts)
    run.data["line_rounding_noise"][...] = 0.5  # some values are unresolved
    run.data["line_direction_norm"] = run.data["line_gradient_norm"].copy()
    (study,) = figure.landscape(run, {})
    here = run.sel(norm="batch", direction="gradient", seed=0).data
    lines = here[[name for name in here if name.startswith("line_")]].drop_vars("line_step_sizes")
    lines = lines.rename({name: name.removeprefix("line_") for name in lines})
    lines = lines.rename(probe_step="step").drop_vars(("test_step",), errors="ignore")
    for values in lines.data_vars.values():
        values.attrs["probe"] = "line"
    drawing = bnjax.plot(lines.assign_coords(step=here["probe_step"].values), lr=0.1)
    expected = rows(study, "BatchNorm")
    assert len(expected) > 30
    assert rows(drawing, "model") == expected
    references = [row[1] for row in drawing.table() if row[2] == "reference"]
    assert references == ["2/lr = 1/η_min"]
    turned = lines.assign(direction_norm=2 * lines["direction_norm"])
    other = bnjax.plot(turned.assign_coords(step=here["probe_step"].values), lr=0.1)
    assert not [row for row in other.table() if row[2] == "reference"]
    assert "along another direction than the gradient" in other.caption
    assert study.panels[0].label.startswith(drawing.panels[0].label)


def test_fields_that_are_left_over_get_a_panel_each():
    line = probes.line(lambda w: jnp.sum(w**2), jnp.ones(3), jnp.array([0.1, 0.2]))
    whole = bnjax.to_xarray({0: line, 10: line})
    drawing = bnjax.plot(whole[["losses", "smoothness"]])
    assert [panel.title for panel in drawing.panels[:2]] == [
        whole[name].attrs["long_name"] for name in ("losses", "smoothness")
    ]


@pytest.mark.parametrize(
    ("given", "lines"),
    [({}, {"saturation, ‖g‖ / ‖ηd‖"}), ({"lr": 0.1}, {"2/lr, edge of stability", "learning rate"})],
)
def test_a_learning_rate_adds_its_lines(given, lines):
    drawing = line().plot(**given)
    names = {series.name for panel in drawing.panels for series in panel.table}
    assert lines <= names
    assert ("learning rate" in names) == bool(given)


@pytest.mark.parametrize("sizes", [[0.4, -0.1, 0.0, 0.2], [0.1]])
def test_step_sizes_may_be_negative_zero_unsorted_or_one(sizes):
    sizes = np.array(sizes, "f4")
    probe = probes.Probe(lambda w: jnp.sum(w**4), sizes)
    found = probe(jnp.ones(3))
    drawing = found.plot(lr=0.1)
    (loss,) = (s for s in drawing.panels[0].table if s.kind == "line")
    np.testing.assert_array_equal(loss.columns["x"], np.sort(sizes))
    many = bnjax.plot([found, found], lr=0.1)
    (least,) = (s for s in many.panels[2].table if s.name.startswith("1/η_min") or "=" in s.name)
    np.testing.assert_allclose(least.columns["y"], 2 / 0.1 if "=" in least.name else 10, rtol=1e-6)


def write_run(place):
    run = made_run()
    facts = {**run.facts, "script": "bnjax/studies/landscape 0123456789ab"}
    (place / folder.RESULTS).write_bytes(results.encode(Run(run.data, run.options, facts)))
    return place


@pytest.mark.parametrize("way", ["folder", "text", "Run", "Dataset"])
def test_a_run_is_drawn_by_its_study(way, tmp_path):
    place = write_run(tmp_path)
    with xarray.open_dataset(place / folder.RESULTS, engine="scipy") as opened:
        run = {
            "folder": place,
            "text": str(place),
            "Run": results.read(place),
            "Dataset": opened,
        }[way]
        assert bnjax.plot(run).name == "landscape"
        assert bnjax.plot(run, figure="gradient_difference").name == "gradient_difference"
        with pytest.raises(UsageError, match="no figure 'x': choose from landscape, gradient_diff"):
            bnjax.plot(run, figure="x")
    foreign = results.read(place)
    with pytest.raises(UsageError, match="of another file"):
        bnjax.plot(Run(foreign.data, foreign.options, {}))


def test_a_run_prints_in_about_ten_lines(tmp_path):
    text = repr(results.read(write_run(tmp_path)))
    assert text.startswith("Run of bnjax/studies/landscape\n")
    assert len(text.splitlines()) <= 12
    assert max(map(len, text.splitlines())) <= 100
    assert "norm 2" in text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: xarray.Dataset({"a": 1}), "is of no probe"),
        (
            lambda: xarray.merge(
                [bnjax.to_xarray(shift()), bnjax.to_xarray(spectrum())], compat="override"
            ),
            "is of shift and spectrum",
        ),
        (lambda: [line(), line()._replace(step_sizes=2 * SIZES)], "step_sizes differ along"),
        (lambda: {0: plane(), 1: plane()}, "no field of this plane"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        bnjax.plot(wrong())


def test_a_line_that_diverged_is_drawn_as_far_as_it_is_finite():
    gone = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), line())._replace(step_sizes=SIZES)
    drawing = gone.plot()
    drawing.finish()
    assert len(drawing.panels) == 4
    assert "nan" not in [row[4] for row in drawing.table() if row[2] == "reference"]
    bnjax.plot([gone, line()]).finish()


def test_shown_layers_of_a_deep_network_stay_legible():
    layers = tuple(f"block{number}" for number in range(30))
    deep = probes.Shift(layers, *(jnp.linspace(0.1, 0.9, 30) for _ in range(3)))
    ticks = deep.plot().panels[0].axes.get_xticklabels()
    assert 4 <= len(ticks) <= 10
