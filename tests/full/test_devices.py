"""The same run on one and on many devices of a host: same numbers, checkpoints that fit all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from faults.trials import counted, number

from bnjax.frame import layout, results

TESTS = Path(__file__).parent
ROOT = TESTS.parents[1]
# Float32: sums in another order. Cosines near 1 and differences of gradients lose digits.
CLOSE = {"train_loss": 1e-6, "train_gradient_norm": 1e-5, "line_losses": 1e-5}


def several_devices(count: int) -> dict[str, str]:
    """The environment of a process with so many CPU devices."""
    return {
        **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(count),
        # What several devices of one CPU need; and the bits of one depend on it.
        "NPROC": "16",
        "XLA_FLAGS": " ".join(layout.ONE_ORDER),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, TESTS, TESTS.parent))),
    }


def describe_call(out, studies, common, layouts):
    """The argument of device_layouts.py."""
    call = {"out": str(out), "studies": studies, "options": common, "layouts": layouts}
    return json.dumps(call)


def run_python(arguments, devices, timeout):
    """A process with so many devices, which must end well; what it printed."""
    command, env = [sys.executable, *arguments], several_devices(devices)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def run_layouts(out, devices, studies, common, layouts):
    """Toy runs of studies under several layouts in one process: results by layout and name."""
    call = describe_call(out, studies, common, layouts)
    run_python([str(TESTS / "device_layouts.py"), call], devices, 600)
    return [
        {name: results.read(next((out / str(number) / name).iterdir())) for name in studies}
        for number in range(len(layouts))
    ]


def assert_close(first, second):
    for name, tolerance in CLOSE.items():
        if name in first:
            np.testing.assert_allclose(second[name], first[name], rtol=tolerance, err_msg=name)
    for name in first:
        assert np.isfinite(first[name]).all() == np.isfinite(second[name]).all(), name


TRIALS = os.environ.get("BNJAX_TRIALS", "ci")
LAYOUTS = [
    [],  # each arm on a device of its own
    ["--data-devices", "8"],
    ["--data-devices", "4", "--probe-devices", "2"],
]


def test_eight_devices_give_the_numbers_of_one(tmp_path):
    common = ["--seeds", "2"]
    (alone,) = run_layouts(tmp_path / "alone", 1, ["landscape"], common, [[]])
    spread = run_layouts(tmp_path / "spread", 8, ["landscape"], common, LAYOUTS)
    one, *many = (found["landscape"].data for found in (alone, *spread))
    for name in one:  # other devices, the same program
        np.testing.assert_array_equal(many[0][name], one[name], err_msg=name)
    for options, found in zip(LAYOUTS[1:], many[1:], strict=True):
        assert_close(one, found)
        differs = any((found[name] != one[name]).any() for name in CLOSE)
        assert differs or "--data-devices" not in options  # it was divided indeed


RESTORES = """
import sys
from pathlib import Path
import jax, numpy as np
from bnjax.frame import checkpoints
from bnjax.frame import layout
from test_checkpoints import assert_same, tree

def host(tree):
    return jax.tree.map(np.array, jax.device_get(tree))

def placed(tree, data, probe):
    devices = np.array(jax.devices()[: data * probe]).reshape(data, probe)
    return layout.place(tree, layout.make_mesh(devices))

shapes = [(1, 1), (2, 1), (2, 2)] if sys.argv[2] == "ci" else [(1, 1), (2, 1), (2, 2), (8, 1)]
for number, saving in enumerate(shapes):
    saved = checkpoints.Checkpoints(Path(sys.argv[1]) / str(number), "run")
    state = host(tree(number))
    checkpoints.save(saved, 10, {**state, "state": placed(state["state"], *saving)})
    for restoring in shapes:
        step, found = checkpoints.restore(saved, host(tree(0)))
        assert step == 10
        assert_same(found, state)
        on_devices = placed(found["state"], *restoring)
        assert len(jax.tree.leaves(on_devices)[0].sharding.device_set) == np.prod(restoring)
        assert_same(host(on_devices), state["state"])
        print("same bits", saving, restoring)
