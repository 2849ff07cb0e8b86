"""The command `bnjax`: what there is, experiments by name, and what a machine has."""

import os
import subprocess
import sys

import pytest
from toy_runs import EXPERIMENT, TOY

from bnjax.commands import catalogue, command_line, doctor, program
from bnjax.errors import RunError, UsageError


def test_without_arguments_it_says_what_there_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert program.main([]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for name in (*catalogue.names(), "list", "verify", "resume", "doctor"):
        assert f" {name} " in said
    assert catalogue.sentence("landscape")[:40] in said
    assert "no runs here yet" in said


def test_it_lists_the_runs_that_are_here(toy_runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert program.main([EXPERIMENT.name, *TOY]) == 0
    (run,) = (tmp_path / "runs" / EXPERIMENT.name).iterdir()
    capsys.readouterr()
    assert program.main([]) == 0
    said = capsys.readouterr().out
    assert run.name in said
    assert "finished" in said


def test_an_experiment_by_its_name_is_its_script(toy_runs, tmp_path, capsys):
    assert program.main([EXPERIMENT.name, *TOY, "--out", str(tmp_path)]) == 0
    assert "finished before" not in capsys.readouterr().out
    script = catalogue.load(EXPERIMENT.name)
    assert program.command_line.main(script.EXPERIMENT, [*TOY, "--out", str(tmp_path)]) == 0
    assert "finished before" in capsys.readouterr().out


def test_the_report_by_its_name_is_its_script(toy_runs, tmp_path, capsys):
    command_line.main(EXPERIMENT, [*TOY, "--out", str(tmp_path)])
    (run,) = tmp_path.glob("*/*/config.json")
    capsys.readouterr()
    assert program.main(["report", str(run.parent), "--out", str(tmp_path / "page.html")]) == 0
    assert str(tmp_path / "page.html") in capsys.readouterr().out
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("name", ["nonsense", "/tmp", "landscape.py"])
def test_a_command_that_does_not_exist_is_told_those_that_do(capsys, name):
    assert program.main([name]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: bnjax {name}: must be of ")
    assert "landscape" in error
    assert "verify" in error
    assert error.count("\n") == 1


def test_help_says_what_there_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert program.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "A microscope for normalisation" in shown
    assert all(name in shown for name in (*catalogue.names(), *program.COMMANDS))


def test_an_experiment_is_started_from_python(toy_runs, tmp_path):
    run = command_line.start("lp_norms", *TOY, "--out", str(tmp_path))
    assert (run / "summary.json").exists()
    assert (run / "report.html").exists()
    with pytest.raises(UsageError, match="--lr -1"):
        command_line.start("lp_norms", "--lr", "-1")
    with pytest.raises(UsageError, match="begins no run"):
        command_line.start("lp_norms", *TOY, "--plan", "--out", str(tmp_path))


def test_a_script_of_its_own_gets_its_options(capsys):
    assert program.main(["reproduce", "--dry-run", "--only", "shift"]) == 0
    assert capsys.readouterr().out.startswith("shift: ")
    assert program.main(["reproduce", "--only", "nonsense"]) == 2


@pytest.mark.parametrize("name", catalogue.names())
def test_every_script_says_in_a_line_what_it_is_for(name):
    line = catalogue.sentence(name)
    assert line.endswith(".")
    assert 20 <= len(line) <= 100


def test_what_there_is_is_said_without_running_any_script():
    """A second counts where someone asks what there is."""
    code = (
        "import sys; from bnjax.commands import program; program.main([]);"
        "assert not [name for name in sys.modules if name.startswith('bnjax_experiment_')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)


def test_the_doctor_finds_a_machine_that_serves(tmp_path, capsys):
    assert program.main(["doctor", "--data-dir", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for word in ("versions", "devices", "precision", "cache", "digits", "cifar10", "disk"):
        assert f"{word}  " in said
    assert "WRONG" not in said
    assert f"not prepared in {tmp_path}" in said


def test_the_doctor_finds_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "FULL_PRECISION", 0.0)
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    assert program.main(["doctor", "--data-dir", str(tmp_path)]) == 1
    wrong = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "WRONG" in line]
    assert wrong == ["precision", "mnist"]


def test_a_wrong_folder_of_data_is_a_wrong_call(tmp_path, capsys):
    assert program.main(["doctor", "--data-dir", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_precision_of_products_is_measured(monkeypatch):
    real = doctor.jnp.matmul
    monkeypatch.setattr(
        doctor.jnp, "matmul", lambda a, b: real(a.astype("bfloat16"), b.astype("bfloat16"))
    )
    found = doctor.precision()
    assert not found.sound
    assert "highest 2" in found.found or "highest 3" in found.found  # 2⁻⁹ and more


def test_no_script_elsewhere_is_run(tmp_path):
    mark = tmp_path / "mark"
    (tmp_path / "script.py").write_text(f"open({str(mark)!r}, 'w')")
    with pytest.raises(RunError, match="there are batch_size"):
        catalogue.load(os.path.relpath(tmp_path / "script", catalogue.STUDIES))
    assert not mark.exists()
