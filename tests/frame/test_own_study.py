"""A study of one's own, in a file or a folder, with the mistakes that its author may make."""

import dataclasses
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array, Float
from toy_runs import Drawing

from bnjax.commands import command_line
from bnjax.errors import RunError
from bnjax.frame import folder, options, results
from bnjax.frame.study import Study
from bnjax.judge.verdict import Verdict
from bnjax.train import Measurement, every
from bnjax.train.loop import Sweep

ROOT = Path(__file__).parents[2]
TOY = ["--norms", "none", "--steps", "4", "--batch-size", "16", "--probe-every", "2"]


class Sizes(NamedTuple):
    """One number a layer."""

    norms: Float[Array, "layer"]


class Plain(NamedTuple):
    """Fields that do not say their axes."""

    norms: jax.Array


class Wrong(NamedTuple):
    """Along the wrong axis."""

    norms: Float[Array, "step"]


class Unknown(NamedTuple):
    """Along an axis that nobody knows."""

    norms: Float[Array, "layers"]


def norms_of(state):
    return jnp.stack([jnp.linalg.norm(jax.tree.leaves(x)[0]) for x in state.params.values()])


def probes(arm):
    return {
        "sizes": Measurement(
            every(arm.options.probe_every), lambda state, *_: Sizes(norms_of(state))
        )
    }


def measured_as(kind, interval=None, leading=()):
    """Probes that measure the same as another NamedTuple."""
    return lambda arm: {
        "sizes": Measurement(
            every(interval or arm.options.probe_every),
            lambda state, *_: kind(norms_of(state)),
            leading,
        )
    }


def claim(run):
    return Verdict("a", "b", "c", "d", "e", "f", "supported", "", ())


def figure(run, published):
    return Drawing(run["sizes_norms"].values.tobytes())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.LearningRate, options.Training):
    """Those of every run."""


OWN = Study(
    __name__,
    question="How large are layers?",
    options=Options,
    presets={"quick": {}},
    parts={"probes": probes, "CLAIMS": (claim,), "FIGURES": (figure,)},
)
swept = Sizes(jax.ShapeDtypeStruct((3,), jnp.float32))


def having(**parts):
    return dataclasses.replace(OWN, parts={**OWN.parts, **parts})


def run(study, place, *more):
    return command_line.main(study, [*TOY, *more, "--out", str(place / "runs")])


def test_it_has_results_by_layer_and_a_page_with_its_own_command(toy, tmp_path):
    path = command_line.start(OWN, *TOY, "--out", str(tmp_path / "runs"))
    found = results.read(path)
    assert found["sizes_norms"].dims == ("norm", "seed", "probe_step", "layer")
    assert found.values("layer") == ["conv1", "conv2", "output"]
    page = (path / "report.html").read_text()
    assert "<span>python</span> <span>test_own_study.py</span>" in page
    assert "<span>bnjax</span>" not in page


def test_only_a_command_line_may_end_its_process(monkeypatch, tmp_path):
    given = []

    def note(*call, **named):
        given.append(named.get("ends_process", True))
        return tmp_path

    monkeypatch.setattr("bnjax.frame.run.run", note)
    command_line.start(OWN, *TOY, "--out", str(tmp_path))
    assert run(OWN, tmp_path) == 0
    assert given == [False, True]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"probes": measured_as(Plain)}, "does not say along which axes: annotate the field norms"),
        ({"probes": measured_as(Unknown)}, "sizes_norms has the axis 'layers', which is not known"),
        ({"probes": measured_as(Wrong)}, "has shape (3,) at each step, its axes step have (4,)"),
        (
            {"probes": measured_as(Sizes, leading=("norm",))},
            "the axes probe_step norm layer beside",
        ),
        ({"probes": measured_as(Sizes, 3)}, "sizes_norms is measured 2 times, its axis probe_step"),
        (
            {"after": lambda arm: {"swept": Sweep(2, swept, lambda *_: None, "probe_step")}},
            "swept_norms is measured 2 times, its axis probe_step has 4",
        ),
        (
            {"probes": lambda arm: {"sizes": Measurement(every(1), lambda *_: jnp.ones(3))}},
            "the probe 'sizes' returns a ShapeDtypeStruct: it must return a NamedTuple",
        ),
    ],
)
@pytest.mark.parametrize("more", [[], ["--plan"]])
def test_what_does_not_fit_is_refused_before_the_first_step(
    toy, tmp_path, capsys, parts, message, more
):
    assert run(having(**parts), tmp_path, "--probe-every", "1", *more) == 2
    assert message in capsys.readouterr().err
    assert not [
        path for path in tmp_path.glob("runs/test_own_study/*/checkpoints/*/*") if path.is_dir()
    ]


def refuted(run):
    return claim(run)._replace(verdict="refuted")


