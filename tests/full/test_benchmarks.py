"""The benchmarks run at toy size, so that they cannot rot. No time is asserted."""

import importlib.util
import json

import audits
import gpt
import jax
import numpy as np
import pytest
import run as bench
import tune_chunk
import watch
from jobs import BnjaxJobs, forward_flops


def test_every_job_runs_and_leaves_a_table(tmp_path, capsys):
    out = tmp_path / "table.json"
    bench.main(bench.Options(toy=True, repeats=1, out=out))
    written = json.loads(out.read_text())
    assert [row["name"] for row in written["rows"]] == [row.name for row in bench.rows(toy=True)]
    assert all(row["seconds"]["bnjax"] > 0 for row in written["rows"])
    assert "naive JAX" in written["rows"][1]["seconds"]
    assert "landscape toy" in capsys.readouterr().out


def test_points_at_a_time_are_timed_beside_the_choice(capsys):
    tune_chunk.main(["--toy"])
    assert "| perceptron 4, batch 8 | 1 |" in capsys.readouterr().out


def test_a_watched_step_is_timed_beside_a_plain_one(capsys):
    with jax.numpy_dtype_promotion("standard"):  # of optax's Adam
        watch.main(["--toy"])
    printed = capsys.readouterr().out
    assert "| VGG-5 ×1/16, batch 4 |" in printed
    assert "| GPT 1 × 8, batch 2 × 4 |" in printed


def test_audits_are_timed(capsys):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        audits.main(["--toy"])
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in printed[3:]] == [
        "| transformer, none", "| perceptron", "| all"
    ]  # fmt: skip


def test_a_step_of_a_gpt_is_timed(capsys):
    with jax.numpy_dtype_promotion("standard"):  # of optax's Adam
        gpt.main(gpt.Options(toy=True, steps=2, turns=1, norms=("layer",)))
    assert "| layer | 5,9" in capsys.readouterr().out


def test_operations_are_counted_by_the_textbook():
    # One image through VGG-16 at full width: 313.2 million multiplications with additions
    # in the convolutions and 5,120 in the classifier.
    row = bench.Row("", "train_step", "vgg16", "none", 1.0, batch=1)
    jobs = BnjaxJobs(row, "highest")
    expected = 2 * (313_196_544 + 5_120)
    np.testing.assert_allclose(forward_flops(jobs.model, jobs.state, jobs.batch), expected)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed here")
def test_pytorch_and_bnjax_do_the_same_jobs():
    from torch_loops import Jobs

    for row in bench.rows(toy=True):
        request = row.request()
        job = request.pop("job")
        subject = Jobs(*(request.pop(key) for key in ("model", "norm", "width", "batch")))
        getattr(subject, job)(**request)
        if job == "landscape":
            request_of_network = [getattr(row, key) for key in ("model", "norm", "width", "batch")]
            with_host = np.reshape(Jobs(*request_of_network).landscape(**request), (-1, 3))
            without = Jobs(*request_of_network).landscape_at_best(**request).numpy()
            np.testing.assert_allclose(without, with_host, rtol=1e-4)
