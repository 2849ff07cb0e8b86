"""`bnjax` verify, resume and list, and a finished run whose files were damaged."""

import collections
import dataclasses
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import make_toy
from toy_runs import STUDY, TOY, look, stop_at

import bnjax
from bnjax.commands import command_line, program
from bnjax.errors import RunError, UsageError
from bnjax.frame import checkpoints, files, fingerprint, folder, layout, stored_options
from bnjax.frame import study as studies
from bnjax.frame.listener import Listener

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(noise_dataset, tmp_path_factory):
    """A finished run of two arms."""
    out = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        make_toy(patch, noise_dataset)
        assert command_line.main(STUDY, [*TOY, "--out", str(out)]) == 0
    return out


@pytest.fixture
def runs(made, tmp_path):
    """A copy of it: the root and the run folder."""
    root = shutil.copytree(made, tmp_path / "runs")
    (run,) = (root / "lp_norms").iterdir()
    return root, run


@pytest.fixture
def call(capsys):
    """Call `bnjax`: exit status, standard output, and standard error: one line if it fails."""

    def call(*arguments):
        capsys.readouterr()
        status = program.main([str(argument) for argument in arguments])
        out, error = capsys.readouterr()
        assert status == 0 or error.count("\n") <= 1
        return status, out, error

    return call


def again(root, *arguments, study=STUDY):
    return command_line.main(study, [*TOY, "--out", str(root), *arguments])


def edit(run, **changes):
    """Options of a run changed, all digests and the folder's name made to fit."""
    record = folder.read_config(run)
    record = record._replace(options={**record.options, **changes})
    folder.write_config(run, record)
    return run.rename(run.with_name(folder.digest_of(record.options, record.plugins)))


def test_verify_counts_what_is_sound_and_names_what_is_not(runs, call):
    root, run = runs
    assert call("verify", run) == (0, f"{run}: sound: 6 files, 4 checkpoints\n", "")
    second = shutil.copytree(run, run.with_name(f"{run.name}.old1"))
    assert call("verify", run, second)[0] == 0
    (run / "metrics.jsonl").write_text("")
    (run / "figure.png").unlink()
    (run / "checkpoints/batch-0/3/MANIFEST.json").write_text("{}")
    before = look(root)
    status, said, _ = call("verify", second, run)
    assert status == 1
    _, *lines = said.splitlines()
    written = r"/metrics.jsonl: has 0 bytes, of \d+ that were written"
    assert re.fullmatch(re.escape(str(run)) + written, lines.pop(1))
    assert lines == [
        f"{run}/figure.png: is missing",
        f"{run}/checkpoints/batch-0/3: its MANIFEST.json does not serve: it has no format: another "
        "version or another program made it",
        f"{run}: damaged: 4 files, 3 checkpoints sound",
    ]
    assert look(root) == before
    (second / "config.json").unlink()
    status, said, _ = call("verify", second)
    assert status == 1
    assert f"{second}/config.json: No such file or directory" in said