def torn(run, published):
    raise ValueError("torn")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"CLAIMS": (refuted, claim)}, "claim a has the verdict 'refuted': it must be one of supp"),
        ({"FIGURES": (torn, figure)}, "figure torn of"),
        ({"CLAIMS": (lambda run: run["nothing"], claim)}, "KeyError"),
    ],
)
def test_a_claim_or_figure_that_fails_costs_nothing_else(toy, tmp_path, capsys, parts, message):
    assert run(having(**parts), tmp_path) == 1
    assert message in capsys.readouterr().err
    [path] = tmp_path.glob("runs/test_own_study/*")
    measured = (path / folder.RESULTS).read_bytes()
    summary = folder.read_summary(path)
    assert list(summary.failed)
    assert [verdict["verdict"] for verdict in summary.verdicts] == ["supported"]
    assert (path / "figure.png").exists()
    shutil.rmtree(path / folder.CHECKPOINTS)  # a run that is to be trained again would show
    with pytest.raises(RunError) as raised:
        run(having(**parts), tmp_path, "--debug")
    assert raised.value.__cause__.__traceback__ is not None
    assert run(OWN, tmp_path) == 0  # the same command, mended, tries again
    assert not folder.read_summary(path).failed
    assert (path / folder.RESULTS).read_bytes() == measured
    assert not (path / folder.CHECKPOINTS).exists()
    assert not folder.verify(path).damage


def test_a_preset_that_there_is_not_is_refused(toy, tmp_path, capsys):
    assert run(OWN, tmp_path, "--preset", "paper") == 2
    assert "--preset paper: must be quick" in capsys.readouterr().err


def test_code_that_changed_is_said_and_redraws_what_was_measured(
    toy, tmp_path, capsys, monkeypatch
):
    assert run(OWN, tmp_path) == 0
    [path] = tmp_path.glob("runs/test_own_study/*")
    measured, picture = ((path / name).read_bytes() for name in (folder.RESULTS, "figure.png"))
    assert run(OWN, tmp_path) == 0
    assert "has changed since" not in capsys.readouterr().err
    monkeypatch.setattr(Study, "script", "own.py 000000000000")
    assert run(OWN, tmp_path) == 0
    assert "test_own_study.py" in (said := capsys.readouterr().err)
    assert "has changed since: --redraw draws and judges the same arrays again" in said
    assert (path / "figure.png").read_bytes() == picture
    other = having(
        FIGURES=(lambda run, published: Drawing(b"other"),),
        CLAIMS=(lambda run: claim(run)._replace(verdict="inconclusive"),),
    )
    assert run(other, tmp_path, "--redraw") == 0
    assert (path / "figure.png").read_bytes() == b"other"
    assert folder.read_summary(path).verdicts[0]["verdict"] == "inconclusive"
    assert (path / folder.RESULTS).read_bytes() == measured


def test_a_study_is_named_with_the_digest_of_its_files():
    name, digest = OWN.script.split()
    assert name == "test_own_study.py"
    assert len(digest) == 12
    from bnjax.studies.landscape import STUDY as LANDSCAPE

    assert LANDSCAPE.script.startswith("bnjax/studies/landscape ")
    # What takes over most of a shipped one is a study of its own, by its options.
    derived = dataclasses.replace(LANDSCAPE, options=Options, presets={"quick": {}})
    assert derived.script.startswith("test_own_study.py ")
    assert derived.script != OWN.script


ADDED = '''
"""Norms of layers."""

import dataclasses

from bnjax.frame import options
from bnjax.frame.study import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.LearningRate, options.Training):
    """Options of the norms."""


STUDY = Study(__name__, question="How large are layers?", options=Options)
'''
MEASURE = '''
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.train import Measurement, every


class Sizes(NamedTuple):
    """Norms of kernels."""

    norms: Float[Array, "layer"]


def probes(arm):
    @jax.jit
    def measure(state, batch, gradient):
        kernels = [layer["kernel"] for layer in state.params.values()]
        return Sizes(jnp.stack([jnp.linalg.norm(kernel) for kernel in kernels]))

    return {"sizes": Measurement(every(arm.options.probe_every), measure)}
'''


@pytest.mark.full
def test_a_folder_in_the_tree_is_a_study_without_any_other_entry(tmp_path):
    shutil.copytree(
        ROOT / "bnjax", tmp_path / "bnjax", ignore=shutil.ignore_patterns("__pycache__")
    )
    place = tmp_path / "bnjax" / "studies" / "layer_norms"
    place.mkdir()
    (place / "__init__.py").write_text(textwrap.dedent(ADDED))
    (place / "measure.py").write_text(textwrap.dedent(MEASURE))

    def call(*words):
        done = subprocess.run(
            [sys.executable, "-m", "bnjax", *words], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert re.search(r"layer_norms +Norms of layers\.", call())
    assert "Norms of layers." in call("layer_norms", "--help")
    said = call(
        "layer_norms", "--model", "mlp", "--width", "0.1", "--steps", "2", "--probe-every", "1",
        "--batch-size", "16",
    )  # fmt: skip
    assert "results.nc" in said
    [path] = (tmp_path / "runs" / "layer_norms").iterdir()
    assert results.read(path)["sizes_norms"].sizes["layer"] == 4


def test_a_preset_of_every_other_network_stands_beside_that_of_one():
    presets = {
        "quick": {"model": "vgg5", "steps": 1},
        "quick *": {"steps": 2},
        "quick lenet": {"model": "lenet", "steps": 3},
    }
    study = dataclasses.replace(OWN, presets=presets)
    steps = {model: study.preset("quick", model).steps for model in ("", "vgg5", "mlp", "lenet")}
    assert steps == {"": 1, "vgg5": 1, "mlp": 2, "lenet": 3}
