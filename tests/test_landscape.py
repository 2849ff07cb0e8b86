"""The landscape experiment at toy size: end to end, resumed, and its errors."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_toy

from bnjax.commands import command_line as frame
from bnjax.commands import listing
from bnjax.data import Batch
from bnjax.draw import style
from bnjax.frame import displays, results
from bnjax.studies.landscape import figure
from bnjax.studies.landscape import study as landscape
from bnjax.studies.landscape.measure import make_line
from bnjax.train.step import Gradient, TrainState

ROOT = Path(__file__).parents[1]
TOY = ["--steps", "6", "--batch-size", "16", "--probe-every", "2", "--evaluate-every", "4"]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


def only_folder(root):
    (path,) = (root / "landscape").iterdir()
    return path


def test_a_run_leaves_results_figure_and_claims(toy, tmp_path, monkeypatch, capsys):
    compared = []
    monkeypatch.setattr(style, "overlay", lambda *given: compared.append(given[-1]))
    more = ["--directions", "gradient", "random", "--seeds", "2", "--out", str(tmp_path)]
    assert frame.main(landscape.EXPERIMENT, [*TOY, "--debug", *more]) == 0
    # What was published is along the gradient, and is not drawn beside other directions.
    assert compared == list(figure.PUBLISHED["vgg"].names)
    path = only_folder(tmp_path)
    names = {child.name for child in path.iterdir()}
    figures = {
        f"{name}.{kind}"
        for name in ("landscape", "landscape_random", "gradient_difference")
        for kind in ("png", "pdf", "svg", "csv")
    }
    assert names == {
        "config.json",
        "metrics.jsonl",
        "probes.npz",
        "summary.json",
        "checkpoints",
        "report.html",
        *figures,
    }
    measured = results.read(path)
    assert measured.arrays["line.losses"].shape == (2, 2, 3, 2, 4)
    assert measured.axes["probe_step"].tolist() == [0, 2, 4]
    assert measured.axes["test_step"].tolist() == [0, 4, 6]
    for name, values in measured.arrays.items():
        assert np.isfinite(values).all(), name
    centre = measured.select("line.loss", direction="gradient")
    np.testing.assert_allclose(centre, measured.arrays["train.loss"][:, :, ::2], rtol=1e-5)
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 4 * (6 + 3)
    assert rows[0].keys() == {
        "norm",
        "seed",
        "step",
        "train_loss",
        "train_accuracy",
        "train_gradient_norm",
        "train_finite",
    }
    claims = json.loads((path / "summary.json").read_text())["claims"]
    assert {claim["identifier"] for claim in claims} == {
        "fig4a-batch",
        "fig4b-batch",
        "fig4c-batch",
        "edge-none",
        "edge-batch",
    }
    assert "inconclusive" in capsys.readouterr().out

    stamps = {child: child.stat().st_mtime_ns for child in path.iterdir()}
    assert frame.main(landscape.EXPERIMENT, [*TOY, "--debug", *more]) == 0
    assert "finished before" in capsys.readouterr().out
    assert stamps == {child: child.stat().st_mtime_ns for child in path.iterdir()}


def test_several_rates_are_arms_and_each_gives_what_it_gives_alone(toy, tmp_path):
    for out, rates in (("several", ["--lrs", "0.1", "0.4"]), ("alone", ["--lr", "0.4"])):
        arguments = [*TOY, *rates, "--debug", "--out", str(tmp_path / out)]
        assert frame.main(landscape.EXPERIMENT, arguments) == 0
    several, alone = only_folder(tmp_path / "several"), only_folder(tmp_path / "alone")
    here, expected = results.read(several).at(lr=0.4), results.read(alone)
    assert here.dims == expected.dims
    for name, values in expected.arrays.items():
        np.testing.assert_array_equal(here.arrays[name], values, err_msg=name)
    for name in ("landscape", "gradient_difference"):
        table = (several / f"{name}_lr0.4.csv").read_bytes()
        assert table == (alone / f"{name}.csv").read_bytes()
        assert table != (several / f"{name}_lr0.1.csv").read_bytes()
    found, one = (json.loads((run / "summary.json").read_text()) for run in (several, alone))
    ends = [(c["measured"], c["verdict"]) for c in found["claims"] if "-lr0.4" in c["identifier"]]
    assert ends == [(c["measured"], c["verdict"]) for c in one["claims"]]
    page = (several / "report.html").read_text()
    assert "Loss landscape along the gradient, learning rate 0.4" in page
    assert "step size η / learning rate" in page
    assert "step size η / learning rate" not in (alone / "report.html").read_text()
    listed = [listing.describe(run).what for run in (several, alone)]
    assert [(what.get("lr"), what.get("lrs")) for what in listed] == [
        (None, [0.1, 0.4]),
        (0.4, None),
    ]


def test_arms_that_differ_in_rate_or_seed_share_one_compiled_probe():
    state = TrainState(jnp.int32(0), {"w": jnp.ones(2)}, {}, ())
    batch = Batch(jnp.zeros((1, 1, 1, 1)), jnp.zeros(1, jnp.int32))
    computed = Gradient(jnp.array(1.0), jnp.array(1.0), {"w": jnp.ones(2)}, {})

    def program(rate, seed):
        measure = make_line(
            lambda state, batch: lambda params: jnp.sum(params["w"] ** 2),
            rate * np.array([0.5, 1.0]),
            jax.random.key(seed),
            directions=("gradient", "random"),
        )
        text = jax.jit(measure).lower(state, batch, computed).as_text()
        return text[text.index("func.func private") :]  # called with sizes and key

    assert program(0.1, 0) == program(0.4, 1)


@pytest.fixture(scope="module")
def whole(noise_dataset, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        make_toy(patch, noise_dataset)
        assert frame.main(landscape.EXPERIMENT, [*TOY, "--debug", "--out", str(out)]) == 0
    return only_folder(out)


@pytest.mark.parametrize(
    "interrupted_after",
    [4, *(pytest.param(count, marks=pytest.mark.full) for count in (1, 6, 9))],
)
def test_an_interrupted_run_goes_on_bit_for_bit(
    toy, whole, tmp_path, monkeypatch, capsys, interrupted_after
):
    advance, count = displays.PlainDisplay.advance, 0

    def interrupting(self, *args):
        nonlocal count
        count += 1
        if count == interrupted_after:
            os.kill(os.getpid(), signal.SIGTERM)
        advance(self, *args)

    monkeypatch.setattr(displays.PlainDisplay, "advance", interrupting)
    command = [*TOY, "--out", str(tmp_path / "broken")]
    assert frame.main(landscape.EXPERIMENT, command) == 130
    assert "the same command goes on" in capsys.readouterr().err
    broken = only_folder(tmp_path / "broken")
    assert not (broken / "summary.json").exists()
    assert frame.main(landscape.EXPERIMENT, command) == 0
    assert (broken / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    first, second = results.read(whole).arrays, results.read(broken).arrays
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_divergence_ends_the_arm_and_keeps_what_was_measured(toy, tmp_path):
    assert (
        frame.main(landscape.EXPERIMENT, [*TOY, "--out", str(tmp_path), "--lr", "1e25", "--debug"])
        == 0
    )
    measured = results.read(only_folder(tmp_path))
    finite = measured.select("train.finite", norm="none", seed=0)
    end = int(np.flatnonzero(finite == 0)[0])
    assert (finite[:end] == 1).all()
    assert np.isnan(finite[end + 1 :]).all()
    assert not np.isfinite(measured.select("train.loss", norm="none", seed=0)[end])
    assert np.isfinite(measured.select("line.loss", norm="none", seed=0)[0]).all()
    claims = {claim.identifier: claim for claim in landscape.EXPERIMENT.claims(measured)}
    assert claims["fig4a-batch"].reason.startswith(f"none diverged at step {end}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr", "0"], "--lr 0.0: must be above 0 and finite, e.g. 0.1"),
        (["--lr", "nan"], "--lr nan: must be above 0"),
        (["--lr", "-1"], "--lr -1.0: must be above 0"),
        (["--lr", "foo"], "could not convert string to float: 'foo'"),
        (["--lrs", "0.1", "0.1"], "--lrs 0.1 0.1: must be one or more different"),
        (["--lrs", "0.1", "0.10000001"], "--lrs 0.1 0.1: must be one or more different"),
        (["--lr", "0.3", "--lrs", "0.1"], "--lr 0.3 is not used beside --lrs: give one of them"),
        (
            ["--min-step", "0.1", "--multiples", "1", "2"],
            "--min-step is not used beside --multiples 1 2: give",
        ),
        (["--multiples", "1", "2", "--chunk", "3"], "--chunk 3: must be"),
        (["--points", "1"], "--points 1: must be from 2"),
        (["--points", "2.5"], "--points"),
        (["--batch-size", "100000"], "batch_size=100000 must be from 1 to 50"),
        (["--batch-size", "0"], "--batch-size 0: must be 1 or more"),
        (["--norms", "foo"], "--norms foo: must be of none batch"),
        (["--norms", "batch", "batch"], "--norms batch batch"),
        (["--max-step", "0.1"], "--max-step 0.1: must be above --min-step 0.5"),
        (["--min-step", "0"], "--min-step 0.0"),
        (["--steps", "0"], "--steps 0: must be from 1 to 100000000"),
        (["--seeds", "0"], "--seeds 0"),
        (["--seed", "-1"], "--seed -1"),
        (["--width", "inf"], "--width inf"),
        (["--weight-decay", "-0.1"], "--weight-decay -0.1"),
        (["--probe-every", "0"], "--probe-every 0"),
        (["--evaluate-every", "0"], "--evaluate-every 0"),
        (["--directions", "random"], "--directions random"),
        (["--statistics", "foo"], "'foo'"),
        (["--parameters", "first"], "'first'"),
        (["--preset", "foo"], "--preset foo: must be quick or paper"),
        (
            ["--dataset", "cifar10", "--data-dir", "/nonexistent"],
            "--data-dir /nonexistent: must be a folder",
        ),
        (["--data-dir", "/"], "--data-dir has no use with --dataset digits"),
        (["--bogus", "1"], "--bogus"),
    ],
)
def test_a_wrong_call_gives_one_line_and_writes_nothing(toy, tmp_path, capsys, arguments, message):
    out = tmp_path / "runs"
    assert frame.main(landscape.EXPERIMENT, [*arguments, "--out", str(out)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not out.exists()


def test_a_broken_data_folder_gives_one_line_and_writes_nothing(tmp_path, capsys):
    (tmp_path / "data/cifar10/3.0.2").mkdir(parents=True)
    (tmp_path / "data/cifar10/3.0.2/dataset_info.json").write_text("{")
    arguments = [
        "--dataset",
        "cifar10",
        "--data-dir",
        str(tmp_path / "data"),
        "--out",
        str(tmp_path / "runs"),
    ]
    assert frame.main(landscape.EXPERIMENT, arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert "--data-dir" in captured.err
    assert not (tmp_path / "runs").exists()


def test_debug_shows_the_traceback(toy, tmp_path):
    with pytest.raises(ValueError, match="--lr"):
        frame.main(landscape.EXPERIMENT, ["--lr", "0", "--debug"])


def test_an_unwritable_folder_is_one_line(toy, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert frame.main(landscape.EXPERIMENT, [*TOY, "--out", str(tmp_path / "file")]) == 1
    assert "give another --out" in capsys.readouterr().err


@pytest.mark.full
def test_the_script_itself_starts_and_explains_its_options():
    script = [sys.executable, str(ROOT / "experiments/landscape.py")]
    shown = subprocess.run(
        [*script, "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "--min-step" in shown.stdout
    assert "in units of --lr" in shown.stdout
    paper = subprocess.run(
        [*script, "--preset", "paper", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert "(default: 15000)" in paper.stdout
    wrong = subprocess.run(
        [*script, "--lr", "0"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert wrong.returncode == 2
    assert wrong.stderr == "error: --lr 0.0: must be above 0 and finite, e.g. 0.1\n"
    bogus = subprocess.run(
        [*script, "--bogus", "1"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert bogus.stderr == "error: Unrecognized options: --bogus, 1: see --help\n"


def test_presets_are_valid_and_the_paper_points_are_the_papers():
    for config in landscape.PRESETS.values():
        config.validate()
    np.testing.assert_allclose(
        landscape.PRESETS["paper"].step_sizes, [0.05, 0.1, 0.2, 0.4], rtol=1e-6
    )
