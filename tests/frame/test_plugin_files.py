"""Normalisers and networks of one's own: the files that are printed, in a study."""

import functools
import inspect
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnjax import models
from bnjax.commands import command_line
from bnjax.draw import network
from bnjax.errors import UsageError
from bnjax.frame import arm, folder, results
from bnjax.frame import study as studies
from bnjax.frame.study import load_plugins
from bnjax.models import norms
from bnjax.studies import distributions, earth_mover, landscape, noisy_batchnorm, shift, theory

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "extending.md").read_text()


@pytest.fixture
def own_norm(tmp_path, monkeypatch):
    """The guide's file, and a registry that forgets it afterwards."""
    monkeypatch.setattr(norms.registry, "REGISTRY", dict(norms.REGISTRY))
    (printed,) = re.findall(r"```python\n(# my_norm\.py.*?)```", GUIDE, re.DOTALL)
    path = tmp_path / "my_norm.py"
    path.write_text(printed)
    return path


@pytest.fixture
def families():
    """The known networks; what a test adds to them is forgotten afterwards."""
    before = dict(models.FAMILIES)
    yield models.FAMILIES
    models.FAMILIES.clear()
    models.FAMILIES.update(before)


def test_the_guides_normaliser_is_its_formula(own_norm):
    load_plugins([own_norm, own_norm])  # naming a file twice runs it once
    module = norms.by_name("tanh").build(name=None)
    x = np.random.default_rng(0).normal(size=(3, 4))
    variables = module.init(jax.random.key(0), jnp.asarray(x), train=True)
    variables["params"]["scale"] = jnp.full(4, 0.5)
    found = module.apply(variables, jnp.asarray(x), train=True)
    np.testing.assert_allclose(found, np.tanh(0.5 * x), rtol=1e-12)


def test_the_signal_survives_the_guides_normaliser(own_norm):
    """So that the network of the guide's command trains."""
    own_norm.write_text(own_norm.read_text() + "\n# for the signal\n")
    load_plugins([own_norm])
    images = jax.random.normal(jax.random.key(0), (16, 16, 16, 1), jnp.float32)
    deviations = {}
    for name in ("none", "tanh"):
        model = models.vgg5(norm=norms.by_name(name), width=0.25)
        variables = model.init(jax.random.key(1), images)
        outputs = jax.jit(functools.partial(model.preactivations, **variables))(images=images)
        deviations[name] = float(jnp.std(outputs["output"]))
    assert deviations["tanh"] > 0.5 * deviations["none"]


def test_a_study_runs_with_it(own_norm, tmp_path, toy, capsys):
    own_norm.write_text(own_norm.read_text() + "\n# another content, so that it is run again\n")
    call = ["--norms", "batch", "tanh", "--plugins", str(own_norm), "--steps", "4"]
    call += ["--batch-size", "10", "--out", str(tmp_path / "runs")]
    assert command_line.main(landscape.STUDY, call) == 0, capsys.readouterr().err
    assert len(list(tmp_path.glob("runs/landscape/*/landscape.png"))) == 1


def test_a_study_trains_a_network_of_ones_own(tmp_path, capsys, families):
    (printed,) = re.findall(r"```python\n(# my_model\.py.*?)```", GUIDE, re.DOTALL)
    path = tmp_path / "my_model.py"
    path.write_text(printed)
    call = ["--model", "tiny", "--norms", "batch", "--plugins", str(path), "--steps", "2"]
    call += ["--batch-size", "10", "--probe-every", "1", "--lr", "0.1"]
    call += ["--out", str(tmp_path / "runs")]
    assert command_line.main(shift.STUDY, call) == 0, capsys.readouterr().err
    (run,) = tmp_path.glob("runs/shift/*")
    found = results.read(run)
    assert found.values("layer") == ["conv1", "conv2", "output"]
    assert found.options["layers"] == ["conv2"]  # of the usual ones none is in it
    assert network(found.options) == "tiny"  # what its figures say


NESTED = """
import flax.linen as nn

from bnjax import models, norms
from bnjax.models.layers import Convolution, Dense


class Block(nn.Module):
    norm: norms.Norm
    kernel_init: object

    @nn.compact
    def __call__(self, x, training):
        y = Convolution(4, self.norm, self.kernel_init, name="conv1")(x, train=training)
        y = Convolution(4, self.norm, self.kernel_init, name="conv2")(nn.relu(y), train=training)
        return nn.relu(x + y)


class Nested(nn.Module):
    norm: norms.Norm
    kernel_init: object
    num_classes: int

    @nn.compact
    def __call__(self, images, training=False):
        x = nn.relu(nn.LayerNorm()(nn.Conv(4, (3, 3), strides=2, name="stem")(images)))
        for name in ("late", "early"):
            x = Block(self.norm, self.kernel_init, name=name)(x, training)
        x = x.mean(axis=(1, 2))
        output = Dense(self.num_classes, norms.none(), self.kernel_init, name="output")
        return {"logits": output(x, train=training), "features": x}


def nested(*, norm, num_classes, initializer):
    return models.Model(Nested(norm, models.layers.initializer(initializer), num_classes))


models.register("nested", models.Family(nested, options=()))
"""
IN_BLOCKS = ("late/conv1", "late/conv2", "early/conv1", "early/conv2")


