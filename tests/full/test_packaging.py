"""What is installed is what is in the tree, and as little of others as was asked for."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import bnjax

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "bnjax" / "report" / "templates"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REPOSITORY = PROJECT["project"]["urls"]["Repository"].removeprefix("https://github.com/")


def test_the_version_is_said_once():
    assert PROJECT["project"]["version"] == bnjax.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## {bnjax.__version__}" in changelog
    assert f"version: {bnjax.__version__}" in (ROOT / "CITATION.cff").read_text()


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The wheel and the archive of sources, built from this tree by what is installed here."""
    place = tmp_path_factory.mktemp("packages")
    tree = place / "tree"
    leave = shutil.ignore_patterns("__pycache__")
    for name in ("bnjax", "experiments"):
        shutil.copytree(ROOT / name, tree / name, ignore=leave)
    for path in (ROOT / ".gitignore", *ROOT.glob("[A-Zpr]*.*"), ROOT / "LICENSE"):
        shutil.copy(path, tree)
    build = "import hatchling.build as b, sys; b.build_wheel(*sys.argv[1:]); "
    call = [sys.executable, "-c", build + "b.build_sdist(*sys.argv[1:])", str(place)]
    done = subprocess.run(call, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(place.glob("*.whl")), next(place.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def described(packages):
    """The wheel's metadata."""
    archive = zipfile.ZipFile(packages[0])
    return message_from_bytes(archive.read(f"bnjax-{bnjax.__version__}.dist-info/METADATA"))


def test_a_wheel_has_the_studies_the_templates_the_command_and_its_types(packages):
    wheel, sources = packages
    assert wheel.name == f"bnjax-{bnjax.__version__}-py3-none-any.whl"
    archive = zipfile.ZipFile(wheel)
    names = set(archive.namelist())
    wanted = {f"bnjax/report/templates/{path.name}" for path in TEMPLATES.iterdir()}
    wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "bnjax").rglob("*.py")}
    wanted |= {"bnjax/data/shakespeare.txt.gz", "bnjax/data/SHAKESPEARE_LICENSE.txt"}
    assert wanted | {"bnjax/py.typed"} <= names
    entry_points = archive.read(f"bnjax-{bnjax.__version__}.dist-info/entry_points.txt")
    assert b"bnjax = bnjax.__main__:main" in entry_points
    top = f"bnjax-{bnjax.__version__}/"
    with tarfile.open(sources) as opened:
        inside = {name.removeprefix(top) for name in opened.getnames()}
    assert wanted | {"README.md", "LICENSE", "pyproject.toml", "experiments/landscape.py"} <= inside


def test_an_index_takes_the_packages(packages):
    pytest.importorskip("twine", reason="pip install 'bnjax[dev]'")
    call = [sys.executable, "-m", "twine", "check", "--strict", *map(str, packages)]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_on_an_index_page_the_links_of_the_readme_lead_to_the_repository(described):
    shown = described.get_payload(decode=True).decode()
    readme = (ROOT / "README.md").read_text()
    links = re.compile(r"(!?)\[[^\]]*\]\(([^)]*)\)")
    own, theirs = links.findall(readme), links.findall(shown)
    assert len(own) == len(theirs) > 40
    for (picture, target), (_, found) in zip(own, theirs, strict=True):
        if target.startswith(("https:", "#")):
            assert found == target
            continue
        assert (ROOT / target.partition("#")[0]).exists(), target
        file = f"https://raw.githubusercontent.com/{REPOSITORY}/main/{target}"
        page = f"https://github.com/{REPOSITORY}/blob/main/{target}"
        assert found == (file if picture else page)
    assert links.sub("", shown) == links.sub("", readme)


# --- environments that hold only the chosen extras


def asked(described, extras):
    """What bnjax asks for with some extras."""
    for text in described.get_all("Requires-Dist"):
        one = Requirement(text)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras):
            if one.name == "bnjax":
                yield from asked(described, one.extras)
            else:
                yield one


def brought(requirement, found):
    """Add the distributions that a requirement brings, of those that are installed here."""
    own = requirement.name.lower().replace("_", "-")
    if found.setdefault(own, set()) >= {"", *requirement.extras}:
        return
    found[own] |= {"", *requirement.extras}
    for text in importlib.metadata.requires(own) or ():
        one = Requirement(text)
        if one.marker is None or any(
            one.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)
        ):
            brought(one, found)


@pytest.fixture(scope="module")
def environment(packages, described, tmp_path_factory):
    """`environment(*extras)` is the Python of an environment with bnjax and what these bring.

    Other packages are linked to those of this environment, so that nothing is downloaded.
    """
    made = {}

    def make(*extras):
        if extras not in made:
            made[extras] = build(extras)
        return made[extras]

    def build(extras):
        place = tmp_path_factory.mktemp("environment")
        venv.create(place, symlinks=True)
        bases = {"base": str(place), "platbase": str(place)}
        site = Path(sysconfig.get_path("purelib", "venv", bases))
        zipfile.ZipFile(packages[0]).extractall(site)
        found = {}
        for one in asked(described, extras):
            brought(one, found)
        for name in found:
            one = importlib.metadata.distribution(name)
            for top in {file.parts[0] for file in one.files} - {"..", "__pycache__"}:
                if not (site / top).exists():
                    (site / top).symlink_to(one.locate_file(top))
        return place / "bin" / "python"

    return make


