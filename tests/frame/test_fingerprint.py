"""What decides the numbers of a run is in its fingerprint: code, its imports, settings."""

import dataclasses
import importlib
import linecache
import shutil
import sys
import types

import jax
import pytest

from bnjax.frame import fingerprint, options, study
from bnjax.frame.layout import ALONE
from bnjax.studies import landscape


@pytest.fixture
def local(tmp_path, monkeypatch):
    """A folder of a user's own modules, on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def code(*plugins, of=landscape.STUDY):
    fingerprint.LOADED.clear()  # as in a process that loads all anew
    return fingerprint.code(of, plugins)["code"]


HELPERS = {
    "plugin.py": "import helper, folder.without_init\nfrom bnjax.models import norms\nimport optax",
    "helper.py": "import own.deep\nown.deep",
    "own/__init__.py": "",
    "own/deep.py": "def late():\n    from own import later\n    return later",
    "own/later.py": "from . import beside",
    "own/beside.py": "X = 1",
    "folder/without_init.py": "X = 1",
    "unrelated.py": "X = 1",
}


def test_every_local_file_that_a_plugin_imports_counts_and_no_other(local):
    for name, text in HELPERS.items():
        (local / name).parent.mkdir(exist_ok=True)
        (local / name).write_text(text)
    first = code(local / "plugin.py")
    assert first != code()
    for name, text in HELPERS.items():
        (local / name).write_text(f"{text}\n# changed")
        assert (code(local / "plugin.py") != first) == (name != "unrelated.py"), name
        (local / name).write_text(text)
    assert code(local / "plugin.py") == first
    moved = shutil.copytree(local, local / "elsewhere" / "place")
    assert fingerprint.follow([moved / "plugin.py"])[0] != set()
    assert code(moved / "plugin.py") == first


def test_the_version_of_an_installed_package_that_a_plugin_imports_counts(local, monkeypatch):
    (local / "plugin.py").write_text("import their_layers.dense, optax, json")
    installed = local / "site-packages"
    monkeypatch.syspath_prepend(installed)
    described = installed / "layers_of_theirs-3.1.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text("Name: layers-of-theirs\nVersion: 3.1\n")
    (described / "top_level.txt").write_text("their_layers\n")
    (installed / "their_layers.py").write_text("")
    found = fingerprint.code(landscape.STUDY, [local / "plugin.py"])
    assert set(found) == {"code", "layers-of-theirs"}
    assert found["layers-of-theirs"] == "3.1"
    (installed / "their_layers.py").write_text("X = 1")
    assert fingerprint.code(landscape.STUDY, [local / "plugin.py"]) == found


STUDY_FILES = {
    "__init__.py": "from bnjax.frame.study import Study\nSTUDY = Study(__name__, question='?')",
    "measure.py": "from . import tools\ndef probes(arm):\n    return {}",
    "tools/__init__.py": "",
    "claims.py": "CLAIMS = ()",
    "figure.py": "FIGURES = ()",
}


def test_claims_and_figures_of_a_study_decide_no_numbers(local):
    for name, text in STUDY_FILES.items():
        (local / "their_study" / name).parent.mkdir(parents=True, exist_ok=True)
        (local / "their_study" / name).write_text(text)
    theirs = importlib.import_module("their_study").STUDY
    first, script = code(of=theirs), theirs.script
    for name, text in STUDY_FILES.items():
        (local / "their_study" / name).write_text(f"{text}\n# changed")
        assert (code(of=theirs) != first) == (name not in ("claims.py", "figure.py")), name
        assert theirs.script != script
        (local / "their_study" / name).write_text(text)


IN_ONE_FILE = """
from bnjax.frame.study import Study

SCALE = 2


def shared(x):
    return SCALE * x


def probes(arm):
    return {"x": shared(1)}


def shade(x):
    return x


def figure(run, published):
    return shade(shared(run))