@pytest.mark.parametrize(
    "name",
    [
        "shift",
        *(
            pytest.param(name, marks=pytest.mark.full)  # many compiles
            for name in [
                "distributions",
                "earth_mover",
                "gradient_magnitudes",
                "theory",
                "vgg_training",
            ]
        ),
    ],
)
def test_a_network_of_nested_modules_runs_in_every_study(name, tmp_path, capsys, families):
    path = tmp_path / "nested.py"
    path.write_text(f"{NESTED}# {name}")  # another content, so that it is run again
    call = ["--preset", "toy", "--model", "nested", "--plugins", str(path), "--seeds", "1"]
    if name in ("shift", "distributions", "earth_mover", "theory"):
        call += ["--layers", "late/conv2", "early/conv1"]
    call += ["--out", str(tmp_path / "runs")]
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        assert command_line.main(studies.find(name), call) == 0, capsys.readouterr().err
    (run,) = tmp_path.glob(f"runs/{name}/*")
    found = results.read(run)
    if name == "shift":
        assert found.values("layer") == ["stem", *IN_BLOCKS, "output"]
        distances = found["shift_relative_distances"]
        assert (distances.sel(layer="stem") < 1e-5).all()  # nothing is below it
        assert (distances.sel(layer=[*IN_BLOCKS, "output"]) > 1e-5).all()


def build(made=None, **expected):
    """A constructor of networks that takes these options."""

    def call(*, norm, num_classes, initializer, **options):
        if options.keys() != expected.keys():
            raise TypeError(f"not for {sorted(options)}")
        return made or models.mlp(norm=norm, num_classes=num_classes, initializer=initializer)

    return call


def test_registered_networks_get_their_options(families):
    found = {}

    def deep(*, norm, num_classes, initializer, depth, width):
        found.update(depth=depth, width=width)
        return models.mlp(norm=norm, num_classes=num_classes, initializer=initializer)

    models.register("deep", models.Family(deep, ("depth", "width"), depth=7))
    common = {"norm": norms.none(), "num_classes": 10, "initializer": "he_normal", "width": 0.5}
    models.by_name("deep", **common)
    assert found == {"depth": 7, "width": 0.5}
    models.by_name("deep", **common, depth=3)
    assert found == {"depth": 3, "width": 0.5}
    with pytest.raises(UsageError, match="model deep has no dropout"):
        models.by_name("deep", **common, dropout=0.5)
    options = {"depth": 3, "width": 0.5, "dropout": 0.0}
    assert network({"model": "deep", **options}) == "deep-3 ×0.5"


@pytest.mark.parametrize(
    ("name", "family", "message"),
    [
        ("../up", models.Family(build()), r"'\.\./up' must be of letters"),
        ("vgg11", models.Family(build()), "'vgg11' is known already"),
        ("own", models.Family(build(), ("size",)), "has options size: they must be of width"),
        ("own", models.Family(build(), ("depth",)), "give a usual depth if depth is among"),
        ("own", models.Family(build(), (), depth=3), "give a usual depth if depth is among"),
        ("own", models.Family(build(), ("width",)), r"cannot be built .*width=….*TypeError: not"),
        ("own", models.Family(build(made="a net"), ()), "'own' is built as a str: return a Model"),
    ],
)
def test_registering_refuses_what_builds_no_network(name, family, message, families):
    known = dict(families)
    with pytest.raises(UsageError, match=message):
        models.register(name, family)
    assert known == models.FAMILIES


def test_registering_refuses_a_bare_function():
    with pytest.raises(UsageError, match=r"'own' is a function: give Family\(build, …\)"):
        inspect.unwrap(models.register)("own", build())


def test_a_changed_file_is_another_run(own_norm):
    options = landscape.Options(plugins=(own_norm,))
    before = folder.digest(options)
    assert before == folder.digest(options) != folder.digest(landscape.Options())
    own_norm.write_text(own_norm.read_text().replace("tanh(", "sin("))
    assert folder.digest(options) != before


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (None, 2, "is not a file"),
        ("1 / 0", 1, "does not run: ZeroDivisionError"),
        ("import no_such_module", 1, "does not run: ModuleNotFoundError"),
        ("import sys\nsys.exit()", 1, "does not run: SystemExit()"),
        ("raise BaseException('odd')", 1, "does not run: BaseException('odd')"),
        ("import bnjax\nbnjax.norms.register('batch', bnjax.norms.batch_norm)", 2, "known already"),
    ],
)
def test_a_file_that_does_not_serve_gives_one_line(tmp_path, capsys, content, status, message):
    path = tmp_path / "broken.py"
    if content is not None:
        path.write_text(content)
    call = ["--plugins", str(path), "--out", str(tmp_path / "runs")]
    assert command_line.main(landscape.STUDY, call) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


