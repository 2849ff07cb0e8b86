"""A normaliser of one's own: the file that the README prints, in an experiment."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import landscape
import numpy as np
import pytest

from bnjax.commands import command_line
from bnjax.models import norms
from bnjax.runs import plugins
from bnjax.runs.names import digest

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.fixture
def own_norm(tmp_path, monkeypatch):
    """The README's file, and a registry that forgets it afterwards."""
    monkeypatch.setattr(norms.registry, "REGISTRY", dict(norms.REGISTRY))
    (printed,) = re.findall(r"```python\n(# my_norm\.py.*?)```", README, re.DOTALL)
    path = tmp_path / "my_norm.py"
    path.write_text(printed)
    return path


def test_the_readmes_normaliser_is_its_formula(own_norm):
    plugins.load([own_norm, own_norm])  # naming a file twice runs it once
    module = norms.by_name("tanh").build(name=None)
    x = np.random.default_rng(0).normal(size=(3, 4))
    variables = module.init(jax.random.key(0), jnp.asarray(x), train=True)
    variables["params"]["scale"] = jnp.full(4, 0.5)
    found = module.apply(variables, jnp.asarray(x), train=True)
    np.testing.assert_allclose(found, np.tanh(0.5 * x), rtol=1e-12)


def test_an_experiment_runs_with_it(own_norm, tmp_path, toy, capsys):
    own_norm.write_text(own_norm.read_text() + "\n# another content, so that it is run again\n")
    call = ["--norms", "batch", "tanh", "--plugins", str(own_norm), "--steps", "4"]
    call += ["--batch-size", "10", "--out", str(tmp_path / "runs")]
    assert command_line.main(landscape.EXPERIMENT, call) == 0, capsys.readouterr().err
    assert len(list(tmp_path.glob("runs/landscape/*/landscape.png"))) == 1


def test_a_changed_file_is_another_run(own_norm):
    config = landscape.Config(plugins=(own_norm,))
    before = digest(config)
    assert before == digest(config) != digest(landscape.Config())
    own_norm.write_text(own_norm.read_text().replace("tanh(", "sin("))
    assert digest(config) != before


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (None, 2, "is not a file"),
        ("1 / 0", 1, "does not run: ZeroDivisionError"),
        ("import bnjax\nbnjax.norms.register('batch', bnjax.norms.batch_norm)", 2, "known already"),
    ],
)
def test_a_file_that_does_not_serve_gives_one_line(tmp_path, capsys, content, status, message):
    path = tmp_path / "broken.py"
    if content is not None:
        path.write_text(content)
    call = ["--plugins", str(path), "--out", str(tmp_path / "runs")]
    assert command_line.main(landscape.EXPERIMENT, call) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--norms", "bach"], "--norms bach: must be of none batch"),
        (["--batch-size", "1"], "--batch-size 1: the norm batch takes statistics over the batch"),
        (["--microbatches", "2"], "do not add up to its gradient"),
        (["--norms", "layer", "--microbatches", "3"], "must be 1 or more and divide --batch-size"),
        (["--model", "resnet", "--depth", "21"], "the nearest legal are 20 and 26"),
        (["--model", "vgg11", "--depth", "21"], "has a depth of its own"),
    ],
)
def test_what_models_and_normalisers_cannot_do_is_refused(tmp_path, capsys, arguments, message):
    call = [*arguments, "--out", str(tmp_path / "runs")]
    assert command_line.main(landscape.EXPERIMENT, call) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()