FIGURES = (figure,)
STUDY = Study(__name__, question="?")
"""


def test_of_a_study_in_one_file_what_claims_and_figures_alone_use_does_not_count(local):
    path = local / "one_file_study.py"
    path.write_text(IN_ONE_FILE)
    theirs = importlib.import_module("one_file_study").STUDY
    first = code(of=theirs)
    for old, new, counts in (
        ("return x\n\n\ndef figure", "return 2 * x\n\n\ndef figure", False),
        ("shade(shared(run))", "2 * shade(shared(run))", False),
        ("SCALE = 2", "SCALE = 3", True),
        ("shared(1)", "shared(2)", True),
        ("SCALE = 2", "SCALE = 2  # a comment", False),
        ('question="?"', 'question="!"', True),
    ):
        assert IN_ONE_FILE.count(old) == 1
        path.write_text(IN_ONE_FILE.replace(old, new))
        assert (code(of=theirs) != first) == counts, new


PARTS = ("convolution/table.py", "data/batches.py", "frame/job.py", "losses.py", "probes/line.py")
OTHER_PARTS = ("commands/plan.py", "draw/arms.py", "judge/kit.py", "report/page.py")
OTHER_PARTS += ("frame/listener.py", "frame/messages.py", "frame/published_curves.py")
OF_STUDIES = {
    "studies/landscape/measure.py": True,  # which batch_size imports
    "studies/batch_size/__init__.py": True,
    "studies/batch_size/figure.py": False,
    "studies/landscape/claims.py": False,
    "studies/spectrum/measure.py": False,
}


def test_of_bnjax_all_that_measures_counts_and_nothing_that_judges_draws_or_reports(
    tmp_path, monkeypatch
):
    package = shutil.copytree(
        study.PACKAGE, tmp_path / "bnjax", ignore=shutil.ignore_patterns("__pycache__")
    )
    ours = importlib.import_module("bnjax.studies.batch_size").STUDY
    monkeypatch.setattr(fingerprint, "PACKAGE", package)
    monkeypatch.setattr(study, "PACKAGE", package)
    own = package / "studies" / "batch_size" / "__init__.py"
    monkeypatch.setattr(study.Study, "file", property(lambda self: own))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    first = code(of=ours)
    counts = dict.fromkeys(PARTS, True) | dict.fromkeys(OTHER_PARTS, False) | OF_STUDIES
    for name, expected in counts.items():
        text = (package / name).read_text()
        (package / name).write_text(f"{text}\n# changed")
        assert (code(of=ours) != first) == expected, name
        (package / name).write_text(text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.LearningRate, options.Training):
    """Those of every run."""


def test_a_probe_that_was_typed_into_a_notebook_counts(monkeypatch):
    def typed(text):
        name = f"<cell {text}>"
        linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
        cell = types.ModuleType("cell")
        monkeypatch.setitem(sys.modules, "cell", cell)
        exec(compile(text, name, "exec"), vars(cell))
        return code(of=study.Study("cell", question="?"))

    first = typed("def probes(arm):\n    return {}\n")
    assert typed("def probes(arm):\n    return {}\n") == first
    assert typed("def probes(arm):\n    return {1: 2}\n") != first
    assert typed("CLAIMS = ()\ndef probes(arm):\n    return {}\n") == first


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (jax.default_prng_impl("rbg"), "jax_default_prng_impl"),
        (jax.threefry_partitionable(False), "jax_threefry_partitionable"),
        (jax.disable_jit(True), "jax_disable_jit"),
        (jax.enable_x64(False), "jax_enable_x64"),
        (jax.default_matmul_precision("bfloat16"), "jax_default_matmul_precision"),
        (jax.softmax_custom_jvp(True), "jax_softmax_custom_jvp"),
        (jax.debug_nans(True), None),
        (jax.log_compiles(True), None),
    ],
)
def test_settings_that_can_change_numbers_are_in_it(change, name):
    before = fingerprint.settings()
    with change:
        now = fingerprint.settings()
    assert [key for key in now if now[key] != before[key]] == ([name] if name else [])


def test_settings_of_flax_are_in_it_too():
    import flax

    before = fingerprint.settings()
    with flax.config.temp_flip_flag("fix_rng_separator", True):
        now = fingerprint.settings()
    assert [key for key in now if now[key] != before[key]] == ["flax_fix_rng_separator"]


def test_the_device_is_the_one_that_is_computed_on(monkeypatch):
    assert fingerprint.fingerprint(ALONE)["platform"] == "cpu"
    (device,) = jax.devices()
    with jax.default_device(device):
        assert fingerprint.fingerprint(ALONE)["device"] == device.device_kind


@pytest.mark.parametrize("name", ["LIBTPU_INIT_ARGS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_variables_of_the_environment_that_xla_reads_are_in_it(monkeypatch, name):
    monkeypatch.setenv(name, "x")
    assert fingerprint.fingerprint()[name] == "x"
