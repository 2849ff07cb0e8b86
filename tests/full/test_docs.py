"""The documentation: programs run, commands are legal, links lead somewhere, pages build."""

import contextlib
import dataclasses
import importlib
import importlib.util
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

import bnjax
from bnjax.commands import command_line
from bnjax.frame.config import RunConfig

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXPERIMENTS = sorted(path.parent.name for path in (ROOT / "bnjax/studies").glob("*/study.py"))
OWN_PROCESS = "jax_num_cpu_devices"  # such a block wants a process that has computed nothing yet


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """The code blocks of a page in one language, each with the number of its first line."""
    text = page.read_text()
    return [
        (text[: found.start(2)].count("\n") + 1, found[2])
        for found in BLOCK.finditer(text)
        if found[1] == language
    ]


def load_script(name: str) -> types.ModuleType:
    return importlib.import_module(f"bnjax.studies.{name}.study")


@contextlib.contextmanager
def reader():
    """JAX as a reader has it, and programs compiled in a hurry."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        with (
            jax.enable_x64(False),
            jax.numpy_rank_promotion("allow"),
            jax.numpy_dtype_promotion("standard"),
        ):
            yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def page_modules():
    """Modules of pages, forgotten afterwards, with the normalisers and networks they register."""
    from bnjax.models import FAMILIES, norms

    modules = set(sys.modules)
    registered = [(known, dict(known)) for known in (norms.REGISTRY, FAMILIES)]
    yield
    for name in set(sys.modules) - modules:
        if name.startswith(("docs_page", "my_")):
            del sys.modules[name]
    for known, before in registered:
        known.clear()
        known.update(before)


def write_files(page: Path, folder: Path) -> None:
    """The blocks of a page that begin with `# name.py`, as the files that they are to be."""
    for _, block in blocks(page, "python"):
        if named := re.match(r"# (\w+\.py)\n", block):
            (folder / named[1]).write_text(block)


def run_blocks(page: Path) -> types.ModuleType:
    """Run the Python blocks of a page one after the other, as one module."""
    module = types.ModuleType(f"docs_page_{page.stem}")
    sys.modules[module.__name__] = module
    for line, block in blocks(page, "python"):
        if OWN_PROCESS not in block:
            # Empty lines in front, so that a traceback names the page's own line.
            program = compile("\n" * (line - 1) + block, str(page), "exec")
            exec(program, module.__dict__)
    return module


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: name_of(page)
)
def test_every_program_of_a_page_runs(page, tmp_path, monkeypatch, page_modules):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    write_files(page, tmp_path)
    with reader():
        run_blocks(page)


@pytest.mark.parametrize(
    ("page", "block"),
    [
        pytest.param(page, block, id=f"{name_of(page)}:{line}")
        for page in PAGES
        for line, block in blocks(page, "python")
        if OWN_PROCESS in block
    ],
)
def test_programs_for_several_devices_run_in_a_process_of_their_own(page, block, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", block],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """The experiments that a page's shell lines start, each with its arguments."""
    lines = [
        line for _, block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()
    ]
    found = []
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:1] == ["python"] and words[1:2] and words[1].startswith("experiments/"):
            found.append((Path(words[1]).stem, words[2:]))
        elif words[:1] == ["bnjax"] and words[1:2] and words[1] in EXPERIMENTS:
            found.append((words[1], words[2:]))
    return found


def test_every_experiment_has_a_page_that_says_its_command():
    for name in EXPERIMENTS:
        page = DOCS / "experiments" / f"{name}.md"
        assert page.exists(), f"docs/experiments/{name}.md is missing"
        assert name in {experiment for experiment, _ in commands(page)}, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: name_of(page))
def test_every_command_of_a_page_is_legal(page, tmp_path, monkeypatch, page_modules):
    monkeypatch.chdir(tmp_path)
    write_files(page, tmp_path)
    (tmp_path / "DIR").mkdir()
    for name, arguments in commands(page):
        assert (ROOT / "experiments" / f"{name}.py").exists(), name
        if name not in EXPERIMENTS:
            continue  # not one experiment: reproduce, report
        experiment = load_script(name).EXPERIMENT
        with reader():
            config = command_line.parse(experiment.presets, arguments, experiment.description)
            if not config.plugins:
                config.validate()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: name_of(page))
def test_every_file_and_figure_that_a_page_names_exists(page):
    text = BLOCK.sub("", page.read_text())
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    for target in targets:
        if not re.match(r"https?://", target):
            assert (page.parent / target).exists(), target
    for name in re.findall(
        r"`((?:experiments|bnjax|tests|docs|notebooks|figures)/[\w/]+\.\w+)`", text
    ):
        assert (ROOT / name).exists(), name


