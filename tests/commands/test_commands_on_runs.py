"""`python -m bnjax` verify, resume and list, and a finished run whose files were damaged."""

import dataclasses
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import make_toy
from toy_runs import EXPERIMENT, TOY, look, stop_at

from bnjax.commands import catalogue, program
from bnjax.commands import command_line as frame
from bnjax.errors import RunError
from bnjax.frame import disk, files, folder, inventory, lock, options, results
from bnjax.frame.files import plain
from bnjax.frame.names import digest, digest_of

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(
    path.stem
    for path in (ROOT / "experiments").glob("*.py")
    if path.stem not in ("report", "reproduce")
)
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def made(noise_dataset, tmp_path_factory):
    """A finished run of two arms."""
    out = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        make_toy(patch, noise_dataset)
        assert frame.main(EXPERIMENT, [*TOY, "--out", str(out)]) == 0
    return out


@pytest.fixture
def runs(made, tmp_path):
    """A copy of it: the root and the run folder."""
    root = shutil.copytree(made, tmp_path / "runs")
    (run,) = (root / "lp_norms").iterdir()
    return root, run


def again(root, *arguments):
    return frame.main(EXPERIMENT, [*TOY, "--out", str(root), *arguments])


def test_verify_counts_what_is_sound_and_names_what_is_not(runs, capsys):
    root, run = runs
    assert program.main(["verify", str(run)]) == 0
    assert capsys.readouterr().out == f"{run}: sound: 6 files, 4 checkpoints\n"
    (run / "metrics.jsonl").write_text("")
    (run / "figure.png").unlink()
    (run / "checkpoints/batch-0/3/MANIFEST.json").write_text("{}")
    before = look(root)
    assert program.main(["verify", str(run)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        rf"{run}/metrics.jsonl: has 0 bytes, of \d+ that were written", lines.pop(1)
    )
    assert lines == [
        f"{run}/figure.png: is missing",
        f"{run}/checkpoints/batch-0/3: its MANIFEST.json does not serve: it has no format: another "
        "version or another program made it",
        f"{run}: damaged: 4 files, 3 checkpoints sound",
    ]
    assert look(root) == before


def test_verify_takes_several_and_fails_if_one_is_damaged(runs, capsys):
    root, run = runs
    second = root / "lp_norms" / f"{run.name}.old1"
    shutil.copytree(run, second)
    assert program.main(["verify", str(run), str(second)]) == 0
    (second / "config.json").unlink()
    assert program.main(["verify", str(run), str(second)]) == 1
    assert f"{second}/config.json: No such file or directory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bogus"], "bogus"),
        (["verify"], "no run folder is given"),
        (["verify", "nowhere"], "nowhere is not a folder"),
        (["resume"], "PATH Run folder. (required)"),
        (["resume", "nowhere"], "is no run folder: give one that has a config.json"),
        (["resume", "a", "b"], "b"),
        (["list", "nowhere"], "nowhere cannot be listed"),
        (["list", "--bogus"], "--bogus"),
    ],
)
def test_wrong_calls_give_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert program.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert list(tmp_path.iterdir()) == []


def listed(root, capsys):
    capsys.readouterr()
    assert program.main(["list", "--json", str(root)]) == 0
    return json.loads(capsys.readouterr().out)


def test_list_tells_finished_unfinished_used_and_damaged(toy, runs, monkeypatch, capsys):
    root, run = runs
    stop_at(monkeypatch, 7)
    assert again(root, "--lr", "0.2") == 130
    unfinished = max((root / "lp_norms").iterdir(), key=lambda path: path.stat().st_mtime)
    shutil.copytree(run, root / "lp_norms" / "0123456789ab")
    (root / "lp_norms" / "notes").mkdir()
    states = {entry["digest"]: entry for entry in listed(root, capsys)}
    assert states.keys() == {run.name, unfinished.name, "0123456789ab"}
    assert states[run.name]["state"] == "finished"
    assert states[unfinished.name]["state"] == "unfinished: 1 of 2 done, step 3"
    damaged = f"damaged: config.json: it is of the run {run.name}"
    assert states["0123456789ab"]["state"] == damaged
    assert states[run.name]["what"] == {
        "model": "vgg11",
        "dataset": "digits",
        "norms": ["none", "batch"],
        "lr": 0.1,
        "seeds": 1,
    }
    with lock.hold(unfinished):
        states = {entry["digest"]: entry["state"] for entry in listed(root, capsys)}
    used = f"in use by process {os.getpid()} on {socket.gethostname()}: 1 of 2 done, step 3"
    assert states[unfinished.name] == used
    assert listed(root, capsys)[0]["state"].startswith(("unfinished", "finished", "damaged"))
    assert program.main(["list", str(root)]) == 0
    shown = capsys.readouterr().out
    assert run.name in shown
    assert "unfinished" in shown


