"""Attempts to lose, mix or hide data that no other trial makes; ATTEMPTS.md has them all."""

import dataclasses
import importlib
import linecache
import os
import py_compile
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from conftest import make_toy
from jaxtyping import Array, Float
from toy_runs import STUDY, TOY, Drawing, look, stop_at

from bnjax.commands import command_line, program
from bnjax.errors import UsageError
from bnjax.frame import fingerprint, folder, options, results
from bnjax.frame.study import Study
from bnjax.models import norms
from bnjax.report import page
from bnjax.studies import optimizers
from bnjax.train import Measurement, every
from bnjax.train.loop import Sweep

SHORT = ["--norms", "none", "--steps", "4", "--batch-size", "16", "--probe-every", "2"]


def one_pixel_changed(dataset):
    pixels = dataset.train.pixels.at[0, 0, 0, 0].add(1)
    return dataset._replace(train=dataset.train._replace(pixels=pixels))


def go(root, *more, study=STUDY):
    return command_line.main(study, [*TOY, "--out", str(root), *more])


def only(root):
    (run,) = (root / "lp_norms").iterdir()
    return run


@pytest.fixture(scope="module")
def roots(noise_dataset, tmp_path_factory):
    """Runs of one command: whole, broken off, of other data; and one of another seed."""
    place = tmp_path_factory.mktemp("roots")
    for name, dataset, more in (
        ("whole", noise_dataset, ()),
        ("half", noise_dataset, ()),
        ("other", one_pixel_changed(noise_dataset), ()),
        ("seed", noise_dataset, ("--seed", "5")),
    ):
        with pytest.MonkeyPatch.context() as patch:
            make_toy(patch, dataset)
            if name == "half":
                stop_at(patch, 7)
            assert go(place / name, *more) == (130 if name == "half" else 0)
    return place