FAILING = """
import sys

import flax.linen as nn

from bnjax import norms


class Failing(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        if x.shape[-1] == 4:  # in the network, not where it is registered
            {act}
        return x


norms.register("failing", lambda: norms.Norm("failing", Failing))
"""


@pytest.mark.parametrize(
    ("act", "status", "message"),
    [
        ("raise ValueError('odd\\nshape')", 1, "ValueError: odd shape"),
        ("sys.exit()", 1, "SystemExit"),
        ("raise BaseException('odd')", 1, "BaseException: odd"),
        ("return x[:1]", 2, "norm 'failing' makes float32 (1, 8, 8, 4) of (2, 8, 8, 4): return"),
        ("x = x.astype(int)", 2, "norm 'failing' makes int64 (2, 8, 8, 4) of (2, 8, 8, 4): return"),
    ],
)
@pytest.mark.parametrize("norms_first", [["none"], []])
def test_a_plugin_that_fails_in_a_network_is_named_and_nothing_is_trained(
    own_norm, tmp_path, toy, capsys, act, status, message, norms_first
):
    own_norm.write_text(FAILING.format(act=act) + f"# {norms_first}")  # so that it is run again
    call = ["--norms", *norms_first, "failing", "--plugins", str(own_norm), "--steps", "2"]
    call += ["--batch-size", "10", "--out", str(tmp_path / "runs")]
    assert command_line.main(landscape.STUDY, call) == status
    error = capsys.readouterr().err
    if status == 1:
        message = f"the arm failing, seed 0 cannot be trained: {message}"
        assert f"({own_norm}, line 13); mend it" in error
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_plugin_that_fails_in_a_step_is_named_and_leaves_no_run(own_norm, tmp_path, toy, capfd):
    act = "jax.debug.callback(lambda x: 1 / 0, x)"
    own_norm.write_text(FAILING.format(act=act).replace("import sys", "import jax"))
    call = ["--norms", "failing", "--plugins", str(own_norm), "--steps", "2", "--batch-size", "10"]
    call += ["--seeds", "1", "--out", str(tmp_path / "runs")]
    assert command_line.main(landscape.STUDY, call) == 1
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("error: 1 of 1 arms failed: failing, seed 0: JaxRuntimeError")
    assert f"({own_norm}, line 13): the same command tries again" in error
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("fresh", [[], ["--fresh"]])
def test_a_run_that_fails_before_anything_is_saved_leaves_nothing_behind(
    toy, tmp_path, capsys, monkeypatch, fresh
):
    def fails(*_):
        raise ValueError("odd")

    call = ["--norms", "none", "--steps", "2", "--batch-size", "10", "--seeds", "1"]
    call += ["--out", str(tmp_path / "runs")]
    if fresh:
        assert command_line.main(landscape.STUDY, call) == 0
    before = sorted(tmp_path.glob("runs/landscape/*"))
    monkeypatch.setattr("bnjax.frame.job.run_arm", fails)
    assert command_line.main(landscape.STUDY, [*call, *fresh]) == 1
    assert "1 of 1 arms failed: none, seed 0: ValueError: odd" in capsys.readouterr().err
    left = [path.with_suffix("") for path in sorted(tmp_path.glob("runs/landscape/*"))]
    assert left == before  # the finished one was set aside
    assert (tmp_path / "runs").exists() == bool(fresh)


STUDIES = {
    "shift": (shift, ("conv5", "conv8")),
    "distributions": (distributions, ("conv3", "conv7")),
    "earth_mover": (earth_mover, ("conv1", "conv3", "conv5", "conv8")),
    "theory": (theory, ("conv5", "conv8")),
    "noisy_batchnorm": (noisy_batchnorm, ("conv3", "conv7")),
}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("vgg19", {}),  # the usual layers are in it
        ("mlp", {"shift": ("dense2", "dense3"), "earth_mover": ("dense1", "dense2", "dense3")}),
        ("lenet", {"theory": ("dense1", "dense2"), "distributions": ("conv2", "dense2")}),
    ],
)
@pytest.mark.parametrize("name", STUDIES)
def test_usual_layers_are_spread_over_the_layers_of_another_network(name, model, expected):
    module, usual = STUDIES[name]
    options = command_line.prepare(module.STUDY, ["--model", model])
    known = models.layer_names(arm.build_model(options, "none", 10), (32, 32, 3))
    assert set(options.layers) <= set(known)
    assert options.layers == (expected.get(name, options.layers) if expected else usual)


@pytest.mark.parametrize("name", STUDIES)
def test_layers_of_presets_are_in_their_networks_and_stay(name):
    module, _ = STUDIES[name]
    for preset in ("quick", "paper", "toy"):
        options = command_line.parse(module.STUDY, ["--preset", preset])
        assert arm.spread_layers(module.STUDY, options) is options
