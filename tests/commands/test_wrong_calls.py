"""A wrong call of a study gives one line and writes nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from bnjax.commands import command_line
from bnjax.frame import study as studies

ROOT = Path(__file__).parents[2]
LANDSCAPE = [
    (["--lr", "0"], "--lr 0: must be one or more different learning rates above 0 and finite"),
    (["--lr", "nan"], "--lr nan: must be"),
    (["--lr", "abc"], "--lr abc: must be numbers, e.g. 0.05"),
    (["--lr", "0.1", "0.10000001"], "--lr 0.1 0.1: must be one or more different"),
    (["--min-step", "0.1", "--multiples", "1", "2"], "--min-step is not used beside --multiples 1"),
    (["--multiples", "1", "2", "--chunk", "3"], "--chunk 3: must be"),
    (["--points", "1"], "--points 1: must be from 2"),
    (["--points", "2.5"], "--points 2.5: must be a whole number, e.g. 4"),
    (["--points", "2", "3"], "--points 2 3: must be a whole number, e.g. 4"),
    (["--points"], "--points: must be a whole number, e.g. 4"),
    (["--chunk", "half"], "--chunk half: must be auto or a whole number, e.g. auto"),
    (["--batch-size", "100000"], "batch_size=100000 must be from 1 to 50"),
    (["--batch-size", "0"], "--batch-size 0: must be 1 or more"),
    (["--batch-size", "1"], "--batch-size 1: the norm batch takes statistics over the batch"),
    (["--microbatches", "2"], "do not add up to its gradient"),
    (["--norms", "layer", "--microbatches", "3"], "must be 1 or more and divide --batch-size"),
    (["--norms", "bach"], "--norms bach: must be one of none batch"),
    (["--norms", "BatchNorm"], "--norms BatchNorm: must be one of none batch"),
    (["--norms", "none", "batchnorm"], "registers; did you mean batch?"),
    (["--norms", "bn"], "registers; did you mean batch?"),
    (["--norms", "batch", "batch"], "--norms batch batch"),
    (["--model", "vgg12"], "--model vgg12: must be one of vgg5 vgg11 vgg13"),
    (["--model", "resnet18"], "registers; did you mean resnet?"),
    (["--model", "perceptron"], "registers; did you mean mlp?"),
    (["--max-step", "0.1"], "--max-step 0.1: must be above --min-step 0.5"),
    (["--min-step", "0"], "--min-step 0.0"),
    (["--steps", "0"], "--steps 0: must be from 1 to 10000000"),
    (["--steps", "100000000"], "--steps 100000000: must be from 1 to 10000000"),
    (["--lr", "1e-46"], "--lr 1e-46: must be from 1.2e-38 to 3.4e+38 in size: float32 has no"),
    (["--lr", "1e39"], "--lr 1e+39: must be from 1.2e-38"),
    (["--weight-decay", "1e-50"], "--weight-decay 1e-50: must be from 1.2e-38"),
    (["--kernel-penalty", "1e300"], "--kernel-penalty 1e+300: must be from 1.2e-38"),
    (["--multiples", "1", "1.0000000000000002"], "--multiples 1 1: must be 2 or more above 0"),
    (["--lr", "1e-30", "--multiples", "1e-20", "1"], "step sizes 1e-20 … 1 times --lr 1e-30: must"),
    (["--max-step", "0.50000001"], "step sizes 0.5 … 0.5 times --lr 0.05: must be rising in float"),
    (["--model", "mlp", "--depth", "1000000"], "depth 1000000 must be at most 1000"),
    (["--out", "a\0b"], r"--out a\x00b: must be a path in UTF-8, each name of at most 255 bytes"),
    (["--out", "a\udcff"], r"--out a\udcff: must be a path in UTF-8"),
    (["--out", "é" * 128], "must be a path in UTF-8, each name of at most 255 bytes"),
    (["--out", "a/" * 3000], "must be a path in UTF-8"),
    (["--out", "~nobody-of-that-name/runs"], "a path begins with ~ and is nobody's home"),
    (["--seeds", "0"], "--seeds 0"),
    (["--seed", "-1"], "--seed -1"),
    (["--width", "inf"], "--width inf"),
    (["--weight-decay", "-0.1"], "--weight-decay -0.1"),
    (["--kernel-penalty", "-1e-4"], "--kernel-penalty -0.0001: must be 0 or more and finite"),
    (["--kernel-penalty", "nan"], "--kernel-penalty nan: must be 0 or more and finite"),
    (["--kernel-penalty", "inf"], "--kernel-penalty inf: must be 0 or more and finite"),
    (["--hidden", "4096", "0"], "--hidden 4096 0: must be from 1 to 65536 each, e.g. 4096 4096"),
    (["--hidden", "-5"], "--hidden"),
    (["--model", "lenet", "--hidden", "9"], "model lenet has no hidden layers to choose: leave"),
    (["--bias-init", "nan"], "--bias-init nan: must be finite, e.g. 0.1"),
    (["--pixel-scale", "foo"], "--pixel-scale foo: must be one of standardised per_image unscaled"),
    (["--dataset", "cifar-10"], "gaussian_positive mnist1d; did you mean cifar10?"),
    (
        ["--optimizer", "adamW"],
        "must be one of sgd momentum nesterov adagrad rmsprop adam adamw muon; did",
    ),
    (["--dataset", "binary_digits", "--pixel-scale", "unscaled"], "which has no grey levels"),
    (["--model", "dln", "--pixel-scale", "unscaled"], "which has no grey levels"),
    (["--preset", "published", "--dataset", "digits"], "needs colour images of 32×32 pixels"),
    (["--preset", "published", "--dataset", "mnist"], "give cifar10 or cifar100"),
    (["--preset", "published", "--model", "dln"], "--model dln does not go with --dataset"),
    (["--probe-every", "0"], "--probe-every 0"),
    (["--evaluate-every", "0"], "--evaluate-every 0"),
    (["--directions", "random"], "--directions random"),
    (["--statistics", "foo"], "foo: must be one of batch running frozen recalibrated"),
    (["--preset", "foo"], "--preset foo: must be quick or toy or paper or published"),
    (["--dataset", "cifar10", "--data-dir", "/none"], "--data-dir /none: must be a folder"),
    (["--data-dir", "/"], "--data-dir has no use with --dataset digits"),
    (["--data-devices", "3"], "--data-devices 3: must be a divisor of the 128 examples"),
    (["--bogus", "1"], "--bogus: landscape has no such option: --help-all lists all"),
    (
        ["--learning-rat", "1"],
        "--learning-rat: landscape has no such option; did you mean --learning",
    ),
    (["--epochs", "1"], "--epochs: landscape has no such option; did you mean --steps?"),
    (["--norm", "batch"], "--norm: landscape has no such option; did you mean --norms?"),
    (["--min_stepp=1"], "--min_stepp: landscape has no such option; did you mean --min-step?"),
    (["lr", "0.1"], "lr: landscape takes options, which begin with --; did you mean --lr?"),
    (["--augment", "yes"], "--augment yes: takes no value: give --augment or --no-augment alone"),
]
SPECTRUM = [
    (["--lanczos-steps", "1"], "--lanczos-steps 1: must be 2 or more"),
    (["--vectors", "0"], "--vectors 0: must be 1 or more"),
    (["--trace-vectors", "1"], "--trace-vectors 1: must be 2 or more: one has no error"),
    (["--lanczos-steps", "6", "--top", "7"], "--top 7: must be from 2 to --lanczos-steps 6"),
    (["--images", "32", "--chunk", "7"], "--chunk 7: must be 2 or more, and divide --images 32"),
    (["--statistics", "batch", "batch"], "--statistics batch batch: must be one or more"),
    (["--images", "64", "--chunk", "64"], "images=64 must be from 2 to 50, the training images of"),
]
CALLS = [
    *(("landscape", *call) for call in LANDSCAPE),
    *(("spectrum", ["--batch-size", "16", *call], message) for call, message in SPECTRUM),
    ("shift", ["--model", "resnet", "--depth", "21"], "the nearest legal are 20 and 26"),
    ("shift", ["--model", "vgg11", "--depth", "21"], "has a depth of its own"),
    ("shift", ["--layers", "conv12"], "--layers conv12: the model has conv1"),
    ("shift", ["--model", "dln", "--dataset", "digits"], "does not go with --dataset digits"),
    ("shift", ["--model", "gpt", "--dataset", "digits"], "gpt and shakespeare need each other"),
    (
        "shift",
        ["--model", "vgg5", "--dataset", "shakespeare"],
        "vgg5 does not go with --dataset sh",
    ),
    ("shift", ["--model", "gpt", "--preset", "paper"], "chooses both in the presets quick and toy"),
    ("shift", ["--model", "gpt", "--augment"], "--augment: --dataset shakespeare has no images"),
    ("shift", ["--model", "gpt", "--pixel-scale", "unscaled"], "which has no grey levels"),
    (
        "shift",
        ["--model", "gpt", "--heads", "5"],
        "heads=5 must divide the 128 channels of width 1",
    ),
    ("shift", ["--model", "gpt", "--context", "1"], "--context 1: must be from 2 to 65536"),
    (
        "shift",
        ["--model", "gpt", "--text", "no.txt"],
        "text no.txt is not a file: give one in UTF-8",
    ),
    (
        "shift",
        ["--text", "no.txt"],
        "--text no.txt: has no use with --dataset digits16: give --mod",
    ),
    (
        "shift",
        ["--qk-norm"],
        "model vgg5 has no attention: leave qk_norm True out, or choose from g",
    ),
    ("shift", ["--z-loss", "-1"], "--z-loss -1.0: must be 0 or more and finite"),
    ("shift", ["--norms", "skipinit"], "norm 'skipinit' scales the end of a residual branch"),
    ("theory", ["--model", "gpt"], "this study measures networks of images alone, and gpt reads"),
    ("optimizers", ["--dataset", "shakespeare"], "this study measures networks of images alone"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), CALLS)
def test_it_gives_one_line_and_writes_nothing(
    request, tmp_path, monkeypatch, capsys, name, arguments, message
):
    for variable in ("XLA_FLAGS", "NPROC"):  # which several devices add to
        monkeypatch.setenv(variable, "")
    if "must be from" in message and "=" in message:  # it is refused beside the data
        request.getfixturevalue("toy")
    out = tmp_path / "runs"
    call = arguments if "--out" in arguments else [*arguments, "--out", str(out)]
    assert command_line.main(studies.find(name), call) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not out.exists()


def call(arguments, capsys):
    """One line that says what does not serve."""
    status = command_line.main(studies.find("landscape"), list(map(str, arguments)))
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return status, error


def test_a_world_that_is_not_as_the_call_needs_it_gives_one_line(tmp_path, capsys):
    data = tmp_path / "data"
    (data / "cifar10/3.0.2").mkdir(parents=True)
    (data / "cifar10/3.0.2/dataset_info.json").write_text("{")
    out = ["--out", tmp_path / "runs"]
    status, error = call(["--dataset", "cifar10", "--data-dir", data, *out], capsys)
    assert status == 1
    assert "--data-dir" in error
    assert not (tmp_path / "runs").exists()
    (tmp_path / "file").write_text("")
    status, error = call(["--out", tmp_path / "file"], capsys)
    assert status == 1
    assert "give another --out" in error


def test_debug_shows_the_traceback():
    with pytest.raises(ValueError, match="--lr"):
        command_line.main(studies.find("landscape"), ["--lr", "0", "--debug"])


@pytest.mark.full
def test_the_script_itself_starts_and_explains_its_options():
    def script(*arguments):
        call = [sys.executable, str(ROOT / "experiments/landscape.py"), *arguments]
        return subprocess.run(call, capture_output=True, text=True, check=False, cwd=ROOT)

    shown = script("--help").stdout
    assert shown.startswith("usage: python experiments/landscape.py [OPTIONS]\n")
    assert "--min-step" in shown
    assert "in units of the learning rate" in " ".join(shown.split())
    assert "(default: 15000; " in script("--preset", "paper", "--help").stdout
    wrong = script("--lr", "0")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: --lr 0: must be one or more different")
    assert (
        script("--bogus").stderr
        == "error: --bogus: landscape has no such option: --help-all lists all\n"
    )