@pytest.fixture
def attempt(toy_runs, roots, tmp_path):
    """Copies of these roots."""
    shutil.copytree(roots, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def call(capsys):
    def call(*arguments):
        capsys.readouterr()
        status = program.main([str(argument) for argument in arguments])
        out, error = capsys.readouterr()
        return status, out + error

    return call


def same(run, other):
    names = ("results.nc", "metrics.jsonl")
    return all((run / name).read_bytes() == (other / name).read_bytes() for name in names)


def move_results(source):
    """All results of another run over those of this one, its summary too, but not its options."""

    def act(roots, run):
        for name in (*folder.read_summary(only(roots / source)).files, folder.SUMMARY):
            shutil.copy(only(roots / source) / name, run / name)

    return act


def copy_entry(source, target):
    return lambda roots, run: shutil.copytree(run / source, run / target)


def move_checkpoints(roots, run):
    """Those of one arm of a run of the same options and of other data."""
    arm = Path(folder.CHECKPOINTS, "none-0")
    shutil.rmtree(run / arm)
    shutil.copytree(only(roots / "other") / arm, run / arm)


def swap_arms(roots, run):
    arms = run / folder.CHECKPOINTS
    for name, other in (("none-0", "x"), ("batch-0", "none-0"), ("x", "batch-0")):
        (arms / name).rename(arms / other)


# What is done to a run; whether it had been finished; what is said of it.
MENDED = {
    "results of another seed": (move_results("seed"), "whole", "is of a run with seed 5"),
    "results of other data": (move_results("other"), "half", "is of a run under data "),
    "checkpoints of other data": (move_checkpoints, "half", "its run was begun under data "),
    "a begun run of other data": (
        lambda roots, run: shutil.copytree(
            only(roots / "other") / folder.CHECKPOINTS, run / folder.CHECKPOINTS, dirs_exist_ok=True
        ),
        "half",
        "its run was begun under data ",
    ),
    "arms swapped": (swap_arms, "half", "belongs to the run"),
    "a later step that is a copy": (
        copy_entry("checkpoints/none-0/3", "checkpoints/none-0/9"),
        "half",
        "it is of step 3",
    ),
    "noise as sessions": (
        lambda roots, run: (run / "sessions.jsonl").write_bytes(b"\xff" * 99),
        "half",
        "",
    ),
    "a folder in place of results": (
        lambda roots, run: (run / folder.RESULTS).mkdir(),
        "half",
        "",
    ),
    "runs inside it": (lambda roots, run: go(run / folder.CHECKPOINTS), "half", ""),
}


@pytest.mark.parametrize("name", MENDED)
def test_a_folder_into_which_something_came_ends_as_if_nothing_had(
    attempt, roots, capsys, call, name
):
    act, which, said = MENDED[name]
    run = only(attempt / which)
    act(attempt, run)
    if said:
        assert call("verify", run)[0] == 1
    capsys.readouterr()
    assert go(attempt / which) == 0
    assert said in capsys.readouterr().err
    assert same(run, only(roots / "whole"))
    assert call("verify", run)[0] == 0


def test_a_hard_linked_copy_and_its_original_go_on_apart(attempt, roots, tmp_path):
    subprocess.run(["cp", "-al", attempt / "half", tmp_path / "linked"], check=True)
    before = look(attempt / "half")
    assert go(tmp_path / "linked") == 0
    assert look(attempt / "half") == before
    assert go(attempt / "half") == 0
    for root in (attempt / "half", tmp_path / "linked"):
        assert same(only(root), only(roots / "whole"))


def test_a_page_is_written_over_no_file_of_another_run(attempt, call):
    """Else its digests would be taken again, and damage be sound from then on."""
    run, other = only(attempt / "whole"), only(attempt / "seed")
    (run / "figure.png").write_bytes(b"damaged")
    before = look(run)
    for name in ("report.html", "results.nc", "config.json", "checkpoints/none-0/4/state.npz"):
        status, said = call("report", other, "--out", run / name)
        assert (status, f"--out {run / name}: is in the run {run}" in said) == (2, True)
    assert look(run) == before
    assert call("report", other, "--out", run / "other.html")[0] == 0
    assert call("report", other)[0] == 0
    assert call("verify", other)[0] == 0


def test_a_page_renews_no_digest_but_its_own(attempt):
    run = only(attempt / "whole")
    (run / "figure.png").write_bytes(b"damaged")
    folder.renew_summary(run, "report.html")
    assert set(folder.damaged_results(run)) == {"figure.png"}


def test_a_mixture_is_told_wherever_the_run_is_shown(
    attempt, noise_dataset, monkeypatch, call, capsys
):
    run, other = only(attempt / "half"), only(attempt / "whole")
    monkeypatch.setattr("bnjax.data.load", lambda *_, **__: one_pixel_changed(noise_dataset))
    assert go(attempt / "half") == 1
    assert go(attempt / "half", "--accept-changes") == 0
    assert "continued under other data" in (run / "report.html").read_text()
    assert "was continued under other data" in call("verify", run)[1]
    assert "continued under other data" in " ".join(call("list", attempt / "half")[1].split())
    assert call("report", "--compare", run, other, "--out", attempt / "page.html")[0] == 0
    assert "continued under other" in (attempt / "page.html").read_text()


def test_other_settings_of_jax_are_among_what_differs_between_two_runs(attempt, call):
    with jax.default_prng_impl("rbg"):
        assert go(attempt / "rbg") == 0
    pair = only(attempt / "whole"), only(attempt / "rbg")
    assert call("report", "--compare", *pair, "--out", attempt / "page.html")[0] == 0
    text = re.sub("<[^>]*>", " ", (attempt / "page.html").read_text())
    assert re.search(r"jax_default_prng_impl\s+threefry2x32\s+rbg", text)


class Loss(NamedTuple):
    loss: Float[Array, ""]


class MaxLoss(NamedTuple):
    max_loss: Float[Array, ""]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.LearningRate, options.Training):
    """Those of every run."""


def own(kind=Options, **parts):
    parts = {"CLAIMS": (), "FIGURES": (), **parts}
    return Study(__name__, question="?", options=kind, presets={"quick": {}}, parts=parts)


def probe(kind=Loss):
    return Measurement(every(2), lambda state, *_: kind(jnp.float32(1)))


