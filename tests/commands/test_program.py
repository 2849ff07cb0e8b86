"""The command `bnjax`: what there is, studies by name, calls from Python, and the machine."""

import os
import subprocess
import sys

import pytest
from toy_runs import STUDY, TOY

import bnjax
from bnjax.commands import command_line, doctor, program
from bnjax.errors import UsageError
from bnjax.frame import folder, layout, results
from bnjax.frame import study as studies
from bnjax.frame.listener import Listener
from bnjax.studies import landscape


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_it_says_what_there_is(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    assert program.main(arguments) == 0
    said = " ".join(capsys.readouterr().out.split())
    for name in (*studies.names(), *program.MODULES, *program.COMMANDS):
        assert f" {name} " in said
    assert studies.find("landscape").description[:40] in said
    assert "no runs in runs: bnjax landscape makes the first figure" in said
    assert ("A microscope for normalisation." in said) == bool(arguments)


def test_a_package_that_one_command_lacks_is_one_line():
    code = "import sys; sys.modules['filelock'] = None; sys.argv = ['bnjax', 'report']; "
    code += "from bnjax.__main__ import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == 'error: filelock is not installed: pip install "bnjax[studies]"\n'


def test_a_study_by_its_name_is_its_script_and_its_runs_are_listed(
    toy_runs, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert program.main(["lp_norms", *TOY]) == 0
    assert "finished before" not in capsys.readouterr().out
    assert command_line.main(STUDY, TOY) == 0
    assert "finished before" in capsys.readouterr().out
    (run,) = (tmp_path / "runs" / "lp_norms").iterdir()
    assert program.main([]) == 0
    said = capsys.readouterr().out
    assert run.name in said
    assert "finished" in said


def test_a_study_is_started_from_python_and_listeners_are_told(toy, tmp_path):
    told = []

    class Ear(Listener):
        def advance(self, arm, done, record):
            told.append((arm.label, done))

        def finish(self, arm, record):
            told.append((arm.label, record["train_loss"].tolist()))

        def judge(self, verdicts):
            told.append([verdict["identifier"] for verdict in verdicts])

        def draw(self, name, files):
            told.append((name, [path.name for path in files]))

    run = bnjax.start(STUDY, *TOY, "--out", str(tmp_path), listeners=[Ear()])
    losses = results.read(run)["train_loss"].sel(seed=0)
    for norm in ("none", "batch"):  # at the same time
        label = f"{norm}, seed 0"
        own = [event[1] for event in told[:-2] if event[0] == label]
        assert own == [1, 2, 3, 4, losses.sel(norm=norm).values.tolist()]
    assert told[-2:] == [[], ("figure", ["figure.png"])]
    assert len(told) == 12
    assert (run / "report.html").exists()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (["lp_norms", "--lr", "-1"], "--lr -1"),
        (["lp_norms", "--plan"], "begins no run"),
        (["nothing"], "no study is named 'nothing': there are batch_size"),
    ],
)
def test_a_wrong_call_from_python_raises(tmp_path, monkeypatch, call, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        bnjax.start(*call)
    assert not list(tmp_path.iterdir())


def test_a_command_with_a_module_of_its_own_gets_its_options(capsys):
    assert program.main(["reproduce", "--dry-run", "--only", "shift"]) == 0
    assert capsys.readouterr().out.startswith("shift: ")


@pytest.mark.parametrize("name", studies.names())
def test_every_study_says_in_a_line_what_it_is_for(name):
    line = studies.find(name).description.split("\n")[0]
    assert line.endswith(".")
    assert 20 <= len(line) <= 100


INSTANT = (
    "", "list", "list .", "--version", "help", "landscape --help", "landscape --help-all",
    "help theory", "resume --help", "report --help", "reproduce --help", "completion bash",
    "landscape --bogus", "landscpae",
)  # fmt: skip


@pytest.mark.parametrize("arguments", INSTANT)
def test_what_there_is_and_help_are_instant(tmp_path, arguments):
    """A second counts where someone asks what there is."""
    code = (
        "import sys; from bnjax.commands import program\n"
        "try: program.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "assert not {'jax', 'flax', 'matplotlib', 'xarray'} & set(sys.modules)"
    )
    call = [sys.executable, "-c", code, *arguments.split()]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_what_trains_loads_nothing_that_judges_and_draws_later():
    code = (
        "import sys; import bnjax.frame.run, bnjax.probes; from bnjax import data\n"
        "data.load('digits')\n"
        "assert not {'sklearn', 'matplotlib', 'xarray', 'pandas', 'scipy.ndimage'} & {*sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_doctor_finds_a_machine_that_serves(tmp_path, capsys):
    assert program.main(["doctor", "--data-dir", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for word in ("versions", "devices", "precision", "cache", "digits", "cifar10", "runs"):
        assert f"{word}  " in said
    assert "WRONG" not in said
    assert f"not prepared in {tmp_path}" in said


def test_the_doctor_finds_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "FULL_PRECISION", 0.0)
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    assert program.main(["doctor", "--data-dir", str(tmp_path)]) == 1
    wrong = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "WRONG" in line]
    assert wrong == ["precision", "mnist"]


def test_the_doctor_finds_a_folder_that_cannot_be_written_and_leaves_nothing(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    for out, status in (("new/runs", 0), ("file", 1), ("file/runs", 1), ("/proc/runs", 1)):
        call = ["doctor", "--data-dir", str(tmp_path), "--out", out]
        assert program.main(call) == status
        (said,) = [line for line in capsys.readouterr().out.splitlines() if " runs  " in line]
        assert ("WRONG: " in said and "cannot be written" in said) == bool(status)
        assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    kept = doctor.jax.config.jax_compilation_cache_dir
    doctor.jax.config.update("jax_compilation_cache_dir", "/proc/programs")
    try:
        found = doctor.compilations()
    finally:
        doctor.jax.config.update("jax_compilation_cache_dir", kept)
    assert not found.sound
    assert "set BNJAX_CACHE_DIR to another folder" in found.found


@pytest.mark.parametrize("name", ["TFDS_DATA_DIR", "JAX_COMPILATION_CACHE_DIR", "BNJAX_CACHE_DIR"])
def test_the_doctor_goes_on_after_a_folder_whose_name_is_too_long(
    monkeypatch, capsys, tmp_path, name
):
    long = str(tmp_path / ("x" * 300))
    monkeypatch.setenv(name, long)
    kept = doctor.jax.config.jax_compilation_cache_dir
    if name.startswith("JAX"):
        doctor.jax.config.update("jax_compilation_cache_dir", long)
    elif name.startswith("BNJAX"):
        doctor.jax.config.update("jax_compilation_cache_dir", None)
    try:
        status = program.main(["doctor", "--out", long])
    finally:
        doctor.jax.config.update("jax_compilation_cache_dir", kept)
    out, error = capsys.readouterr()
    lines = [line.split()[0] for line in out.splitlines()]
    assert (status, lines[0], lines[-1]) == (1, "versions", "runs")
    assert len(lines) == len(set(lines))
    assert error.count("\n") == (name == "BNJAX_CACHE_DIR")
    assert program.main(["doctor", "--data-dir", long]) == 2
    assert capsys.readouterr().err == (
        f"error: data_dir={long} is not a folder: give one with prepared data sets\n"
    )


def test_the_precision_of_products_is_measured(monkeypatch):
    real = doctor.jnp.matmul
    monkeypatch.setattr(
        doctor.jnp, "matmul", lambda a, b: real(a.astype("bfloat16"), b.astype("bfloat16"))
    )
    found = doctor.precision()
    assert not found.sound
    assert "highest 2" in found.found or "highest 3" in found.found  # 2⁻⁹ and more


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "glibc.malloc.hugetlb=1"),
        ({"GLIBC_TUNABLES": "glibc.malloc.check=1"}, "glibc.malloc.check=1:glibc.malloc.hugetlb=1"),
        ({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, None),
    ],
)
def test_a_run_starts_again_with_huge_pages(monkeypatch, given, expected):
    started = []
    monkeypatch.setattr(os, "execve", lambda *call: started.append(call))
    monkeypatch.setattr(os, "confstr", lambda name: "glibc 2.36")
    given = {"JAX_PLATFORMS": "cuda", "XLA_FLAGS": "--xla_gpu_autotune_level=2", **given}
    command_line.suit_xla([], given)
    if expected is None:
        assert not started
        return
    [(program, arguments, environment)] = started
    assert (program, arguments[0]) == (sys.executable, sys.executable)
    assert environment == {**given, "GLIBC_TUNABLES": expected}


@pytest.mark.parametrize("version", [None, "glibc 2.34", "musl"])
def test_where_nothing_can_give_huge_pages_nothing_starts_again(monkeypatch, version):
    monkeypatch.setattr(os, "execve", lambda *call: pytest.fail("started again"))
    monkeypatch.setattr(os, "confstr", lambda name: version)
    command_line.suit_xla([], {})


LEVEL_1, UNTUNED = "--xla_backend_optimization_level=1", "--xla_gpu_autotune_level=0"


@pytest.mark.parametrize(
    ("given", "plugin", "preset", "flags"),
    [
        ({}, False, "paper", LEVEL_1),
        ({}, True, "paper", None),  # there may be a GPU
        ({}, True, "quick", UNTUNED),
        ({"JAX_PLATFORMS": "cpu"}, True, "quick", LEVEL_1),
        ({"JAX_PLATFORMS": "cuda"}, False, "toy", UNTUNED),
        ({"JAX_PLATFORMS": "tpu"}, True, "toy", None),
        ({"XLA_FLAGS": "--a=b"}, False, "quick", f"--a=b {LEVEL_1}"),
        ({"XLA_FLAGS": LEVEL_1.replace("1", "3")}, False, "quick", LEVEL_1.replace("1", "3")),
        ({"XLA_FLAGS": UNTUNED.replace("0", "4")}, True, "quick", UNTUNED.replace("0", "4")),
    ],
)
def test_programs_compile_cheaply_where_that_costs_nothing(
    monkeypatch, given, plugin, preset, flags
):
    monkeypatch.setattr(os, "confstr", lambda name: None)
    monkeypatch.setattr(
        command_line.importlib.util, "find_spec", lambda name: plugin and name == "jax_plugins"
    )
    environment = dict(given)
    command_line.suit_xla(["--preset", preset], environment)
    assert environment.get("XLA_FLAGS") == flags


@pytest.mark.parametrize("flags", ["", UNTUNED, f"--a=b {UNTUNED}", UNTUNED.replace("0", "4")])
def test_a_resumed_run_has_its_kernels_chosen_as_when_it_was_begun(monkeypatch, tmp_path, flags):
    monkeypatch.setattr(os, "confstr", lambda name: None)
    options = landscape.Options()
    run = tmp_path / "landscape" / folder.digest(options)
    run.mkdir(parents=True)
    folder.write_config(run, folder.describe("landscape", options, {"XLA_FLAGS": flags}))
    environment = {"JAX_PLATFORMS": "cuda"}
    command_line.suit_xla(["resume", "--debug", str(run)], environment)
    assert environment.get("XLA_FLAGS") == (UNTUNED if UNTUNED in flags else None)
    environment = {"JAX_PLATFORMS": "cuda"}
    command_line.suit_xla(["resume", str(tmp_path)], environment)
    assert "XLA_FLAGS" not in environment


def test_a_flag_that_nobody_gave_is_not_blamed(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("JAX_", "XLA_"))]:
        monkeypatch.delenv(name)
    own = " ".join([LEVEL_1, UNTUNED, *layout.DETERMINISTIC, *layout.ONE_ORDER])
    message = "no kernel was found: set XLA_FLAGS=--xla_gpu_strict_conv_algorithm_picker=false"
    monkeypatch.setenv("XLA_FLAGS", own)
    assert command_line.blamed(message) == []
    monkeypatch.setenv("XLA_FLAGS", f"{own} --a=b {LEVEL_1[:-1]}3")
    assert command_line.blamed(message) == [f"XLA_FLAGS=--a=b {LEVEL_1[:-1]}3"]
    assert command_line.blamed("another message") == []
