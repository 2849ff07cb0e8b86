"""An experiment of one's own, with the mistakes that its author may make."""

import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from bnjax.commands import command_line
from bnjax.frame import experiment as experiments
from bnjax.frame import folder, results, verify
from bnjax.frame.config import RunConfig
from bnjax.frame.experiment import Experiment
from bnjax.judge.claim import Claim
from bnjax.train import Probe, every
from bnjax.train.sweep import Sweep

TOY = ["--norms", "none", "--steps", "4", "--batch-size", "16", "--probe-every", "2"]


class Sizes(NamedTuple):
    """One number a layer."""

    norms: jax.Array


def measure(state, batch, computed):
    return Sizes(jnp.stack([jnp.linalg.norm(jax.tree.leaves(x)[0]) for x in state.params.values()]))


swept = Sizes(jax.ShapeDtypeStruct((3,), jnp.float32))


def probes(config, arm):
    return {"sizes": Probe(every(config.probe_every), measure)}


def claims(found):
    return [Claim("a", "b", "c", "d", "e", "f", "supported", "")]


def draw(found, published, place):
    path = place / "figure.png"
    path.write_bytes(found.arrays["sizes.norms"].tobytes())
    return [path]


class Options(RunConfig):
    """Those of every run."""


OWN = Experiment(
    name="own",
    description="Sizes of layers.",
    presets={"quick": RunConfig()},
    probes=probes,
    dims={"sizes": {"norms": ("layer",)}},
    axes=lambda config: {},
    claims=claims,
    draw=draw,
)


def run(experiment, place, *more):
    return command_line.main(experiment, [*TOY, *more, "--out", str(place / "runs")])


def test_it_has_results_by_layer_and_a_page_with_its_own_command(toy, tmp_path):
    path = command_line.start(OWN, *TOY, "--out", str(tmp_path / "runs"))
    found = results.read(path)
    assert found.dims["sizes.norms"] == ("norm", "seed", "probe_step", "layer")
    assert found.axes["layer"].tolist() == ["conv1", "conv2", "output"]
    page = (path / "report.html").read_text()
    assert "<span>python</span> <span>test_own_experiment.py</span>" in page
    assert "<span>bnjax</span>" not in page


def test_only_a_command_line_may_end_its_process(monkeypatch, tmp_path):
    given = []

    def note(*call, **named):
        given.append(named)
        return tmp_path

    monkeypatch.setattr(command_line, "run", note)
    command_line.start(OWN, *TOY, "--out", str(tmp_path))
    assert run(OWN, tmp_path) == 0
    assert given == [{"ends_process": False}, {}]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dims": {}}, "sizes.norms has shape (3,) at each step, the axes of a scalar have ()"),
        ({"dims": {"size": {"norms": ("layer",)}}}, "name them in dims of the experiment own"),
        ({"dims": {"sizes": {"norms": ("layers",)}}}, "sizes.norms the axis 'layers', which is"),
        ({"dims": {"sizes": {"norms": ("step",)}}}, "has shape (3,) at each step, the axes step"),
        (
            {"dims": {"sizes": {"norm": ("layer",)}}},
            "name sizes.norm, which is not measured: choose",
        ),
        (
            {"dims": {"sizes": {"norms": ("norm", "layer")}}},
            "the axes probe_step norm layer beside norm",
        ),
        (
            {"after": lambda config, arm: {"swept": Sweep(2, swept, lambda state, found: None)}},
            "swept.norms is measured 2 times, its axis probe_step has 4",
        ),
        (
            {"probes": lambda config, arm: {"sizes": Probe(every(3), measure)}},
            "sizes.norms is measured 2 times, its axis probe_step has 4",
        ),
        (
            {"probes": lambda config, arm: {"sizes": Probe(every(1), lambda *_: jnp.ones(3))}},
            "the probe 'sizes' returns a ShapeDtypeStruct: it must return a NamedTuple",
        ),
    ],
)
@pytest.mark.parametrize("more", [[], ["--plan"]])
def test_what_does_not_fit_is_refused_before_the_first_step(
    toy, tmp_path, capsys, changed, message, more
):
    mistaken = OWN._replace(**changed)
    assert run(mistaken, tmp_path, "--probe-every", "1", *more) == 2
    assert message in capsys.readouterr().err
    assert not [path for path in tmp_path.glob("runs/own/*/checkpoints/*/*") if path.is_dir()]