"""


def test_a_checkpoint_of_any_number_of_devices_is_restored_on_any_other_bit_for_bit(tmp_path):
    count = 8 if TRIALS == "full" else 4
    with counted("layouts", number("layouts")):
        said = run_python(["-c", RESTORES, str(tmp_path), TRIALS], count, 300)
        assert said.count("same bits") == number("layouts")


def test_a_probe_on_other_images_runs_on_a_mesh(tmp_path):
    """Statistics of the global batch: what one device has, four have to rounding."""
    layouts = [["--data-devices", "1"], ["--data-devices", "2", "--probe-devices", "2"]]
    alone, spread = run_layouts(tmp_path, 4, ["vgg_training"], ["--window", "1"], layouts)
    for name, found in alone.items():
        first, second = found.data, spread[name].data
        np.testing.assert_allclose(second["train_loss"], first["train_loss"], rtol=1e-5)


def test_jobs_are_dealt_to_processes_in_turn_unless_all_work_together():
    jobs = list(range(7))
    shares = [layout.Layout((None,), process, 3).own(jobs) for process in range(3)]
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]
    assert layout.Layout((None,), 1, 3, together=True).own(jobs) == jobs
    assert not layout.Layout((None,), 1, 3, together=True).writes_jobs
    assert layout.Layout((None,), 1, 3).writes_jobs
    assert not layout.Layout((None,), 1, 3).writes
    with pytest.raises(Exception, match=r"--data-devices 3 --probe-devices 1 need 3 devices"):
        layout.make_layout(3, 1)


def test_devices_of_other_processes_ask_for_no_threads_here(monkeypatch):
    for name in ("NPROC", "XLA_FLAGS"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr("jax.config.update", lambda *_: None)
    layout.prepare(8, 1)
    assert os.environ["NPROC"] == "16"
    layout.prepare(3000, 1)
    assert os.environ["NPROC"] == "512"


DIVIDED = """
import jax, jax.numpy as jnp, numpy as np
from bnjax import probes

assert jax.device_count() == 2
jax.config.update("jax_enable_x64", True)
whole, steps = jax.P(), np.array([0.05, 0.1, 0.2])
draw = np.random.default_rng(0).normal
params = {"a": {"kernel": draw(size=(4, 6))}, "b": {"kernel": draw(size=(6, 2))}}
places = {"a": {"kernel": jax.P(None, "data")}, "b": {"kernel": jax.P("data", None)}}
images = draw(size=(8, 4))

def measure(params, images, dot):
    def loss(params, images=images):
        return jnp.mean(dot(jnp.tanh(images @ params["a"]["kernel"]), params["b"]["kernel"]) ** 4)

    after, key = jax.tree.map(lambda leaf: 0.9 * leaf, params), jax.random.key(0)
    found = [probes.line(loss, params, steps, chunk=chunk) for chunk in (1, 2)]
    return *found, probes.Probe(loss, steps)(params, images), probes.shift(
        loss, params, after
    ), probes.spectrum(loss, params, key, lanczos_steps=4, top=2)

expected = measure(jax.tree.map(jnp.asarray, params), jnp.asarray(images), jnp.dot)
mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
with jax.set_mesh(mesh):
    for divides in ("the batch", "parameters"):
        by_batch = divides == "the batch"
        spread = jax.tree.map(lambda at: whole if by_batch else at, places)
        own = jax.tree.map(jax.device_put, params, spread)
        rows = jax.device_put(images, jax.P("data") if by_batch else whole)
        dot = jnp.dot if by_batch else lambda x, w: jnp.dot(x, w, out_sharding=whole)
        found = measure(own, rows, dot)
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-12)
        print("same numbers", divides)
"""


def test_probes_measure_on_an_explicit_mesh_what_they_do_on_one_device():
    said = run_python(["-c", DIVIDED], 2, 300)
    assert said.count("same numbers") == 2


RECORDED = """
import json, sys, jax, jax.numpy as jnp, optax
import bnjax

kind = {"auto": jax.sharding.AxisType.Auto, "explicit": jax.sharding.AxisType.Explicit}[sys.argv[1]]
mesh = jax.make_mesh((len(jax.devices()),), ("data",), axis_types=(kind,))
spec = jax.sharding.PartitionSpec
curvature = jnp.linspace(1.0, 8.0, 8)

def loss(params, targets):
    return 0.5 * jnp.sum(curvature * (params - targets) ** 2)

with jax.set_mesh(mesh):
    divided = jax.sharding.NamedSharding(mesh, spec("data"))
    params, targets, curvature = jax.device_put(
        (jnp.ones(8), jnp.linspace(0.0, 0.5, 8), curvature), divided
    )
    optimizer = bnjax.watch(
        optax.adamw(0.1), 0.1, 1e-4, b1=0.9, loss=loss, every=1, critical_every=2, rows=5
    )

    @jax.jit
    def step(carry, _):
        params, state = carry
        gradient = jax.grad(loss)(params, targets)
        updates, state = optimizer.update(gradient, state, params, targets=targets)
        return (optax.apply_updates(params, updates), state), None

    carry, _ = jax.lax.scan(step, (params, optimizer.init(params)), length=4)
rows = carry[1].recorder.rows._asdict()
print(json.dumps({name: jnp.ravel(values).tolist()[:4] for name, values in rows.items()}))
"""


@pytest.mark.parametrize("kind", ["auto", "explicit"])
def test_a_recorder_sees_weights_that_are_divided_over_devices(kind):
    one, four = (json.loads(run_python(["-c", RECORDED, kind], n, 300)) for n in (1, 4))
    for name, values in one.items():
        np.testing.assert_allclose(four[name], values, rtol=1e-5, err_msg=name)
    assert np.isfinite(one["critical_sharpness"][0])
