"""A run is broken off and one thing changed: the same command never mixes two kinds of numbers."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import compiled
import numpy as np
import pytest
from toy_runs import look

from bnjax.frame import folder, results
from bnjax.frame.study import PACKAGE
from faults import toy as toys
from faults.toy import COMMON
from faults.trials import counted, number

# The command `bnjax`, with images from a file of arrays and a figure that takes no time.
LAUNCHER = """
import sys
from pathlib import Path

import numpy as np

from bnjax.commands import program
from bnjax.data import sources
from bnjax.data.dataset import from_arrays
from faults import hooks


def load(name, data_dir):
    with np.load(Path(data_dir) / "images.npz") as found:
        train, test = ((found[f"{s}_pixels"], found[f"{s}_labels"]) for s in ("train", "test"))
    return from_arrays(name, 10, train, test, "made up")


sources.load_tfds = load
hooks.small_figure({})
sys.exit(program.main(sys.argv[1:]))
"""
FILES = {
    "launcher.py": LAUNCHER,
    "plugin.py": "import helper\nfrom bnjax import norms\n\nnorms.register('half', helper.half)\n",
    "helper.py": """
import constants
import flax.linen as nn

from bnjax import norms


class Half(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        return constants.HALF * x


def half():
    return norms.Norm("half", Half)
""",
    "constants.py": "HALF = 0.5\n",
}


class Trial(NamedTuple):
    """A place with code, data, runs and a working folder, and the environment of the command."""

    place: Path
    environment: dict[str, str]

    @property
    def run(self) -> Path:
        return toys.run_folder(self.place / "out")

    def call(self) -> subprocess.CompletedProcess:
        """The command, the same in every trial but for where all lies."""
        (self.place / "work").mkdir(exist_ok=True)
        arguments = [
            "landscape", "--model", "mlp", "--depth", "2", "--width", "0.1", *COMMON,
            "--dataset", "mnist", "--data-dir", self.place / "data", "--norms", "half",
            "--plugins", self.place / "tree" / "plugin.py", "--out", self.place / "out",
            "--checkpoints-kept", "100",
        ]  # fmt: skip
        return subprocess.run(
            [sys.executable, self.place / "tree" / "launcher.py", *map(str, arguments)],
            cwd=self.place / "work",
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Iterator[Trial]:
    """A finished run."""
    place, programs = tmp_path_factory.mktemp("whole"), compiled.Programs()
    shutil.copytree(PACKAGE, place / "tree" / "bnjax", ignore=shutil.ignore_patterns("*.pyc"))
    for name, text in FILES.items():
        (place / "tree" / name).write_text(text)
    (place / "data").mkdir()
    write_images(place / "data")
    cleared = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "BNJAX_"))}
    tests = Path(__file__).parents[2]
    environment = {
        **cleared,
        "PYTHONPATH": os.pathsep.join(map(str, (tests / "full", tests))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(programs.folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    trial = Trial(place, environment)
    done = trial.call()
    assert done.returncode == 0, done.stderr
    yield trial
    programs.close()


def write_images(place: Path, change: Callable[[dict], None] = lambda arrays: None) -> None:
    """Images of noise, the same each time but for a change."""
    generator = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 96), ("test", 32)):
        arrays[f"{split}_pixels"] = generator.integers(0, 256, (count, 8, 8, 1), np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 10
    change(arrays)
    np.savez(place / "images.npz", **arrays)


@pytest.fixture
def trial(whole, tmp_path) -> Trial:
    """A copy of it elsewhere, broken off at step 8."""
    place = shutil.copytree(whole.place, tmp_path / "trial")
    found = Trial(place, dict(whole.environment))
    for name in (folder.RESULTS, folder.METRICS, folder.SUMMARY):
        (found.run / name).unlink()
    for path in found.run.glob("checkpoints/*/*"):
        if int(path.name) > 8:
            shutil.rmtree(path)
    assert {path.name for path in found.run.glob("checkpoints/*/*")} == {"4", "8"}
    return found


def other_data(array: str) -> Callable[[Trial], None]:
    def change(arrays: dict) -> None:
        arrays[array].flat[0] ^= 1

    return lambda trial: write_images(trial.place / "data", change)


def setting(**names: str) -> Callable[[Trial], None]:
    return lambda trial: trial.environment.update(names)


def edited(name: str, text: str = "\nCHANGED = 1\n") -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        with open(trial.place / "tree" / name, "a") as file:
            file.write(text)

    return act


def finished_before(trial: Trial) -> None:
    """The whole run is there, and then the data become others."""
    assert trial.call().returncode == 0
    other_data("train_pixels")(trial)


def another_version(trial: Trial) -> None:
    found = trial.place / "tree" / "optax-99.dist-info"
    found.mkdir()
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: optax\nVersion: 99\n")


def moved_data(trial: Trial) -> None:
    (trial.place / "data").rename(trial.place / "moved")
    (trial.place / "data").symlink_to(trial.place / "moved", target_is_directory=True)


def rc_here(trial: Trial) -> None:
    (trial.place / "work").mkdir(exist_ok=True)
    (trial.place / "work" / "matplotlibrc").write_text("svg.hashsalt: bnjax\nfont.size: 30\n")


def rc_at_home(trial: Trial) -> None:
    (trial.place / "home").mkdir()
    (trial.place / "home" / "matplotlibrc").write_bytes(b"\xff")
    names = ("HOME", "MPLCONFIGDIR", "MATPLOTLIBRC")
    trial.environment.update(dict.fromkeys(names, str(trial.place / "home")))


# What is changed; what of the fingerprint is named; the first ones are tried at each change.
REFUSED = {
    "other images": (other_data("train_pixels"), "data"),
    "finished, other images": (finished_before, "data"),
    "rbg": (setting(JAX_DEFAULT_PRNG_IMPL="rbg"), "jax_default_prng_impl"),
    "fewer optimisations": (
        setting(JAX_DISABLE_MOST_OPTIMIZATIONS="1"),
        "jax_disable_most_optimizations",
    ),
    "another loss": (edited("bnjax/losses.py"), "code"),
    "another import of a plugin's import": (edited("constants.py"), "code"),
    "other labels": (other_data("train_labels"), "data"),
    "other test images": (other_data("test_pixels"), "data"),
    "threefry": (setting(JAX_THREEFRY_PARTITIONABLE="0"), "jax_threefry_partitionable"),
    "no jit": (setting(JAX_DISABLE_JIT="1"), "jax_disable_jit"),
    "64 bits": (setting(JAX_ENABLE_X64="1"), "float64"),
    "seeds": (setting(JAX_RANDOM_SEED_OFFSET="1"), "jax_random_seed_offset"),
    "precision": (
        setting(JAX_DEFAULT_MATMUL_PRECISION="bfloat16"),
        "jax_default_matmul_precision",
    ),
    "random keys of Flax": (setting(FLAX_FIX_RNG_SEPARATOR="1"), "flax_fix_rng_separator"),
    "another convolution": (edited("bnjax/convolution/forms.py"), "code"),
    "another loop": (edited("bnjax/train/loop.py"), "code"),
    "other probes": (edited("bnjax/studies/landscape/measure.py"), "code"),
    "another study": (edited("bnjax/studies/landscape/__init__.py"), "code"),
    "another import of a plugin": (edited("helper.py"), "code"),
    "another optax": (another_version, "optax"),
}
SAID = {
    "flags": (setting(XLA_FLAGS="--xla_cpu_enable_fast_math=false"), "XLA_FLAGS"),
    "threads": (setting(NPROC="1"), "NPROC"),
    "convolutions": (setting(BNJAX_WINOGRAD="0"), "BNJAX_WINOGRAD"),
    "TF32": (setting(NVIDIA_TF32_OVERRIDE="0"), "NVIDIA_TF32_OVERRIDE"),
}
THE_SAME = {
    "matplotlibrc": rc_here,
    "matplotlibrc of the home": rc_at_home,
    "order of sets": setting(PYTHONHASHSEED="7"),
    "place and time": setting(TZ="Asia/Tokyo", LANG="de_DE.UTF-8", LC_ALL="C", TMPDIR="/"),
    "data elsewhere": moved_data,
    "claims": edited("bnjax/studies/landscape/claims.py"),
}
KINDS = [*list(REFUSED)[:6], *list(SAID)[:1], *list(THE_SAME)[:1]]
KINDS += [name for name in (*REFUSED, *SAID, *THE_SAME) if name not in KINDS]


def test_each_kind_is_tried_once():
    assert len(set(KINDS)) == len(KINDS) == len(REFUSED) + len(SAID) + len(THE_SAME)
    assert number("mixing") <= len(KINDS)


@pytest.mark.parametrize("kind", KINDS[: number("mixing")])
def test_what_changed_is_refused_or_said_or_changes_nothing(whole, trial, kind):
    with counted("mixing"):
        change, named = ({**REFUSED, **SAID} | {k: (v, "") for k, v in THE_SAME.items()})[kind]
        change(trial)
        before = look(trial.run)
        done = trial.call()
        if kind in REFUSED:
            assert done.returncode == 1, done.stderr
            assert done.stderr.count("\n") == 1
            assert f"made under {named} " in done.stderr
            assert "--fresh" in done.stderr
            assert "--accept-changes" in done.stderr
            assert look(trial.run) == before
            return
        assert done.returncode == 0, done.stderr
        continued = folder.read_config(trial.run).continued
        if kind in SAID:
            assert f"was begun under {named} " in done.stderr
            assert [list(one) for one in continued] == [[named]]
            return
        assert not set().union(*continued) - folder.TOLD
        found, expected = (results.read(one.run).data for one in (trial, whole))
        assert found.identical(expected)
        for name in (folder.METRICS, "landscape.svg", "landscape.png", "landscape.csv"):
            assert (trial.run / name).read_bytes() == (whole.run / name).read_bytes(), name
        for job in (trial.run / "checkpoints").iterdir():
            own, other = (toys.last_arrays(one.run, one.run / "checkpoints" / job.name)
                          for one in (trial, whole))  # fmt: skip
            assert own == other