def test_an_empty_root_has_no_runs(tmp_path, capsys):
    assert program.main(["list", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"no runs in {tmp_path}\n"


def test_resume_ends_as_the_same_command_would(toy_runs, made, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_at(patch, 7)
        assert again(tmp_path / "runs") == 130
    moved = (tmp_path / "runs").rename(tmp_path / "moved")
    (run,) = (moved / "lp_norms").iterdir()
    monkeypatch.chdir(run.parent)
    assert program.main(["resume", run.name]) == 0
    (whole,) = (made / "lp_norms").iterdir()
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    first, second = results.read(run).arrays, results.read(whole).arrays
    for name in second:
        np.testing.assert_array_equal(first[name], second[name])
    assert program.main(["resume", "."]) == 2  # the folder of the experiment
    capsys.readouterr()
    assert program.main(["resume", run.name]) == 0
    assert "finished before" in capsys.readouterr().out


def edit(run, **changes):
    """Options of a run changed, all digests and the folder's name made to fit."""
    record = folder.read_config(run)
    record = record._replace(config={**record.config, **changes})
    content = {"format": folder.FORMAT, **record._asdict()}
    (run / "config.json").write_text(files.seal(content))
    return run.rename(run.with_name(digest_of(record.config, record.plugins)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": "0.1"}, "its option lr is '0.1', which is not of its type"),
        ({"lr": "NaN"}, "--lr nan: must be above 0"),
        ({"norms": "batch"}, "its option norms"),
        ({"norms": [1]}, "its option norms"),
        ({"norms": ["../../x"]}, r"--norms ../../x: must be of none"),
        ({"model": "vgg12"}, "--model vgg12: must be of vgg11"),
        ({"model": 1}, "its option model"),
        ({"steps": True}, "its option steps"),
        ({"steps": 2**70}, "its option steps"),
        ({"depth": "a"}, "its option depth"),
        ({"data_dir": "a\0b"}, "its option data_dir"),
        ({"more": 1}, "the options more"),
        ({"plugins": ["x.py"]}, "made with --plugins, files that would be run"),
    ],
)
def test_resume_refuses_options_that_do_not_serve(toy_runs, runs, capsys, changes, message):
    root, run = runs
    run = edit(run, **changes)
    before = look(root)
    capsys.readouterr()
    assert program.main(["resume", str(run)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "give the original command" in error
    assert error.count("\n") == 1
    assert look(root) == before


def test_resume_goes_on_with_other_devices(toy_runs, runs, capsys):
    _, run = runs
    run = edit(run, data_devices=4)
    (run / "summary.json").unlink()
    capsys.readouterr()
    assert program.main(["resume", str(run)]) == 2
    assert "--data-devices 4 --probe-devices 1 need 4 devices" in capsys.readouterr().err
    assert program.main(["resume", str(run), "--data-devices", "1"]) == 0
    for wrong in ("0", "2000000"):
        assert program.main(["resume", str(run), "--probe-devices", wrong]) == 2
        assert f"--probe-devices {wrong}: must be from 1 to" in capsys.readouterr().err


def test_resume_reads_data_only_from_where_the_person_says(toy_runs, runs, tmp_path, capsys):
    _, run = runs
    (tmp_path / "data").mkdir()
    run = edit(run, data_dir=str(tmp_path / "data"), dataset="cifar10")
    capsys.readouterr()
    assert program.main(["resume", str(run)]) == 2
    assert f"if you know that folder, add --data-dir {tmp_path}/data" in capsys.readouterr().err
    (run / "summary.json").rename(run / "kept")  # not finished: goes on by what is saved
    assert program.main(["resume", str(run), "--data-dir", str(tmp_path / "data")]) == 0


def test_resume_asks_for_published_curves_that_were_moved(toy, toy_runs, runs, tmp_path, capsys):
    _, run = runs
    run = edit(run, published="curves.csv")
    capsys.readouterr()
    assert program.main(["resume", str(run)]) == 2
    assert "--published curves.csv cannot be read (" in capsys.readouterr().err
    table = tmp_path / "moved.csv"
    table.write_text("panel,series,step,low,high\np,none,1,2,3\n")
    assert program.main(["resume", str(run), "--published", str(table)]) == 0


@pytest.mark.parametrize("place", ["checkpoints", "checkpoints/batch-0"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_verify_says_of_checkpoints_that_are_no_folder(runs, tmp_path, capsys, place, kind):
    _, run = runs
    (run / place).rename(tmp_path / "moved")
    if kind == "link":
        (run / place).symlink_to(tmp_path / "moved")
    else:
        (run / place).touch()
    capsys.readouterr()
    assert program.main(["verify", str(run)]) == 1
    assert f"{place}: is not a folder" in capsys.readouterr().out


def test_verify_reads_no_file_that_is_larger_than_any_run_writes(runs, capsys, monkeypatch):
    _, run = runs
    monkeypatch.setattr(inventory, "LARGEST_ARRAYS", 100)  # bytes
    capsys.readouterr()
    assert program.main(["verify", str(run)]) == 1
    assert "bytes, more than a run writes (100)" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["../studies/lp_norms", "os", "reproduce", "", "lp_norms.py"])
def test_only_experiments_beside_the_package_are_found(name):
    with pytest.raises(RunError, match="there are"):
        catalogue.find_experiment(name)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_preset_of_every_experiment_is_rebuilt_from_its_config_json(name):
    experiment = catalogue.find_experiment(name)
    for config in experiment.presets.values():
        stored = json.loads(json.dumps(plain(dataclasses.asdict(config))))
        assert repr(options.build(type(config), stored)) == repr(config)  # some lr are NaN
        assert digest_of(stored, []) == digest(config)


DAMAGED = ["probes.npz", "metrics.jsonl", "figure.png", "summary.json"]


@pytest.mark.parametrize("name", DAMAGED)
def test_a_finished_run_whose_result_is_damaged_is_written_again(toy, runs, capsys, name):
    root, run = runs
    good = (run / name).read_bytes()
    bad = bytes([good[0] ^ 1]) + good[1:]
    (run / name).write_bytes(bad)
    assert again(root) == 0
    captured = capsys.readouterr()
    assert f"warning: {run}/{name}: " in captured.err
    assert f"it is now {name}.old1; it is written again" in captured.err
    assert ("finished before" in captured.out) == (name == "figure.png")  # all measured is sound
    assert "seed 0: step" not in captured.out  # nothing is trained again
    assert (run / f"{name}.old1").read_bytes() == bad
    assert (run / name).read_bytes() == good
    assert program.main(["verify", str(run)]) == 0
    assert again(root) == 0
    assert "finished before" in capsys.readouterr().out


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


def test_list_looks_at_the_sizes_of_a_finished_runs_files(runs, capsys):
    root, run = runs
    (run / "metrics.jsonl").write_text("")
    (found,) = listed(root, capsys)
    assert found["state"].startswith("damaged: metrics.jsonl: has 0 bytes, of")


def test_figures_of_a_finished_run_are_drawn_again_by_one_process_at_a_time(
    toy, runs, tmp_path, capsys
):
    root, run = runs
    table = tmp_path / "curves.csv"
    table.write_text("panel,series,step,low,high\np,none,1,2,3\n")
    before = look(root)
    with lock.hold(run):
        assert again(root, "--published", str(table)) == 1
        assert "is in use by process" in capsys.readouterr().err
        assert again(root) == 0  # nothing is written: no lock is needed
    assert look(root) == before


def test_a_finished_run_without_its_config_json_is_not_returned_as_if_good(toy, runs, capsys):
    root, run = runs
    (run / "config.json").write_text("{}")
    before = look(root)
    assert again(root) == 1
    assert "config.json does not serve" in capsys.readouterr().err
    assert look(root) == before
    assert again(root, "--fresh") == 0


def test_figures_drawn_again_beside_published_curves_are_sound(toy, runs, tmp_path, capsys):
    root, run = runs
    table = tmp_path / "curves.csv"
    table.write_text("panel,series,step,low,high\np,standard,0,1,2\n")

    def draw(results, published, folder):
        with disk.replacing(folder / "figure.png") as temporary:
            temporary.write_text(str(sorted(published)))
        return [folder / "figure.png"]

    experiment = EXPERIMENT._replace(draw=draw)
    for _ in range(2):
        assert frame.main(experiment, [*TOY, "--out", str(root), "--published", str(table)]) == 0
        captured = capsys.readouterr()
        assert "finished before" in captured.out
        assert captured.err == ""
        assert (run / "figure.png").read_text() == "[('p', 'none')]"
        assert program.main(["verify", str(run)]) == 0


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
    assert re.fullmatch(
        r"error: .*config.json does not serve \(it is nested too deeply\).*\n", error
    )
    status, out, error = call("--help")
    assert status == 0
    assert "bnjax resume" in out


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


def test_a_trained_network_that_is_damaged_is_written_again(toy, tmp_path, capsys):
    def keep(config, arm, state):
        return {"bias": np.asarray(state.params["output"]["bias"])}

    experiment = EXPERIMENT._replace(keep=keep)
    call = [*TOY, "--out", str(tmp_path)]
    assert frame.main(experiment, call) == 0
    (network,) = tmp_path.glob("lp_norms/*/models/batch-0.npz")
    kept = files.read_npz(network)["bias"]
    network.write_bytes(b"damaged")
    assert frame.main(experiment, call) == 0
    assert "models/batch-0.npz: has 7 bytes" in capsys.readouterr().err
    np.testing.assert_array_equal(files.read_npz(network)["bias"], kept)
    assert network.with_name("batch-0.npz.old1").read_bytes() == b"damaged"


def test_no_control_character_of_a_folder_reaches_the_terminal(toy, runs, tmp_path, capsys):
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
    assert frame.main(EXPERIMENT, [*TOY, "--out", str(tmp_path / evil)]) == 0
    assert frame.main(EXPERIMENT, [*TOY, "--norms", evil]) == 2
    for text in capsys.readouterr():
        assert text.replace("\n", "").isprintable()
        assert r"\x1b" in text
    assert frame.main(EXPERIMENT, ["--published", evil]) == 2
