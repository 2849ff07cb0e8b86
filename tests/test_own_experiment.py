"""An experiment of one's own, with the mistakes that its author may make."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from bnjax.commands import command_line
from bnjax.runs import experiment as experiments
from bnjax.runs import folder, results
from bnjax.runs.config import RunConfig
from bnjax.runs.experiment import Experiment
from bnjax.training import Probe, every

TOY = ["--norms", "none", "--steps", "4", "--batch-size", "16", "--probe-every", "2"]


class Sizes(NamedTuple):
    """One number a layer."""

    norms: jax.Array


class Sentence(NamedTuple):
    """What a claim is, seen from the frame."""

    identifier: str
    sentence: str
    source: str
    rule: str
    measured: str
    published: str
    verdict: str
    reason: str


def measure(state, batch, computed):
    return Sizes(jnp.stack([jnp.linalg.norm(jax.tree.leaves(x)[0]) for x in state.params.values()]))


def probes(config, arm):
    return {"sizes": Probe(every(config.probe_every), measure)}


def claims(found):
    return [Sentence("a", "b", "c", "d", "e", "f", "supported", "")]


def draw(found, published, place):
    path = place / "figure.png"
    path.write_bytes(found.arrays["sizes.norms"].tobytes())
    return [path]


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


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dims": {}}, "sizes.norms has shape (3,) at each step, the axes of a scalar have ()"),
        ({"dims": {"size": {"norms": ("layer",)}}}, "name them in dims of the experiment own"),
        ({"dims": {"sizes": {"norms": ("layers",)}}}, "sizes.norms the axis 'layers', which is"),
        ({"dims": {"sizes": {"norms": ("step",)}}}, "has shape (3,) at each step, the axes step"),
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
    monkeypatch.setattr("bnjax.runs.run.script", lambda experiment: "own.py 000000000000")
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
    from landscape import EXPERIMENT as LANDSCAPE

    assert experiments.script(LANDSCAPE).startswith("experiments/landscape.py ")
    assert experiments.script(OWN._replace(probes=print)) == ""