def test_a_verdict_that_there_is_not_is_refused_and_what_was_measured_kept(toy, tmp_path, capsys):
    wrong = OWN._replace(claims=lambda found: [claims(found)[0]._replace(verdict="refuted")])
    assert run(wrong, tmp_path) == 2
    assert "claim a has the verdict 'refuted': it must be one of supp" in capsys.readouterr().err
    [path] = tmp_path.glob("runs/own/*")
    before = (path / folder.PROBES).read_bytes()
    assert run(OWN, tmp_path) == 0
    assert (path / folder.PROBES).read_bytes() == before
    assert folder.is_finished(path)


def test_what_fails_while_it_is_drawn_anew_costs_nothing_that_was_measured(toy, tmp_path, capsys):
    assert run(OWN, tmp_path) == 0
    [path] = tmp_path.glob("runs/own/*")
    measured = (path / folder.PROBES).read_bytes()
    shutil.rmtree(path / folder.CHECKPOINTS)  # a run that is to be trained again would show

    def torn(found, published, place):
        (place / "figure.png").write_bytes(b"half")
        raise ValueError("torn")

    wrong = OWN._replace(
        draw=torn, claims=lambda found: [claims(found)[0]._replace(verdict="refuted")]
    )
    assert run(wrong, tmp_path, "--redraw") == 2  # judged before anything is drawn
    assert not verify.damaged_results(path)
    assert run(OWN._replace(draw=torn), tmp_path, "--redraw") == 1
    assert set(verify.damaged_results(path)) == {"figure.png"}
    capsys.readouterr()
    assert run(OWN, tmp_path) == 0
    said = capsys.readouterr()
    assert "finished before" in said.out
    assert "figure.png" in said.err
    assert "it is written again" in said.err
    assert not verify.damaged_results(path)
    assert (path / "figure.png").read_bytes() != b"half"
    assert (path / folder.PROBES).read_bytes() == measured
    assert not (path / folder.CHECKPOINTS).exists()


def test_a_preset_that_there_is_not_is_refused(toy, tmp_path, capsys):
    assert run(OWN, tmp_path, "--preset", "paper") == 2
    assert "--preset paper: must be quick" in capsys.readouterr().err


def test_a_script_that_changed_is_said_and_draws_anew_what_was_measured(
    toy, tmp_path, capsys, monkeypatch
):
    assert run(OWN, tmp_path) == 0
    [path] = tmp_path.glob("runs/own/*")
    measured, figure = ((path / name).read_bytes() for name in (folder.PROBES, "figure.png"))
    assert run(OWN, tmp_path) == 0
    assert "has changed since" not in capsys.readouterr().err
    monkeypatch.setattr("bnjax.frame.run.script", lambda experiment: "own.py 000000000000")
    assert run(OWN, tmp_path) == 0
    assert "test_own_experiment.py" in (told := capsys.readouterr().err)
    assert "has changed since: --fresh measures anew, --redraw draws and judges anew" in told
    assert (path / "figure.png").read_bytes() == figure

    def draw_otherwise(found, published, place):
        (place / "figure.png").write_bytes(b"other")
        return [place / "figure.png"]

    judge = lambda found: [claims(found)[0]._replace(verdict="inconclusive")]  # noqa: E731
    assert run(OWN._replace(draw=draw_otherwise, claims=judge), tmp_path, "--redraw") == 0
    assert (path / "figure.png").read_bytes() == b"other"
    assert folder.read_summary(path).claims[0]["verdict"] == "inconclusive"
    assert (path / folder.PROBES).read_bytes() == measured


def test_a_script_is_named_with_the_digest_of_its_file(tmp_path):
    name, digest = experiments.script(OWN).split()
    assert name == "test_own_experiment.py"
    assert len(digest) == 12
    from bnjax.studies.landscape.study import EXPERIMENT as LANDSCAPE

    assert experiments.script(LANDSCAPE).startswith("bnjax/studies/landscape ")
    typed = OWN._replace(probes=print, claims=print, draw=print)
    assert experiments.script(typed) == ""
    # What takes over most of a shipped one is a script of its own, by its options.
    derived = LANDSCAPE._replace(name="own", presets={"quick": Options()})
    assert experiments.script(derived).startswith("test_own_experiment.py ")
    assert experiments.script(derived) != experiments.script(OWN)
