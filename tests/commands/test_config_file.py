"""`--config FILE`: options from YAML, or from a run's own `config.json`."""

import json
import shlex

import pytest
from toy_runs import STUDY, TOY

from bnjax.commands import command_line
from bnjax.errors import UsageError
from bnjax.frame import folder
from bnjax.studies import distributions, landscape

YAML = """
lr: [0.05, 1e-1]
norms: [none, layer]
probe-every: 5
depth: null
augment: true
multiples: []
bias_init: -0.5
"""


@pytest.fixture
def given(tmp_path):
    """Options of the landscape with a file of this text."""

    def given(text, *arguments, study=landscape.STUDY):
        (tmp_path / "options.yaml").write_text(text)
        return command_line.prepare(study, ["--config", str(tmp_path / "options.yaml"), *arguments])

    return given


def test_a_file_counts_as_if_its_options_were_typed(given):
    typed = "--lr 0.05 0.1 --norms none layer --probe-every 5 --augment --bias-init -0.5"
    assert given(YAML) == command_line.prepare(landscape.STUDY, shlex.split(typed))


def test_what_is_typed_replaces_the_files(given):
    found = given(YAML, "--learning-rate", "0.2", "--no-augment", "--probe_every=4")
    assert (found.lr, found.augment, found.probe_every) == ((0.2,), False, 4)
    assert found.norms == ("none", "layer")


def test_a_file_may_choose_preset_and_model(given):
    assert given("preset: paper\nmodel: dln").steps == 10_000
    assert given("preset: paper\nmodel: dln", "--preset", "quick").steps == 2000


def test_ranges_of_negative_numbers_are_read(given):
    assert given("range: [-3.0, 3]", study=distributions.STUDY).range == (-3.0, 3.0)


def test_a_runs_own_config_json_makes_the_same_run(toy, tmp_path, monkeypatch, capsys):
    call = [*TOY, "--dropout", "0.25", "--out", str(tmp_path / "a"), "--checkpoints-kept", "3"]
    run = command_line.start(STUDY, *call)
    found = command_line.parse(STUDY, ["--config", str(run / "config.json")])
    assert folder.digest(found) == run.name
    usual = command_line.parse(STUDY, [])
    assert (found.out, found.checkpoints_kept) == (usual.out, usual.checkpoints_kept)
    assert command_line.main(STUDY, [f"--config={run / 'config.json'}", *call[-4:-2]]) == 0
    assert f"finished before: {run}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr: abc", "--lr abc: must be numbers, e.g. 0.1"),
        ("lr: {a: 1}", "lr: must be a value, or a list of values"),
        ("lr: [[1]]", "lr: must be a value, or a list of values"),
        ("learning-rat: 1", "learning-rat: landscape has no such option; did you mean --learning"),
        ("epochs: 1", "epochs: landscape has no such option; did you mean --steps?"),
        ("config: a.yaml", "config: landscape has no such option"),
        ("1: 2", "1: landscape has no such option"),
        ("norms: [none, --plugins, evil.py]", "norms: a value may not begin with --"),
        ("plugins: evil.py", "files that would be run: give --plugins on the command line"),
        ("plugins=evil.py: null", "plugins=evil.py: landscape has no such option"),
        ("a: b: c", "cannot be read (line 1: mapping values are not allowed here)"),
        ("- lr", "has no options by name, such as `lr: 0.1`"),
        ("", "has no options by name"),
        ("[" * 5000, "cannot be read ("),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ('{"study": "shift", "options": {}}', "it is of the study shift: give it to that one"),
    ],
)
def test_a_file_that_does_not_serve_gives_one_line(given, text, message):
    with pytest.raises(UsageError, match=r"--config .*options\.yaml: ") as raised:
        given(text)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config"], "--config : give one YAML file"),
        (["--config", "--lr", "1"], "give one YAML file"),
        (["--config", "a", "--config", "b"], "give one YAML file"),
        (["--config", "nowhere.yaml"], "cannot be read (No such file or directory)"),
        (["--config", "/dev/zero"], "cannot be read (it is not a plain file)"),
    ],
)
def test_a_wrong_call_of_it_gives_one_line(arguments, message):
    with pytest.raises(UsageError) as raised:
        command_line.prepare(landscape.STUDY, arguments)
    assert message in str(raised.value)


def test_a_preset_beside_a_runs_own_options_is_refused(given):
    content = json.dumps({"study": "landscape", "options": {"steps": 9}})
    assert given(content).steps == 9
    with pytest.raises(UsageError, match="settles all that a preset does"):
        given(content, "--preset", "paper")
