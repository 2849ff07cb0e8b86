"""Pages: programs run, commands are legal, links lead somewhere, Sphinx has nothing to warn of."""

import contextlib
import dataclasses
import importlib
import inspect
import os
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import jax
import pytest

from bnjax.commands import command_line, program
from bnjax.frame import options
from bnjax.frame import study as studies

ROOT = Path(__file__).parents[2]
DOCS, API = ROOT / "docs", sorted((ROOT / "docs" / "api").glob("*.md"))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(path for path in DOCS.glob("[!_]*.md")),
    *API,
    *sorted((ROOT / "bnjax" / "studies").glob("*/page.md")),
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+)\.py\n")
CALL = re.compile(r"(?:python experiments/(\w+)\.py|(?<![\w./])bnjax ([a-z]\w*))(.*)")
OPTIONAL = ("equinox", "haiku")  # libraries of models, which bnjax does not need
OWN_PROCESS = "jax_num_cpu_devices"  # such a block wants a process that has computed nothing yet
PUBLIC = ("draw", "data", "losses", "models", "norms", "probes", "train")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """The code blocks of a page in one language, each with the number of its first line."""
    text = page.read_text()
    return [
        (text[: found.start(2)].count("\n") + 1, found[2])
        for found in BLOCK.finditer(text)
        if found[1] == language
    ]


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def each(pages):
    return pytest.mark.parametrize("page", pages, ids=name_of)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A reader's folder; what its files register is forgotten afterwards."""
    from bnjax.models import FAMILIES, norms

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    modules, registered = set(sys.modules), [(r, dict(r)) for r in (norms.REGISTRY, FAMILIES)]
    yield tmp_path
    for name in set(sys.modules) - modules:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]
    for known, before in registered:
        known.clear()
        known.update(before)


@contextlib.contextmanager
def reader():
    """JAX as a reader has it, and programs compiled in a hurry."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    ranks, dtypes = jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard")
    try:
        with jax.enable_x64(False), ranks, dtypes:
            yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def write_files(page: Path, place: Path) -> None:
    """The blocks of a page that begin with `# name.py`, as files."""
    for _, block in blocks(page, "python"):
        if named := FILE.match(block):
            (place / f"{named[1]}.py").write_text(block)


@each([page for page in PAGES if blocks(page, "python")])
def test_every_program_of_a_page_runs(page, place):
    for library in OPTIONAL:
        if f"import {library}" in page.read_text():
            pytest.importorskip(library, reason="pip install 'bnjax[dev]'")
    write_files(page, place)
    module = types.ModuleType("page")
    with reader():
        for line, block in blocks(page, "python"):
            if named := FILE.match(block):
                importlib.import_module(named[1])
            elif OWN_PROCESS in block:
                environment = {**os.environ, "PYTHONPATH": str(ROOT)}
                subprocess.run([sys.executable, "-c", block], check=True, env=environment)
            else:  # empty lines in front, so that a traceback names the page's own line
                exec(compile("\n" * (line - 1) + block, str(page), "exec"), module.__dict__)


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """The commands of bnjax in a page's shell lines, each with its arguments."""
    found = []
    for _, block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            called = CALL.search(line.partition("#")[0].replace('"', ""))
            if called:
                found.append((called[1] or called[2], shlex.split(called[3])))
    return found


@each([page for page in PAGES if commands(page)])
def test_every_command_of_a_page_is_legal(page, place):
    write_files(page, place)
    (place / "DIR").mkdir()
    for name, arguments in commands(page):
        if name not in studies.names():
            assert name in {*program.COMMANDS, *program.MODULES, "help"}, name
            continue
        with reader():
            chosen = command_line.parse(studies.find(name), arguments)
            if not chosen.plugins:
                options.check(chosen)