def crossed(**factors):
    """Options whose arms are all pairs of these values."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Crossed(Options):
        @property
        def factors(self):
            return factors

        def settings(self, values):
            return {}

    return Crossed


swept = Sweep(2, Loss(jax.ShapeDtypeStruct((), jnp.float32)), lambda *_: None, "probe_step")
COLLISIONS = {
    "one variable": (
        own(probes=lambda arm: {"line": probe(MaxLoss), "line_max": probe()}),
        "two measurements are named line_max_loss",
    ),
    "a name of ours": (own(probes=lambda arm: {"test": probe()}), "are named test"),
    "a sweep": (
        own(probes=lambda arm: {"x": probe()}, after=lambda arm: {"x": swept}),
        "two probes or sweeps are named x",
    ),
    "one folder": (
        own(crossed(a=("p", "p-q"), b=("q-r", "r"))),
        "the arms p, q-r, seed 0 and p-q, r, seed 0 would have one folder, p-q-r-0",
    ),
    "capitals": (own(crossed(a=("p", "P"))), "the arms p, seed 0 and P, seed 0 would have one"),
}


@pytest.mark.parametrize("name", COLLISIONS)
def test_two_things_of_one_name_are_refused_before_the_first_step(toy, tmp_path, capsys, name):
    study, said = COLLISIONS[name]
    assert command_line.main(study, [*SHORT, "--out", str(tmp_path / "runs")]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/*/*/checkpoints"))


def ends(*_):
    sys.exit(0)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"FIGURES": [lambda *_, c=c: Drawing(c) for c in (b"a", b"b")]}, "are named figure"),
        ({"FIGURES": [ends]}, "SystemExit"),
        ({"CLAIMS": [ends]}, "SystemExit"),
    ],
)
def test_what_a_claim_or_a_figure_hides_is_said(toy, tmp_path, capsys, parts, said):
    assert command_line.main(own(**parts), [*SHORT, "--out", str(tmp_path)]) == 1
    assert said in capsys.readouterr().err
    (run,) = (tmp_path / "test_attempts").iterdir()
    assert list(folder.read_summary(run).failed)


def test_results_that_were_kept_alone_are_set_aside_for_others(attempt, noise_dataset, monkeypatch):
    run = only(attempt / "whole")
    kept = (run / folder.RESULTS).read_bytes()
    for path in run.iterdir():
        if path.name != folder.RESULTS:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    monkeypatch.setattr("bnjax.data.load", lambda *_, **__: one_pixel_changed(noise_dataset))
    assert go(attempt / "whole") == 0
    assert (run / f"{folder.RESULTS}.old1").read_bytes() == kept
    assert same(run, only(attempt / "other"))


@pytest.mark.parametrize("text", ["lr: 1\nlr: 2", "lr: 1\n--lr: 2", "lr: 1\nlearning-rate: 2"])
def test_an_option_that_a_file_has_twice_is_refused(tmp_path, text):
    path = tmp_path / "options.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match="is there twice: leave one out"):
        command_line.parse(own(), ["--config", str(path)])


def test_seeds_that_results_cannot_hold_are_refused(toy, tmp_path, capsys):
    call = [*SHORT, "--out", str(tmp_path), "--seed", "2147483647"]
    assert command_line.main(own(), [*call, "--seeds", "2"]) == 2
    assert "--seed 2147483647: must be from 0 to 2147483646" in capsys.readouterr().err
    assert command_line.main(own(), call) == 0


def test_a_dropout_is_named_by_all_its_digits():
    names = [
        optimizers.Setting("sgd", "zeros", dropout, False).name
        for dropout in (0.0, 0.5, 0.50000001, 1e-05)
    ]
    assert names == [f"sgd+zeros+{text}+plain" for text in ("0", "0.5", "0.50000001", "1e-05")]
    assert optimizers.parse(names[2]).dropout == 0.50000001


NORM = """
import flax.linen as nn
import attempted_value
from bnjax import norms