def run(python, place, *arguments):
    """What a program prints, run by a Python that sees no other packages."""
    shown = {"PATH": os.environ["PATH"], "HOME": str(place), "JAX_PLATFORMS": "cpu"}
    call = [python, *arguments]
    return subprocess.run(call, cwd=place, env=shown, capture_output=True, text=True)


PROBED = """
import importlib.util, jax, jax.numpy as jnp
from bnjax import probes

assert not [name for name in ("flax", "xarray", "tyro", "rich") if importlib.util.find_spec(name)]
loss = lambda w: 0.5 * jnp.sum(jnp.array([1.0, 4.0]) * w**2)
line = probes.line(loss, jnp.ones(2), jnp.array([0.1, 0.25]))
show = lambda values: [round(float(value), 3) for value in values]
print(show(line.losses), show(line.smoothness))
found = probes.spectrum(loss, jnp.ones(2), jax.random.key(0), lanczos_steps=2, top=2)
print(show(found.largest))
"""
LOSSES = """
import jax.numpy as jnp
from bnjax import losses
from bnjax.data import Batch

class Linear:
    def apply(self, params, batch_stats, images, *, train, key=None):
        return images @ params, batch_stats
    def moments(self, params, batch_stats, images, *, key=None):
        return batch_stats

batch = Batch(jnp.array([[1.0, 0.0], [0.0, 2.0]]), jnp.array([0, 1]))
loss = losses.on_batch(Linear(), {}, batch)
print(round(float(loss(jnp.zeros((2, 2)))), 4), round(float(loss(jnp.eye(2))), 4))
"""


def test_the_core_alone_probes_a_loss_of_plain_jax(environment, tmp_path):
    done = run(environment(), tmp_path, "-c", PROBED)
    assert done.stderr == ""
    # w − ηg = (1 − η, 1 − 4η); β = ‖(1, 16)‖/‖(1, 4)‖ at every η
    assert done.stdout.splitlines() == ["[1.125, 0.281] [3.888, 3.888]", "[4.0, 1.0]"]


def test_the_core_alone_makes_the_loss_of_a_plain_function(environment, tmp_path):
    done = run(environment(), tmp_path, "-c", LOSSES)
    assert done.stderr == ""
    # ln 2, and the mean of ln(1 + e⁻¹) and ln(1 + e⁻²)
    assert done.stdout == "0.6931 0.2201\n"


LINE = "import jax.numpy as jnp; from bnjax import probes; "
LINE += "line = probes.line(lambda w: jnp.sum(w**2), jnp.ones(3), jnp.array([0.1, 0.2])); "
MISSING = [
    ("from bnjax import models", "flax", "flax"),
    ("import bnjax.models.vgg", "flax", "flax"),
    ("import bnjax; bnjax.norms", "flax", "flax"),
    ("from bnjax import train", "flax", "flax"),
    ("import bnjax; bnjax.plot", "matplotlib|xarray", "plot"),
    ("from bnjax import draw", "matplotlib|xarray", "plot"),
    (LINE + "line.plot()", "matplotlib|xarray", "plot"),
    (LINE + "line.to_xarray()", "xarray", "plot"),
    (LINE + "line.to_dataframe()", "xarray", "plot"),
    ("import bnjax; bnjax.start('landscape')", "rich|tyro", "studies"),
    ("from bnjax.studies.landscape import STUDY", "tyro", "studies"),
    ("from bnjax.data import load; load('digits')", "scikit-learn", "studies"),
    ("from bnjax.data import load; load('mnist', '.')", "tensorflow_datasets", "data"),
]


@pytest.mark.parametrize(("program", "package", "extra"), MISSING)
def test_a_missing_package_is_one_line_with_its_command(
    environment, tmp_path, program, package, extra
):
    (tmp_path / "mnist").mkdir()
    done = run(environment(), tmp_path, "-c", program)
    assert done.returncode == 1
    command = re.escape(f'is not installed: pip install "bnjax[{extra}]"')
    said = rf"bnjax\.errors\.MissingPackage: ({package}) {command}"
    assert re.fullmatch(said, done.stderr.splitlines()[-1]), done.stderr


@pytest.mark.parametrize("arguments", [[], ["landscape"], ["list", "--json"], ["--help"]])
def test_the_command_without_its_packages_is_one_line(environment, tmp_path, arguments):
    done = run(environment(), tmp_path, "-m", "bnjax", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == 'error: rich is not installed: pip install "bnjax[studies]"\n'


def test_with_the_packages_of_plots_alone_a_probe_draws(environment, tmp_path):
    program = "line.plot(lr=0.1).save('.'); print(line.to_xarray()['losses'].round(2).values)"
    done = run(environment("plot"), tmp_path, "-c", LINE + program)
    assert done.stderr == ""
    assert done.stdout == "[1.92 1.08]\n"
    assert {path.suffix for path in tmp_path.iterdir()} >= {".png", ".pdf", ".svg", ".csv"}


def test_the_packages_of_studies_run_one_to_its_page(environment, tmp_path):
    tiny = ["--preset", "toy", "--model", "mlp", "--width", "0.1", "--steps", "6"]
    tiny += ["--probe-every", "2", "--batch-size", "32"]
    done = run(environment("studies"), tmp_path, "-m", "bnjax", "landscape", *tiny)
    assert done.returncode == 0, done.stderr
    (page,) = tmp_path.glob("runs/landscape/*/report.html")
    assert page.stat().st_size > 10**5