@pytest.mark.parametrize("place", ["checkpoints", "checkpoints/batch-0"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_verify_says_of_checkpoints_that_are_no_folder(runs, tmp_path, call, place, kind):
    _, run = runs
    (run / place).rename(tmp_path / "moved")
    if kind == "link":
        (run / place).symlink_to(tmp_path / "moved")
    else:
        (run / place).touch()
    status, said, _ = call("verify", run)
    assert status == 1
    assert f"{place}: is not a folder" in said


def test_verify_reads_no_file_that_is_larger_than_any_run_writes(runs, call, monkeypatch):
    _, run = runs
    monkeypatch.setattr(files, "LARGEST_ARRAYS", 100)  # bytes
    assert "bytes, more than a run writes (100)" in call("verify", run)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bogus"], "bnjax bogus: must be one of batch_size"),
        (["landscape.py"], "must be one of batch_size"),
        (["verify"], "no run folder is given"),
        (["verify", "nowhere"], "nowhere is not a folder"),
        (["landscpae"], "; did you mean landscape?"),
        (["resume"], "resume: RUN is missing: give a path"),
        (["resume", "nowhere"], "is no run folder: give one that has a config.json"),
        (["resume", "a", "b"], "b: resume takes one RUN"),
        (["completion"], "completion: SHELL is missing: give one of bash zsh"),
        (["completion", "bsh"], "completion bsh: must be one of bash zsh; did you mean bash?"),
        (["list", "nowhere"], "nowhere cannot be listed"),
        (["list", "--bogus"], "--bogus"),
        (["doctor", "--data-dir", "nowhere"], "nowhere"),
        (["reproduce", "--only", "nonsense"], "--only nonsense: choose from distributions"),
    ],
)
def test_wrong_calls_give_one_line(tmp_path, monkeypatch, call, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, error = call(*arguments)
    assert status == 2
    assert error.startswith("error: ")
    assert message in error
    assert list(tmp_path.iterdir()) == []


def test_list_tells_finished_unfinished_used_and_damaged(toy, runs, monkeypatch, call):
    root, run = runs
    with monkeypatch.context() as patch:
        stop_at(patch, 7)
        assert again(root, "--lr", "0.2") == 130
    (unfinished,) = set((root / "lp_norms").iterdir()) - {run}
    copied = shutil.copytree(run, root / "lp_norms" / "0123456789ab")
    (root / "lp_norms" / "notes").mkdir()
    small = shutil.copytree(run, root / "lp_norms" / f"{run.name}.old1")
    (small / "metrics.jsonl").write_text("")
    torn = shutil.copytree(run, root / "lp_norms" / f"{run.name}.old2")
    folder.write_summary(torn, [], {"figure loss": "ValueError: torn"}, ["metrics.jsonl"])

    def states():
        listed = json.loads(call("list", "--json", root)[1])
        return {entry["digest"]: entry["state"] for entry in listed}, listed

    found, listed = states()
    assert found.pop(small.name).startswith("damaged: metrics.jsonl: has 0 bytes, of")
    assert found.pop(torn.name) == "finished, but failed: figure loss"
    progress = "1 of 2 done, step 3"
    assert found == {
        run.name: "finished",
        unfinished.name: f"unfinished: {progress}",
        copied.name: f"damaged: config.json: it is of the run {run.name}",
    }
    (what,) = (entry["what"] for entry in listed if entry["digest"] == run.name)
    assert what == {
        "model": "vgg5", "dataset": "digits16", "norms": ["none", "batch"], "lr": 0.1, "seeds": 1,
    }  # fmt: skip
    with folder.hold(unfinished):
        used = f"in use by process {os.getpid()} on {socket.gethostname()}: {progress}"
        assert states()[0][unfinished.name] == used
    status, shown, _ = call("list", root)
    assert status == 0
    assert run.name in shown
    assert "unfinished" in shown


def test_an_empty_root_has_no_runs(tmp_path, call):
    hint = "bnjax landscape makes the first figure"
    assert call("list", tmp_path) == (0, f"no runs in {tmp_path}: {hint}\n", "")


def test_in_a_new_folder_there_are_no_runs(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    assert call("list") == (0, "no runs in runs: bnjax landscape makes the first figure\n", "")
    assert call("list", "--json") == (0, "[]\n", "")
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_bnjax_0_1_is_said_to_be_one_in_a_line_and_left_alone(toy_runs, runs, call):
    root, run = runs
    for name in ("config.json", "summary.json"):
        content = json.loads((run / name).read_text())
        content.pop(files.SEAL)
        (run / name).write_text(files.seal({**content, "format": 1}))
    before = look(root)
    status, said, _ = call("verify", run)
    assert status == 1
    assert said == f"{run}: it is of bnjax 0.1 (format 1, here 2)\n"
    (listed,) = json.loads(call("list", "--json", root)[1])
    assert listed["state"] == "it is of bnjax 0.1 (format 1, here 2)"
    status, _, error = call("resume", run)
    assert status == 1
    assert "it is of bnjax 0.1 (format 1, here 2): read it with that version" in error
    assert call("lp_norms", *TOY, "--out", root)[0] == 1
    assert look(root) == before
    assert again(root, "--fresh") == 0


def test_resume_ends_as_the_same_command_would(toy_runs, made, tmp_path, monkeypatch, call):
    with monkeypatch.context() as patch:
        stop_at(patch, 7)
        assert again(tmp_path / "runs") == 130
    moved = (tmp_path / "runs").rename(tmp_path / "moved")
    (run,) = (moved / "lp_norms").iterdir()
    monkeypatch.chdir(run.parent)
    assert call("resume", run.name)[0] == 0
    (whole,) = (made / "lp_norms").iterdir()
    for name in ("metrics.jsonl", "results.nc"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    assert call("resume", ".")[0] == 2  # the folder of the study
    assert "finished before" in call("resume", run.name)[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": "0.1"}, "its option lr is '0.1', which is not of its type"),
        ({"lr": "NaN"}, "--lr nan: must be above 0"),
        ({"norms": "batch"}, "its option norms"),
        ({"norms": [1]}, "its option norms"),
        ({"norms": ["../../x"]}, r"--norms ../../x: must be one of none"),
        ({"model": "vgg12"}, "--model vgg12: must be one of vgg5 vgg11"),
        ({"steps": True}, "its option steps"),
        ({"steps": 2**70}, "its option steps"),
        ({"depth": "a"}, "its option depth"),
        ({"data_dir": "a\0b"}, "its option data_dir"),
        ({"more": 1}, "the options more"),
        ({"plugins": ["x.py"]}, "made with --plugins, files that would be run"),
    ],
)
def test_resume_refuses_options_that_do_not_serve(toy_runs, runs, call, changes, message):
    root, run = runs
    run = edit(run, **changes)
    before = look(root)
    status, _, error = call("resume", run)
    assert status == 1
    assert message in error
    assert "give the original command" in error
    assert look(root) == before


def test_resume_goes_on_with_other_devices(toy_runs, runs, call, monkeypatch):
    for name in ("XLA_FLAGS", "NPROC"):  # which several devices add to
        monkeypatch.setenv(name, os.environ.get(name, ""))
    _, run = runs
    run = edit(run, data_devices=4)
    (run / "summary.json").unlink()
    assert "--data-devices 4 --probe-devices 1 need 4 devices" in call("resume", run)[2]
    assert call("resume", run, "--data-devices", "1")[0] == 0
    for wrong in ("0", "2000000"):
        error = call("resume", run, "--probe-devices", wrong)[2]
        assert f"--probe-devices {wrong}: must be from 1 to" in error


def test_resume_reads_data_and_curves_only_from_where_the_person_says(
    toy_runs, runs, tmp_path, call
):
    _, run = runs
    data = tmp_path / "data"
    data.mkdir()
    run = edit(run, data_dir=str(data), dataset="cifar10", published="curves.csv")
    status, _, error = call("resume", run)
    assert status == 2
    assert f"if you know that folder, add --data-dir {data}" in error
    status, _, error = call("resume", run, "--data-dir", data)
    assert status == 2
    assert "--published curves.csv cannot be read (" in error
    table = tmp_path / "moved.csv"
    table.write_text("panel,series,step,low,high\np,none,1,2,3\n")
    (run / "summary.json").unlink()  # not finished: goes on by what is saved
    assert call("resume", run, "--data-dir", data, "--published", table)[0] == 0


@pytest.mark.parametrize("name", ["../studies/lp_norms", "os", "reproduce", "", "lp_norms.py"])
def test_only_studies_of_the_package_are_found(name):
    with pytest.raises(UsageError, match="there are batch_size"):
        studies.find(name)


@pytest.mark.parametrize("name", studies.names())
def test_every_preset_of_every_study_is_rebuilt_from_its_config_json(name):
    study = studies.find(name)
    for preset in study.presets:
        options = study.preset(*preset.split(" "))
        stored = json.loads(json.dumps(files.plain(vars(options))))
        assert repr(stored_options.build(study.options, stored)) == repr(options)
        assert folder.digest_of(stored, []) == folder.digest(options)


DAMAGED = ["results.nc", "metrics.jsonl", "figure.png", "summary.json", "models/batch-0.npz"]


def keep(arm, state):
    return {"bias": np.asarray(state.params["output"]["bias"])}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_finished_run_whose_result_is_damaged_is_written_again(toy, runs, capsys, call, name):
    root, run = runs
    keeping = dataclasses.replace(STUDY, parts={**STUDY.parts, "keep": keep})
    if "models" in name:
        assert again(root, "--fresh", study=keeping) == 0
        capsys.readouterr()
    good = (run / name).read_bytes()
    bad = bytes([good[0] ^ 1]) + good[1:]
    (run / name).write_bytes(bad)
    assert again(root, study=keeping if "models" in name else STUDY) == 0
    captured = capsys.readouterr()
    assert f"warning: {run}/{name}: " in captured.err
    assert f"it is now {Path(name).name}.old1; it is written again" in captured.err
    assert ("finished before" in captured.out) == (name == "figure.png")  # all measured is sound
    assert "seed 0: step" not in captured.out  # nothing is trained again
    assert (run / f"{name}.old1").read_bytes() == bad
    assert (run / name).read_bytes() == good
    assert call("verify", run)[0] == 0
    assert again(root, study=keeping if "models" in name else STUDY) == 0
    assert "finished before" in capsys.readouterr().out


def one_pixel_changed(dataset):
    pixels = dataset.train.pixels.at[0, 0, 0, 0].add(1)
    return dataset._replace(train=dataset.train._replace(pixels=pixels))


def test_a_finished_run_is_no_answer_for_other_data(
    toy_runs, runs, noise_dataset, monkeypatch, capsys, call
):
    root, run = runs
    monkeypatch.setattr("bnjax.data.load", lambda *_, **__: one_pixel_changed(noise_dataset))
    before = look(root)
    for arguments in ([], ["--plan"]):
        assert again(root, *arguments) == 1
        captured = capsys.readouterr()
        assert "holds a finished run made under data " in captured.err
        assert captured.err.count("\n") == 1
        assert "finished before" not in captured.out
    assert "made under data " in call("resume", run)[2]
    assert look(root) == before
    assert again(root, "--accept-changes") == 0
    captured = capsys.readouterr()
    assert f"warning: {run} was made under data " in captured.err
    assert "finished before" in captured.out
    assert again(root, "--redraw") == 0  # from its arrays, whatever the data are now


def test_a_finished_run_whose_data_are_gone_is_compared_in_all_else(toy, runs, monkeypatch, capsys):
    def gone(*_, **__):
        raise RunError("data set mnist is not in /data")

    monkeypatch.setattr("bnjax.data.load", gone)
    assert again(runs[0]) == 0
    captured = capsys.readouterr()
    assert "are not compared: data set mnist is not in" in captured.err
    assert "finished before" in captured.out
    with jax.default_prng_impl("rbg"):
        assert again(runs[0]) == 1
    assert "jax_default_prng_impl threefry2x32 (now rbg): begin" in capsys.readouterr().err


def test_resume_accepts_changes_only_when_it_is_told_to(
    toy_runs, noise_dataset, tmp_path, monkeypatch, call
):
    with monkeypatch.context() as patch:
        stop_at(patch, 7)
        assert again(tmp_path / "runs", "--accept-changes") == 130
    (run,) = (tmp_path / "runs" / "lp_norms").iterdir()
    monkeypatch.setattr("bnjax.data.load", lambda *_, **__: one_pixel_changed(noise_dataset))
    assert "holds an unfinished run made under data " in call("resume", run)[2]
    status, _, said = call("resume", run, "--accept-changes")
    assert status == 0
    assert "it continues, and config.json records these changes" in said
    assert [list(one) for one in folder.read_config(run).continued] == [["data"]]
    monkeypatch.setattr("bnjax.data.load", lambda *_, **__: noise_dataset)
    status, _, said = call("resume", run)
    assert status == 0
    assert "was continued under other data, see config.json" in said


def test_a_damaged_run_of_other_versions_is_refused_and_left_alone(toy, runs, capsys):
    root, run = runs
    record = folder.read_config(run)
    record = record._replace(fingerprint={**record.fingerprint, "jax": "0.1"})
    folder.write_config(run, record)
    (run / "metrics.jsonl").write_text("")
    before = look(root)
    assert again(root) == 1
    assert "holds a damaged run made under jax 0.1 (now" in capsys.readouterr().err
    assert look(root) == before


def test_figures_of_a_finished_run_are_drawn_again_by_one_process_at_a_time_and_are_sound(
    toy, runs, tmp_path, capsys, call
):
    root, run = runs
    table = tmp_path / "curves.csv"
    table.write_text("panel,series,step,low,high\np,standard,0,1,2\n")

    def figure(measured, published):
        return type(STUDY.parts["FIGURES"][0](measured, {}))(str(sorted(published)).encode())

    study = dataclasses.replace(STUDY, parts={**STUDY.parts, "FIGURES": (figure,)})
    drawn = ["--published", str(table)]
    before = look(root)
    with folder.hold(run):
        assert again(root, *drawn, study=study) == 1
        assert "is in use by process" in capsys.readouterr().err
        assert again(root) == 0  # nothing is written: no lock is needed
    assert look(root) == before
    for _ in range(2):
        assert again(root, *drawn, study=study) == 0
        captured = capsys.readouterr()
        assert "finished before" in captured.out
        (warning,) = captured.err.splitlines()
        assert warning.startswith("warning: --published: lp_norms draws no published curve")
        assert (run / "figure.png").read_text() == "[('p', 'none')]"
        assert call("verify", run)[0] == 0


@pytest.mark.full
def test_real_processes(runs):
    root, run = runs

    def call(*arguments):
        command = [sys.executable, "-m", "bnjax", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        return done.returncode, done.stdout, done.stderr

    assert call("verify", run) == (0, f"{run}: sound: 6 files, 4 checkpoints\n", "")
    status, out, error = call("list", root)
    assert (status, error) == (0, "")
    assert "finished" in out
    (run / "config.json").write_text("[" * 10_000)
    status, out, error = call("resume", run)
    assert (status, out) == (1, "")
    nested = r"error: .*config.json does not serve \(it is nested too deeply\).*\n"
    assert re.fullmatch(nested, error)


DANGEROUS = re.compile(
    r"\bc?pickle\b(?!ing)|allow_pickle\s*=\s*True|yaml\.load|(?<![\w.])(?:eval|exec)\(|torch\.load"
    r"|np\.load\((?!.*allow_pickle=False)|\bmarshal\b|shelve|joblib"
)


def test_nothing_unpickles_or_evaluates_what_it_reads():
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for place in ("bnjax", "experiments", "benchmarks", "tools")
        for path in sorted((ROOT / place).rglob("*.py"))
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if DANGEROUS.search(line.replace("jax.eval", ""))
    ]
    assert found == []


def test_no_control_character_of_a_folder_reaches_the_terminal(toy_runs, runs, tmp_path, capsys):
    root, run = runs
    evil = "\x1b]0;title\x07\x1b[2J\u202e\x9b[red]"
    (run / "checkpoints/none-0/3" / evil).write_text("")
    run = edit(run, norms=[evil], model=f"[bold]{evil}", lr=evil)
    (run / "summary.json").write_text("{}")
    capsys.readouterr()
    assert program.main(["verify", str(run)]) == 1
    assert program.main(["list", str(root)]) == 0
    assert program.main(["list", "--json", str(root)]) == 0
    assert program.main(["resume", str(run)]) == 1
    assert again(tmp_path / evil) == 0
    assert again(tmp_path, "--norms", evil) == 2
    assert again(tmp_path, "--published", evil) == 2
    for text in capsys.readouterr():
        assert text.replace("\n", "").isprintable()
        assert r"\x1b" in text


@pytest.mark.parametrize("content", [None, "", '{"format": 2}', "\x00" * 100])
def test_a_damaged_description_of_a_finished_run_is_written_again(toy, runs, capsys, call, content):
    root, run = runs
    before = folder.read_config(run)
    path = run / "config.json"
    path.unlink() if content is None else path.write_text(content)
    assert call("resume", run)[0] != 0
    assert again(root) == 0
    captured = capsys.readouterr()
    assert f"warning: {path} does not serve: " in captured.err
    assert ("it is now config.json.old1" in captured.err) == (content is not None)
    assert "seed 0: step" not in captured.out  # nothing is trained again
    assert captured.err.count("\n") == 1
    assert folder.read_config(run) == before
    assert call("verify", run)[0] == 0


@pytest.mark.parametrize("content", [None, "{"])
def test_where_results_alone_tell_of_a_finished_run_its_settings_are_not_known(
    toy, runs, capsys, content
):
    root, run = runs
    path, before = run / "config.json", folder.read_config(run)
    shutil.rmtree(run / "checkpoints")
    path.unlink() if content is None else path.write_text(content)
    refused(root, capsys)
    assert again(root, "--accept-changes") == 0
    captured = capsys.readouterr()
    assert "seed 0: step" not in captured.out  # nothing is trained again
    after = folder.read_config(run)
    assert {"data", "code", "jax"} < after.fingerprint.keys()
    assert after.fingerprint.items() < before.fingerprint.items()  # JAX's settings are in no result
    assert after.continued == [folder.LOST]
    assert captured.err.count(f"{run} lost its config.json once: not all is known") == 1


def refused(root, capsys):
    """A run is not gone on with, and nothing of it is changed, since nothing tells its settings."""
    before = look(root)
    capsys.readouterr()
    assert again(root) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert "config.json does not serve (" in error
    assert "no checkpoint has a copy of it" in error
    assert "begin anew with --fresh" in error
    assert error.endswith("or go on with --accept-changes")
    assert look(root) == before


@pytest.mark.parametrize("content", [None, "{"])
def test_that_of_an_unfinished_run_comes_from_its_checkpoints(
    toy, tmp_path, monkeypatch, capsys, content
):
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert again(tmp_path) == 130
    (run,) = (tmp_path / "lp_norms").iterdir()
    path, before = run / "config.json", folder.read_config(run)
    path.unlink() if content is None else path.write_text(content)
    with monkeypatch.context() as patch:
        patch.setattr(fingerprint, "settings", lambda: {"jax_enable_x64": "other"})
        assert again(tmp_path) == 1
    error = capsys.readouterr().err
    assert f"{path} does not serve: " in error
    assert "an unfinished run made under jax_enable_x64 True (now other)" in error
    assert folder.read_config(run) == before
    path.unlink()
    manifests = {place: checkpoints.read_manifest(place) for place in folder.saved(run)}
    for change in ({"study": "x"}, {"jobs": "x"}, {"more": 1}):
        for place, manifest in manifests.items():
            changed = manifest._replace(config=manifest.config | change)
            files.write_sealed(place / checkpoints.MANIFEST, checkpoints.FORMAT, changed)
        assert folder.saved_configs(run) == []
    refused(tmp_path, capsys)
    assert again(tmp_path, "--accept-changes") == 0
    assert f"{run} lost its config.json once: not all is known" in capsys.readouterr().err
    assert folder.read_config(run).continued == [folder.LOST]


def test_a_run_that_is_finished_is_read_once_when_its_command_is_repeated(toy, runs, monkeypatch):
    root, run = runs
    counts = collections.Counter()

    def digest(path, digest=files.file_digest):
        counts[path.relative_to(run).as_posix()] += 1
        return digest(path)

    monkeypatch.setattr(files, "file_digest", digest)
    assert again(root) == 0
    assert {"results.nc", "metrics.jsonl", "figure.png"} < counts.keys()
    assert set(counts.values()) == {1}


def test_a_damaged_checkpoint_of_a_finished_run_is_said_once_and_set_aside(toy, runs, capsys, call):
    root, run = runs
    for step in (3, 4):
        (run / f"checkpoints/batch-0/{step}/state.npz").write_bytes(b"")
    assert again(root) == 0
    error = capsys.readouterr().err
    for step in (3, 4):
        assert f"checkpoint {run}/checkpoints/batch-0/{step} is damaged: state.npz has 0" in error
        assert f"it is now {step}.old1" in error
    assert call("verify", run)[0] == 0
    assert again(root) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "finished before" in captured.out


def test_an_older_damaged_checkpoint_of_a_finished_arm_is_said_and_set_aside(
    toy, tmp_path, monkeypatch, capsys
):
    with monkeypatch.context() as patch:
        stop_at(patch, 7)
        assert again(tmp_path) == 130
    (run,) = (tmp_path / "lp_norms").iterdir()
    older, newest = sorted((run / "checkpoints/none-0").iterdir())
    assert newest.name == "4"  # the arm is done
    (older / "state.npz").write_bytes(b"")
    capsys.readouterr()
    assert again(tmp_path) == 0
    assert f"checkpoint {older} is damaged: " in capsys.readouterr().err
    assert older.with_name(f"{older.name}.old1").exists()


def test_calls_from_several_threads_wait_for_each_other(toy, tmp_path):
    rates = ["0.1", "0.2", "0.1"]
    with ThreadPoolExecutor(len(rates)) as pool:
        calls = [
            pool.submit(bnjax.start, STUDY, *TOY, "--lr", rate, "--out", str(tmp_path))
            for rate in rates
        ]
        first, second, third = (call.result() for call in calls)
    assert first == third != second
    for path in (first, second):
        assert folder.read_summary(path).failed == {}
        assert not folder.verify(path).damage


class Move(Listener):
    """Moves the run's folder away when so many steps are done."""

    def __init__(self, root, after, act):
        self.root, self.after, self.act = root, after, act

    def advance(self, arm, done, record):
        self.after -= 1
        if self.after == 0:
            (run,) = (self.root / "lp_norms").iterdir()
            self.act(run, self.root / "moved")


@pytest.mark.parametrize("after", [1, 6, 8])
def test_a_folder_that_is_moved_while_it_runs_is_not_begun_anew_beside(
    toy, tmp_path, monkeypatch, after
):
    monkeypatch.setattr(layout, "SIDE_BY_SIDE", layout.ALONE)
    root = tmp_path / "runs"
    call = [STUDY, *TOY, "--out", str(root)]
    with pytest.raises(RunError, match="was moved or removed while it was in use: put it back"):
        bnjax.start(*call, listeners=[Move(root, after, Path.rename)])
    moved = root / "moved"
    assert [path.name for path in root.iterdir() if path.name != ".locks"] == ["moved"]
    assert not folder.verify(moved).finished
    (root / "lp_norms").mkdir()
    moved.rename(root / "lp_norms" / folder.digest(command_line.prepare(STUDY, call[1:])))
    whole = bnjax.start(STUDY, *TOY, "--out", str(tmp_path / "whole"))
    for name in ("metrics.jsonl", "results.nc"):
        assert (bnjax.start(*call) / name).read_bytes() == (whole / name).read_bytes()


def test_a_home_is_expanded_as_a_shell_does(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert command_line.main(STUDY, [*TOY, "--out=~/runs"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