class Scaled(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        return attempted_value.SCALE * x


norms.register("scaled", lambda: norms.Norm("scaled", Scaled))
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A plugin with a module of its own; what it registers is forgotten afterwards."""
    monkeypatch.setattr(norms.registry, "REGISTRY", dict(norms.REGISTRY))
    monkeypatch.setattr(fingerprint, "LOADED", {})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "attempted_value.py").write_text("SCALE = 0.5\n")
    path = tmp_path / "plugin.py"
    path.write_text(f"{NORM}# of {tmp_path}\n")
    yield path
    sys.modules.pop("attempted_value", None)


def test_code_that_changes_once_it_is_loaded_is_refused(toy, plugin, capsys):
    """Else its results would bear the digest of code that never ran."""
    module = plugin.with_name("attempted_value.py")
    call = [*SHORT[2:], "--norms", "scaled", "--plugins", str(plugin)]
    call += ["--out", str(plugin.parent / "runs")]
    assert command_line.main(own(), call) == 0
    module.write_text("SCALE = 0.25\n")
    assert command_line.main(own(), [*call, "--fresh"]) == 1
    assert f"{module} was changed after this process had loaded it" in capsys.readouterr().err
    importlib.reload(sys.modules["attempted_value"])
    assert command_line.main(own(), [*call, "--fresh"]) == 0


def test_a_compiled_file_of_the_same_time_and_size_is_no_other_code(toy, plugin, capsys):
    """Python takes it for the source's, as after a copy that keeps times."""
    module = plugin.with_name("attempted_value.py")
    for text in ("SCALE = 0.7\n", "SCALE = 0.5\n"):
        module.write_text(text)
        os.utime(module, (1_600_000_000, 1_600_000_000))
        if "7" in text:
            py_compile.compile(str(module))
    call = [*SHORT[2:], "--norms", "scaled", "--plugins", str(plugin)]
    assert command_line.main(own(), [*call, "--out", str(plugin.parent / "runs")]) == 1
    assert f"{module} is not what Python runs" in capsys.readouterr().err


def test_a_plugin_that_is_edited_while_its_run_begins_gives_it_no_other_name(
    toy, plugin, monkeypatch, capsys, noise_dataset
):
    def load(*_, **__):
        plugin.write_text(f"{plugin.read_text()}# edited\n")
        return noise_dataset

    monkeypatch.setattr("bnjax.data.load", load)
    call = [*SHORT[2:], "--norms", "scaled", "--plugins", str(plugin)]
    assert command_line.main(own(), [*call, "--out", str(plugin.parent / "runs")]) == 1
    assert "was changed after this process had loaded it" in capsys.readouterr().err
    assert not list(plugin.parent.glob("runs/*/*/config.json"))


def test_a_file_of_flags_is_refused(toy, tmp_path, monkeypatch, capsys):
    """What it has could change from one session to the next, and its name would not."""
    monkeypatch.setenv("XLA_FLAGS", str(tmp_path / "flags"))
    assert command_line.main(own(), [*SHORT, "--out", str(tmp_path / "runs")]) == 2
    assert (
        f"XLA_FLAGS {tmp_path}/flags: must be flags that begin with --" in capsys.readouterr().err
    )


def test_a_package_that_no_package_manager_put_there_is_told_by_its_sources(tmp_path, monkeypatch):
    package = tmp_path / "optax"
    package.mkdir()
    (package / "__init__.py").write_text("")
    before = fingerprint.version_of("optax")
    monkeypatch.setattr(sys.modules["optax"], "__file__", str(package / "__init__.py"))
    found = fingerprint.version_of("optax")
    assert found.startswith(f"{before} with sources ")
    (package / "more.py").write_text("X = 1")
    assert fingerprint.version_of("optax") != found


def registered(text, monkeypatch):
    """Digest of the code of a run with a norm that a cell of a notebook registered."""
    name = f"<cell {text}>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    cell = types.ModuleType("cell")
    monkeypatch.setitem(sys.modules, "cell", cell)
    exec(compile(text, name, "exec"), vars(cell))
    return fingerprint.code(own(), (), [cell.make])["code"]


CELL = """
SCALE = 0.5
def scale(x):
    return SCALE * x
class Scaled:
    def __call__(self, x, *, train):
        return (lambda y: scale(y))(x)
def make():
    return Scaled()
"""


@pytest.mark.parametrize(
    ("old", "new"), [("0.5", "0.25"), ("SCALE * x", "x"), ("scale(y)", "y"), ("Scaled()", "None")]
)
def test_what_a_notebook_registers_counts_with_all_that_it_uses(monkeypatch, old, new):
    first = registered(CELL, monkeypatch)
    assert registered(f"{CELL}\nUNUSED = 1\n", monkeypatch) == first
    assert registered(CELL.replace(old, new), monkeypatch) != first


def test_a_file_that_registers_a_norm_without_plugins_counts(toy, plugin, capsys):
    call = [*SHORT[2:], "--norms", "scaled", "--out", str(plugin.parent / "runs")]
    importlib.import_module("plugin")
    assert command_line.main(own(), call) == 0
    plugin.write_text(f"{plugin.read_text()}X = 1\n")
    norms.registry.REGISTRY.pop("scaled")
    importlib.reload(sys.modules["plugin"])
    assert command_line.main(own(), call) == 1
    assert "holds a finished run made under code " in capsys.readouterr().err


def test_a_seed_that_is_not_finite_is_counted_where_ends_are_shown(roots):
    run = results.read(only(roots / "whole"))
    lost = run.data.assign_coords(seed=[1])
    lost["train_loss"] = np.nan * lost["train_loss"]
    both = dataclasses.replace(run, data=xarray.concat([run.data, lost], "seed"))
    texts = [end.text for found in page.ends(both).values() for end in found.values()]
    assert [text for text in texts if text.endswith(", 1 of 2 seeds not finite")]
    assert [text for text in texts if text.endswith("]")]
