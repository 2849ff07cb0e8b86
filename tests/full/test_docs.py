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
import tomllib
import types
from html.parser import HTMLParser
from pathlib import Path

import jax
import pytest

import bnjax
from bnjax.commands import command_line, program
from bnjax.frame import options
from bnjax.frame import study as studies

ROOT = Path(__file__).parents[2]
DOCS, API = ROOT / "docs", sorted((ROOT / "docs" / "api").glob("*.md"))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(path for path in DOCS.glob("[!_]*.md")),
    *sorted((DOCS / "concepts").glob("*.md")),
    *API,
    *sorted((ROOT / "bnjax" / "studies").glob("*/page.md")),
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+)\.py\n")
CALL = re.compile(r"(?:python experiments/(\w+)\.py|(?<![\w./])bnjax ([a-z]\w*))(.*)")
OPTIONAL = ("equinox", "haiku")  # libraries of models, which bnjax does not need
OWN_PROCESS = "jax_num_cpu_devices"  # such a block wants a process that has computed nothing yet
PUBLIC = ("draw", "data", "losses", "models", "norms", "probes", "train")
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
LONGEST_CONCEPT = 330  # words: a screen and a half with the picture


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
    text = "".join(page.read_text() for page in API)
    names = re.findall(r"^\.\. autofunction:: (\S+)", text, re.MULTILINE)
    return [(name, as_typed(name)) for name in names]


def as_typed(name: str) -> object:
    """What a user gets who types this name."""
    module, _, last = name.rpartition(".")
    return getattr(package_of(module.removeprefix("bnjax.")), last)


def package_of(name: str) -> types.ModuleType:
    """A package of bnjax by its name as users type it."""
    module = {"bnjax": "bnjax", "norms": "bnjax.models.norms"}.get(name, f"bnjax.{name}")
    return importlib.import_module(module)


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
    module = package_of(package)
    own = [name for name, value in vars(module).items() if is_of(value, module)]
    for name in getattr(module, "__all__", own):
        if not inspect.ismodule(getattr(module, name)):
            assert re.search(rf"\b{package}(\.\w+)*\.{name}\b|`{name}`", pages), name


def is_of(value: object, module: types.ModuleType) -> bool:
    return (inspect.isfunction(value) or inspect.isclass(value)) and (
        value.__module__ == module.__name__
    )


def test_a_page_of_the_api_has_each_name_as_it_is_typed():
    text = "".join(page.read_text() for page in API)
    named = re.findall(r"^\.\. auto(?:function|class|data):: (\S+)", text, re.MULTILINE)
    for name in named:
        last, found = name.rpartition(".")[2], as_typed(name)
        packages = {package: package_of(package) for package in PUBLIC}
        typed = {f"bnjax.{p}.{last}" for p, of in packages.items() if getattr(of, last, 0) is found}
        assert name in typed or not typed, f"{name}: {typed}"
    assert "bnjax.probes.line" in named


def test_every_type_that_signatures_name_is_explained():
    page = (DOCS / "api" / "types.md").read_text()
    names = re.findall(
        r"^(\w+): TypeAlias", (ROOT / "bnjax" / "types.py").read_text(), re.MULTILINE
    )
    assert "Params" in names
    assert set(re.findall(r"^\.\. py:type:: bnjax\.types\.(\w+)", page, re.MULTILINE)) == set(names)