@each(PAGES)
def test_every_file_and_figure_that_a_page_names_exists(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)(?:#[^)]*)?\)", prose(page)):
        assert (page.parent / target).exists(), target
    for name in re.findall(r"`((?:[\w.]+/)+\w+\.(?:py|md|ipynb|png))`", prose(page)):
        if name.split("/")[0] in {"bnjax", "docs", "experiments", "figures", "notebooks", "tests"}:
            assert "NAME" in name or (ROOT / name).exists(), name


def known_options() -> set[str]:
    """Every option of every study, as it is typed, and those of other commands."""
    found = {"help", "help-all", "version", "config", "dry-run", "json", "compare", "lrs"}
    found |= {"learning-rate"}
    for name in studies.names():
        for field in dataclasses.fields(studies.find(name).options):
            option = field.name.replace("_", "-")
            found |= {option, f"no-{option}"} if field.type in (bool, "bool") else {option}
    return {f"--{option}" for option in found}


def test_every_option_that_a_page_names_exists():
    known = known_options()
    for page in PAGES:
        for code in re.findall(r"`([^`]*)`", prose(page)):
            if not code.startswith(("jupytext", "pip", "sphinx-build", "python tools/")):
                named = re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", code)
                assert set(named) <= known, f"{name_of(page)}: {code}"


@pytest.mark.parametrize("name", studies.names())
def test_a_study_has_a_page_that_says_its_command_and_its_own_options(name):
    page = ROOT / "bnjax" / "studies" / name / "page.md"
    assert name in {called for called, _ in commands(page)}
    shared = {field.name for field in dataclasses.fields(options.Training)} | {"lr"}
    own = {field.name for field in dataclasses.fields(studies.find(name).options)} - shared
    said = " ".join(re.findall(r"Options of this study: `([^`]*)`", page.read_text())).split()
    assert {*said} - {"--lr"} == {options.option_name(option) for option in own}


def documented() -> list[tuple[str, object]]:
    """The functions on the pages of the API."""
    found = []
    for page in API:
        for name in re.findall(r"^\.\. autofunction:: (\S+)", page.read_text(), re.MULTILINE):
            module, _, function = name.rpartition(".")
            found.append((name, getattr(importlib.import_module(module), function)))
    return found


@pytest.mark.parametrize(
    ("name", "function"), documented(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_public_docstring_has_arguments_results_and_errors(name, function):
    function = inspect.unwrap(function)
    text, source = inspect.getdoc(function), inspect.getsource(function)
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"^  {argument}: ", text, re.MULTILINE), f"{name}: {argument}"
    if inspect.signature(function).return_annotation not in (None, "None"):
        assert "Returns:" in text or "Yields:" in text, name
    if re.search(r"^    +(raise (UsageError|RunError)|_?check\(|require\()", source, re.MULTILINE):
        assert "Raises:" in text, name


@pytest.mark.parametrize("package", PUBLIC)
def test_every_public_name_is_on_a_page_of_the_api(package):
    pages = "".join(page.read_text() for page in API)
    module = importlib.import_module(
        {"norms": "bnjax.models.norms"}.get(package, f"bnjax.{package}")
    )
    own = [name for name, value in vars(module).items() if is_of(value, module)]
    for name in getattr(module, "__all__", own):
        if not inspect.ismodule(getattr(module, name)):
            assert re.search(rf"\b{package}(\.\w+)*\.{name}\b|`{name}`", pages), name


def is_of(value: object, module: types.ModuleType) -> bool:
    return (inspect.isfunction(value) or inspect.isclass(value)) and (
        value.__module__ == module.__name__
    )


def test_every_figure_of_the_gallery_is_on_a_page_and_has_a_row():
    figures = {figure.name for figure in (ROOT / "figures").glob("*.png")}
    text = "".join(page.read_text() for page in PAGES)
    assert not [name for name in figures if f"figures/{name}" not in text]
    rows = (ROOT / "figures" / "README.md").read_text()
    assert set(re.findall(r"^\| \[(.+?)\]", rows, re.MULTILINE)) == figures


@pytest.mark.parametrize(
    ("name", "study", "stem", "data"),
    [
        ("landscape_digits.png", "landscape", "landscape", "digits"),
        ("landscape_gradient_difference_dln.png", "landscape", "gradient_difference", "dln"),
        ("noisy_batchnorm_stability_cifar10.png", "noisy_batchnorm", "stability", "cifar10"),
        ("surface_3d_digits.png", "surface", "surface_3d", "digits"),
        ("lp_norms_dln.png", "lp_norms", "training", "dln"),
        ("sigmoid_mnist.png", "sigmoid_mnist", "sigmoid", "mnist"),
    ],
)
def test_figures_of_the_gallery_are_named_by_study_and_data(monkeypatch, name, study, stem, data):
    monkeypatch.syspath_prepend(ROOT / "tools")
    target_name = importlib.import_module("gallery").target_name
    assert target_name(study, stem, data, alone=study in ("lp_norms", "sigmoid_mnist")) == name


def test_the_pages_build_without_warnings(tmp_path):
    for package in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(package, reason="pip install 'bnjax[docs]'")
    call = ["-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d"]
    call = [sys.executable, *call, tmp_path / "doctrees", DOCS, tmp_path / "html"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    loaded = r"<(?:script|link|img)[^>]*(?:src|href)=\"https?://[^\"]*"
    for page in (tmp_path / "html").rglob("*.html"):
        assert not re.findall(loaded, page.read_text()), page  # nothing comes from elsewhere
    for name in studies.names():
        assert (tmp_path / "html" / "studies" / f"{name}.html").exists()