def known_options() -> set[str]:
    """Every option of every experiment, as it is typed."""
    found = {"help", "dry-run", "json"}
    for name in EXPERIMENTS:
        for config in load_script(name).EXPERIMENT.presets.values():
            for field in dataclasses.fields(config):
                option = field.name.replace("_", "-")
                found |= {option, f"no-{option}"} if field.type in (bool, "bool") else {option}
    return {f"--{option}" for option in found}


def test_every_option_that_a_page_names_exists():
    known = known_options()
    for page in PAGES:
        prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for code in re.findall(r"`([^`]*)`", prose):
            if code.startswith(("jupytext", "pip", "sphinx-build")):
                continue
            named = re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", code)
            assert set(named) <= known, f"{name_of(page)}: {code}"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_page_names_just_the_options_that_are_the_experiments_own(name):
    kind = type(next(iter(load_script(name).EXPERIMENT.presets.values())))
    shared = {field.name for field in dataclasses.fields(RunConfig)}
    own = {field.name for field in dataclasses.fields(kind)} - shared
    text = (ROOT / "docs" / "experiments" / f"{name}.md").read_text()
    said = re.findall(r"Options of its own: `([^`]*)`", text)
    words = {word for words in said for word in words.split() if word.startswith("--")}
    assert words == {f"--{option.replace('_', '-')}" for option in own}


def documented() -> list[tuple[str, object]]:
    """The functions on the pages of the API."""
    found = []
    for page in sorted((DOCS / "api").glob("*.md")):
        for name in re.findall(r"^\.\. autofunction:: (\S+)", page.read_text(), re.MULTILINE):
            module, _, function = name.rpartition(".")
            found.append((name, getattr(importlib.import_module(module), function)))
    return found


@pytest.mark.parametrize(("name", "function"), documented(), ids=[name for name, _ in documented()])
def test_a_public_docstring_has_arguments_results_and_errors(name, function):
    function = inspect.unwrap(function)
    text, source = inspect.getdoc(function), inspect.getsource(function)
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"^  {argument}: ", text, re.MULTILINE), f"{name}: {argument}"
    if inspect.signature(function).return_annotation not in (None, "None"):
        assert "Returns:" in text or "Yields:" in text, name
    if re.search(r"^    +(raise (UsageError|RunError)|_?check\(|require\()", source, re.MULTILINE):
        assert "Raises:" in text, name


def test_every_public_name_is_on_a_page_of_the_api():
    pages = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    for package in ("probes", "norms", "models", "data", "losses", "training"):
        module = getattr(bnjax, package)  # `norms` is another's module
        for name in module.__all__:
            if not inspect.ismodule(getattr(module, name)):
                said = rf"\b{package}(\.\w+)*\.{name}\b|`{name}`"  # in a directive, or as code
                assert re.search(said, pages), f"bnjax.{package}.{name}"


def test_every_figure_of_the_gallery_is_on_a_page():
    text = "".join(page.read_text() for page in PAGES)
    for figure in (ROOT / "figures").glob("*.png"):
        assert f"figures/{figure.name}" in text, figure.name


@pytest.mark.parametrize(
    ("experiment", "stem", "data", "alone", "name"),
    [
        ("landscape", "landscape", "digits", False, "landscape_digits.png"),
        ("landscape", "gradient_difference", "dln", False, "landscape_gradient_difference_dln.png"),
        ("noisy_batchnorm", "stability", "cifar10", False, "noisy_batchnorm_stability_cifar10.png"),
        ("surface", "surface_3d", "digits", False, "surface_3d_digits.png"),
        ("lp_norms", "training", "dln", True, "lp_norms_dln.png"),
        ("sigmoid_mnist", "sigmoid", "mnist", True, "sigmoid_mnist.png"),
    ],
)
def test_figures_of_the_gallery_are_named_by_experiment_and_data(
    monkeypatch, experiment, stem, data, alone, name
):
    monkeypatch.syspath_prepend(ROOT / "tools")
    target_name = importlib.import_module("gallery").target_name
    assert target_name(experiment, stem, data, alone=alone) == name


def test_every_figure_of_the_gallery_has_a_row_and_every_row_its_figure():
    rows = (ROOT / "figures" / "README.md").read_text()
    named = set(re.findall(r"^\| \[(.+?)\]", rows, re.MULTILINE))
    assert named == {figure.name for figure in (ROOT / "figures").glob("*.png")}


def test_the_pages_build_without_warnings(tmp_path):
    for package in ("sphinx", "myst_parser", "furo"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'bnjax[docs]'")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-W",
            "--keep-going",
            "-q",
            "-b",
            "html",
            "-d",
            str(tmp_path / "doctrees"),
            str(DOCS),
            str(tmp_path / "html"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    for page in (tmp_path / "html").rglob("*.html"):  # nothing is loaded from elsewhere
        asked = re.findall(
            r"<(?:script|link|img)[^>]*(?:src|href)=\"https?://[^\"]*", page.read_text()
        )
        assert not asked, page
    assert (tmp_path / "html" / "index.html").exists()