@each(sorted((DOCS / "concepts").glob("*.md")))
def test_a_concept_is_short_and_has_one_picture_that_a_command_makes(page):
    text = page.read_text()
    (picture,) = re.findall(r"!\[[^]]+\]\(../../figures/(\S+)\)", text)
    assert len(re.findall(r"\w+", prose(page))) < LONGEST_CONCEPT
    rows = (ROOT / "figures" / "README.md").read_text().splitlines()
    (row,) = [row for row in rows if row.startswith(f"| [{picture}]")]
    if called := commands(page):
        (study, arguments), *_ = called
        assert f"`python experiments/{' '.join([f'{study}.py', *arguments])}`" in row
    else:
        assert f"`python tools/run_page.py docs/concepts/{page.name}`" in row
    assert page.stem in (DOCS / "concepts.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_numbers_of_kept_arrays_are_those_of_the_verdicts(page):
    verdicts = (DOCS / "verdicts.md").read_text()
    for paragraph in re.split(r"\n\s*\n|\n(?=[*#] )", page.read_text()):
        if found := re.search(r"verdicts\.md#(\w+)", paragraph):
            section = verdicts.partition(f"## [{found[1]}]")[2].partition("\n## ")[0]
            known = {f"{float(n):g}" for n in re.findall(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?", section)}
            words = re.sub(r"`[^`]*`|\]\([^)]*\)|CIFAR-10", "", paragraph)
            for number in re.findall(r"(?<![\w.])\d+\.\d+(?:e[+-]?\d+)?", words):
                assert f"{float(number):g}" in known, f"{number}: {paragraph}"


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


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The pages, built without a warning."""
    for package in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(package, reason="pip install 'bnjax[docs]'")
    place = tmp_path_factory.mktemp("docs")
    call = ["-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d"]
    call = [sys.executable, *call, place / "doctrees", DOCS, place / "html"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    return place / "html"


class Signatures(HTMLParser):
    """The text of each signature of a page, by the name that it explains."""

    def __init__(self, page: str):
        super().__init__()
        self.found: dict[str, str] = {}
        self.name = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "dt":
            self.name = dict(attrs).get("id") or ""
            self.found[self.name] = ""

    def handle_endtag(self, tag):
        self.name = "" if tag == "dt" else self.name

    def handle_data(self, data):
        if self.name:
            self.found[self.name] += data


def test_pages_fetch_nothing_and_say_their_version(built):
    loaded = r"<(?:script|link|img)[^>]*(?:src|href)=\"https?://[^\"]*"
    for page in built.rglob("*.html"):
        text = page.read_text()
        assert not re.findall(loaded, text), page  # nothing comes from elsewhere
        assert f"bnjax {bnjax.__version__}" in text, page
        assert str(ROOT) not in text, page
    for name in studies.names():
        assert (built / "studies" / f"{name}.html").exists()


def test_a_function_has_its_types_and_its_source(built):
    pages = {page: page.read_text() for page in (built / "api").glob("*.html")}
    signatures = {k: v for text in pages.values() for k, v in Signatures(text).found.items()}
    for name, function in documented():
        text = " ".join(signatures[name].split())
        assert "[source]" in text, name
        hints = inspect.unwrap(function).__annotations__
        assert text.count(":") >= len(set(hints) - {"return"}), name
        assert ("return" in hints) == ("→" in text), name
    line = " ".join(signatures["bnjax.probes.line"].split())
    assert "loss: Loss, params: Params, step_sizes: Points, *" in line
    assert "direction: Params | None = None" in line
    assert line.endswith("→ Line[source]¶")
    linked = pages[built / "api" / "probes.html"]
    assert 'href="types.html#bnjax.types.Params"' in linked
    assert "../_modules/bnjax/probes/line.html#line" in linked
    assert "def line(" in re.sub(
        "<[^>]+>", "", (built / "_modules/bnjax/probes/line.html").read_text()
    )


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_a_page_that_opens_in_colab(built, name):
    text = (built / "notebooks" / f"{name}.html").read_text()
    assert 'alt="Open in Colab"' in text
    assert "\x1b" not in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    repository = project.get("urls", {}).get("Repository", "").removeprefix("https://github.com/")
    address = f"github/{repository}/blob/main/notebooks/{name}.ipynb" if repository else ""
    assert f'href="https://colab.research.google.com/{address}"' in text
    pictures = re.findall(rf'src="(../_images/{name}_\w+\.png)"', text)
    outputs = (ROOT / "notebooks" / f"{name}.ipynb").read_text().count('"image/png"')
    assert len(pictures) == outputs
    for picture in pictures:
        assert (built / "notebooks" / picture).stat().st_size > 1000


def test_a_badge_leads_to_the_notebook_in_the_repository(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    badge = importlib.import_module("notebook_pages").badge
    assert badge("a.ipynb", "https://github.com/x/y").endswith(
        "(https://colab.research.google.com/github/x/y/blob/main/notebooks/a.ipynb)"
    )
    assert "Upload notebook" in badge("a.ipynb", "")
