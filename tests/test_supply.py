"""Where packages come from: locks with digests, that agree with what bnjax says it needs."""

import importlib
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bnjax import errors

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
BUILD = PROJECT["dependency-groups"]["build"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
DEV = "requirements-dev.lock"
LOCKS = {
    "requirements.lock": ("studies",),
    "requirements-data.lock": ("studies", "data"),
    DEV: ("dev",),
    "requirements-build.lock": None,  # bnjax is built, and does not run
}


def entries(name: str) -> list[str]:
    """The entries of a lock, each a requirement and its digests."""
    return re.sub(r" \\\n\s*", " ", (ROOT / name).read_text()).splitlines()


def pins(name: str) -> set[str]:
    """`name==version`, with a marker where the version is for some machines only."""
    return {entry.partition(" --hash")[0] for entry in entries(name)}


def asked(*extras: str) -> list[str]:
    """What bnjax asks for with some extras, those of its own replaced by what they bring."""
    found = list(PROJECT["project"]["dependencies"])
    for extra in extras:
        for text in EXTRAS[extra]:
            one = Requirement(text)
            found += asked(*sorted(one.extras)) if one.name == "bnjax" else [text]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("name", LOCKS)
def test_each_package_of_a_lock_has_one_version_and_its_digests(name):
    for entry in entries(name):
        requirement = r"[a-z0-9-]+==[\w.!+]+( ; [^\\#@]+?)?"
        assert re.fullmatch(requirement + r"( --hash=sha256:[0-9a-f]{64})+", entry), entry


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_all_that_is_asked_for_in_versions_that_are_allowed(name):
    wanted = BUILD if LOCKS[name] is None else asked(*LOCKS[name])
    for text in wanted:
        one = Requirement(text)
        own = one.name.lower().replace("_", "-")
        versions = [Requirement(pin).specifier for pin in pins(name) if pin.startswith(f"{own}==")]
        assert versions, f"{text}: make lock"
        assert all(one.specifier.contains(next(iter(only)).version) for only in versions), text


@pytest.mark.parametrize("name", [name for name in LOCKS if name != DEV])
def test_what_runs_is_what_was_tested(name):
    tested = {Requirement(pin).name: set() for pin in pins(DEV)}
    for pin in pins(DEV):
        tested[Requirement(pin).name].add(str(Requirement(pin).specifier))
    for pin in pins(name):
        one = Requirement(pin)
        assert str(one.specifier) in tested[one.name], pin


def test_bnjax_is_built_by_locked_packages_alone():
    assert set(PROJECT["build-system"]["requires"]) < set(BUILD) <= pins("requirements-build.lock")


def test_requirements_txt_is_what_runs_the_experiments():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    found = [line for line in lines if not line.startswith("#")]
    assert sorted(found) == sorted(asked("studies", "data"))


@pytest.mark.parametrize("target", ["landscape", "data", "test"])
def test_make_installs_by_digests_and_bnjax_itself_without_dependencies(target):
    call = ["make", "--dry-run", "--always-make", "PYTHON=python", target]
    said = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"-m pip (.*?)(?= &&|\n)", said.replace("\\\n", ""))
    assert len(found) == (3 if target == "landscape" else 4), found
    for arguments in found:
        assert arguments.startswith("install --quiet --no-build-isolation "), arguments
        how = arguments.removeprefix("install --quiet --no-build-isolation ").strip()
        locked = re.fullmatch(r"--require-hashes --requirement (\S+)", how)
        assert how == "--no-deps --editable ." or locked[1] in LOCKS, arguments


def test_actions_of_the_workflow_are_named_by_commit():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    used = re.findall(r"uses: (\S+)", text)
    assert used
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", one) for one in used), used


FLAW = {"id": "PYSEC-1", "fix_versions": ["2.0"], "aliases": [], "description": ""}
SOUND = {"name": "a", "version": "1.0", "vulns": []}


@pytest.mark.parametrize(
    ("packages", "complaint", "said", "status"),
    [
        ([SOUND, SOUND], "", "2 packages, no known vulnerability", 0),
        ([SOUND, {**SOUND, "vulns": [FLAW]}], "found 1", "a 1.0: PYSEC-1, fixed in 2.0", 1),
        ([{**SOUND, "vulns": [{**FLAW, "fix_versions": []}]}], "", "fixed in no version", 1),
        ([SOUND, {"name": "b", "skip_reason": "not found"}], "", "error: no advisories for 1", 1),
        ([], "", "error: no advisories for 0 of 0 packages (the lock is empty)", 1),
        (None, "Traceback\n  File x\nNoHost: pypi", "cannot be read (NoHost: pypi): try", 1),
        (None, "", "error: the advisories cannot be read (it says nothing)", 1),
    ],
)
def test_an_audit_is_sound_only_if_every_package_was_looked_up(
    monkeypatch, packages, complaint, said, status
):
    monkeypatch.syspath_prepend(ROOT / "tools")
    judge = importlib.import_module("audit").judge
    found = "" if packages is None else json.dumps({"dependencies": packages})
    lines, code = judge(found, complaint)
    assert said in lines
    assert lines.count("\n") == 0
    assert code == status


def test_a_missing_package_of_somebody_else_is_not_said_to_be_in_an_extra():
    said = r'pip install "bnjax\[plot\]"'
    with pytest.raises(errors.MissingPackage, match=said), errors.needs("plot"):
        raise ModuleNotFoundError("No module named 'xarray.core'", name="xarray.core")
    with pytest.raises(ModuleNotFoundError, match="foreign") as caught, errors.needs("studies"):
        importlib.import_module("foreign_package_that_nobody_has")
    assert not isinstance(caught.value, errors.MissingPackage)


def test_packages_of_the_extras_are_known_by_the_names_that_are_imported():
    brought = {re.match(r"[\w-]+", line)[0] for line in asked("studies", "data", "mnist1d")}
    own = {re.match(r"[\w-]+", line)[0] for line in asked()}
    names = {"pyyaml": "yaml", "pillow": "PIL", "scikit-learn": "sklearn"}
    found = {names.get(name, name.replace("-", "_")) for name in brought - own}
    assert found | {"pandas"} == errors.BROUGHT  # which xarray brings
