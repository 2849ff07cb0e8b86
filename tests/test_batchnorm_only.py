"""Training γ and β only: counts, freezing, scans, what is kept of a network, claims, the script."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import cast, tiny_model

from bnjax import losses, models, train
from bnjax.arithmetic import trees
from bnjax.commands import command_line as frame
from bnjax.data import Batch, make_pipeline
from bnjax.errors import RunError, UsageError
from bnjax.frame import files, folder, results, seeded
from bnjax.frame.partial_options import PartialConfig
from bnjax.frame.results import Results
from bnjax.models import norms, resnet
from bnjax.models.resnet import unstack
from bnjax.studies.batchnorm_only import claims
from bnjax.studies.batchnorm_only import measure_features as features
from bnjax.studies.batchnorm_only import study as batchnorm_only
from bnjax.train import optimizers, parts

IMAGES = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)


def shapes_of(depth, images=IMAGES, **options):
    model = resnet(depth, norm=norms.batch_norm(), **options)
    return jax.eval_shape(model.init, jax.random.key(0), images)["params"]


# Frankle et al. 2020, Table 1.
@pytest.mark.parametrize(
    ("depth", "count"),
    [(14, 1120), (32, 2464), (56, 4256), (110, 8288), (218, 16352), (434, 32480), (866, 64736)],
)
def test_a_resnet_has_the_published_number_of_gammas_and_betas(depth, count):
    assert parts.norm_size(shapes_of(depth)) == count


@pytest.fixture(scope="module")
def both():
    """The same network scanned and unrolled, with the first one's variables, and a batch."""
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3), jnp.float64)
    batch = Batch(images, jnp.arange(4, dtype=jnp.int32))
    norm = norms.batch_norm(scale_init=jax.nn.initializers.uniform(1.0))
    scanned, unrolled = (resnet(14, norm=norm, width=0.125, scan=scan) for scan in (True, False))
    variables = cast(scanned.init(jax.random.key(0), batch.images))
    return scanned, unrolled, variables, batch


def test_a_scan_over_blocks_gives_value_and_gradient_of_the_unrolled_network(both):
    scanned, unrolled, variables, batch = both
    apart = {name: unstack(tree, 2) for name, tree in variables.items()}

    def at(model, variables):
        loss = losses.on_batch(model, variables["batch_stats"], batch)
        return jax.jit(jax.value_and_grad(loss))(variables["params"])

    (value, gradient), (expected, slow) = at(scanned, variables), at(unrolled, apart)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    gradient = unstack(gradient, 2)
    assert sorted(gradient) == sorted(slow)
    for name, leaf in zip(trees.leaf_names(slow), jax.tree.leaves(slow), strict=True):
        layer, *path = name.split("/")
        found = gradient[layer]
        for part in path:
            found = found[part]
        np.testing.assert_allclose(found, leaf, rtol=1e-8, atol=1e-10, err_msg=name)


def test_layers_of_a_scan_have_their_own_names_and_activations(both):
    scanned, unrolled, variables, batch = both
    names = models.layer_names(unrolled, (8, 8, 3))
    assert models.layer_names(scanned, (8, 8, 3)) == names
    blocks = [f"conv{place}" for place in range(1, 14)]
    expected = [*blocks[:7], "shortcut3", *blocks[7:11], "shortcut5", *blocks[11:], "output"]
    assert list(names) == expected
    apart = {name: unstack(tree, 2) for name, tree in variables.items()}
    found = jax.jit(scanned.preactivations)(**variables, images=batch.images)
    expected = jax.jit(unrolled.preactivations)(**apart, images=batch.images)
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-9)


def test_zeros_are_counted_over_all_relus(both, monkeypatch):
    scanned, unrolled, variables, batch = both
    share = resnet.zero_share(scanned, **variables, images=batch.images)
    outputs = []
    relu = resnet.nn.relu
    monkeypatch.setattr(resnet.nn, "relu", lambda x: outputs.append(relu(x)) or outputs[-1])
    apart = {name: unstack(tree, 2) for name, tree in variables.items()}
    unrolled.apply(**apart, images=batch.images, train=False)
    assert len(outputs) == 13  # one for each 3×3 convolution
    together = np.concatenate([np.ravel(y) for y in outputs])
    np.testing.assert_allclose(share, (together == 0).mean(), rtol=1e-6)
    assert 0.1 < share < 0.9


def test_a_network_that_does_not_count_its_zeros_is_refused(problem, batch):
    model, params, batch_stats, _ = problem
    with pytest.raises(UsageError, match="do not count their zeros"):
        resnet.zero_share(model, params, batch_stats, batch.images)


@pytest.mark.parametrize("scan", [False, True])
def test_random_elements_are_two_of_each_channel(scan):
    shapes = shapes_of(20, width=0.25, scan=scan)
    chosen = parts.random_per_channel(jax.random.key(3), shapes)
    assert sum(map(len, chosen.values())) == parts.norm_size(shapes)
    leaves = dict(zip(trees.leaf_names(shapes), jax.tree.leaves(shapes), strict=True))
    for name, places in chosen.items():
        shape = leaves[name].shape
        marked = np.zeros(shape)
        marked.reshape(-1)[places] += 1
        inner = tuple(range(len(shape) - 4, len(shape) - 1))
        assert (marked.sum(axis=inner) == 2).all()
    other = parts.random_per_channel(jax.random.key(4), shapes)
    assert any((chosen[name] != other[name]).any() for name in chosen)


@pytest.mark.parametrize("part", ["bn", "bn+output", "random", "random_anywhere", "output"])
def test_what_is_frozen_stays_bit_for_bit_and_the_optimiser_sees_the_rest_only(
    part, noise_dataset, standard_promotion
):
    model = tiny_model("batch")
    pipeline = make_pipeline(noise_dataset, 10)
    optimizer = optimizers.by_name("momentum", 0.1, weight_decay=0.1)
    key = jax.random.key(0)
    images = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, key, images)["params"]
    selection = parts.select(part, shapes, key)
    split, order = noise_dataset.train, pipeline.order(key, 0)
    program = train.make_program(model, optimizer, pipeline, selection=selection)
    batch = program.batch(split, order, key, jnp.int32(0))
    state = train.init_state(model, optimizer, key, batch.images, selection)
    start = jax.tree.map(np.array, state.params)
    for step in range(3):
        batch = program.batch(split, order, key, jnp.int32(step))
        gradient = program.gradient(state, batch)
        state, _ = program.update(state, gradient)
    norm, output = parts.norm_size(shapes), 2 * 2 * 6 * 10 + 10
    sizes = {"bn": norm, "bn+output": norm + output, "output": output}
    count = sizes.get(part, norm)
    in_momentum = [leaf.size for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim]
    assert sum(in_momentum) == sum(g.size for g in jax.tree.leaves(gradient.gradient)) == count
    changed = 0
    for name, before, after in zip(
        trees.leaf_names(start),
        jax.tree.leaves(start),
        jax.tree.leaves(state.params),
        strict=True,
    ):
        moved = int((np.asarray(after) != before).sum())
        trained = {
            "bn": parts.of_norm(name),
            "bn+output": parts.of_norm(name) or parts.of_output(name),
            "output": parts.of_output(name),
            "random": name.endswith("kernel") and not parts.of_output(name),
            "random_anywhere": not parts.of_norm(name),
        }[part]
        assert trained or moved == 0, name
        changed += moved
    assert 0.8 * count <= changed <= count


def test_a_rate_drops_to_a_tenth_at_shares_and_at_steps(standard_promotion):
    config = PartialConfig(optimizer="sgd", lr_drops=(0.5, 8.0), steps=10)
    assert config.optimizer_rule.drops == (5, 8)
    optimizer = optimizers.build(optimizers.Rule("sgd", drops=(5, 8)), 1.0)
    state, sizes = optimizer.init(jnp.float32(0)), []
    for _ in range(10):
        update, state = optimizer.update(jnp.float32(1), state, jnp.float32(0))
        sizes.append(-float(update))
    np.testing.assert_allclose(sizes, [1] * 5 + [0.1] * 3 + [0.01] * 2, rtol=1e-6)


@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_gammas_and_betas_decay_unless_told_not_to(name, standard_promotion):
    params = {"conv1": {"kernel": jnp.ones(2), "norm": {"scale": jnp.ones(2)}}}
    for decay_norm, kept in ((True, 0.95), (False, 1.0)):
        config = PartialConfig(weight_decay=0.5, optimizer=name, decay_norm=decay_norm)
        optimizer = optimizers.build(config.optimizer_rule, config.lr)
        zeros = jax.tree.map(jnp.zeros_like, params)
        updates, _ = optimizer.update(zeros, optimizer.init(params), params)
        after = optax.apply_updates(params, updates)["conv1"]
        np.testing.assert_allclose(after["kernel"], 0.95, rtol=1e-6)
        np.testing.assert_allclose(after["norm"]["scale"], kept, rtol=1e-6)


@pytest.mark.parametrize(
    ("depth", "every", "normalised"),
    [(14, 1, 13), (14, 2, 6), (14, 5, 2), (32, 2, 15), (32, 10, 3)],
)
def test_batch_norm_stands_after_every_nth_convolution_only(depth, every, normalised):
    model = PartialConfig(depths=(depth,), norm_every=(every,)).build_model("batch", 10)
    params = jax.eval_shape(model.init, jax.random.key(0), IMAGES)["params"]
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape), params)
    layers = unstack(params, (depth - 2) // 6)
    found = {n for n, layer in layers.items() if "norm" in layer and n.startswith("conv")}
    assert found == {f"conv{place}" for place in range(1, depth) if place % every == 0}
    assert len(found) == normalised
    assert {"bias"} <= set(layers["conv1"]) or every == 1


def test_scale_and_shift_are_removed_where_asked_and_gammas_start_as_asked():
    config = PartialConfig(no_scale=("conv3",), no_shift=("conv3", "shortcut3"), width=0.125)
    images = jnp.zeros((1, 8, 8, 3))
    params = config.build_model("batch", 10).init(jax.random.key(0), images)["params"]
    assert "norm" not in params["conv3"]
    assert list(params["shortcut3"]["norm"]) == ["scale"]
    scales = np.asarray(params["conv13"]["norm"]["scale"])
    assert ((scales >= 0) & (scales < 1)).all()
    assert len(set(scales)) == 8
    config = PartialConfig(scale_init=("sign",), width=0.5)
    params = config.build_model("batch", 10).init(jax.random.key(0), images)["params"]
    assert set(np.asarray(params["conv13"]["norm"]["scale"]).tolist()) == {-1.0, 1.0}


def test_small_gammas_are_counted_and_clamped():
    scales = np.array([-0.2, 0.009, 0.0101, 0.5, -3.0])
    params = {"conv1": {"kernel": jnp.full(2, 1e-9), "norm": {"scale": jnp.asarray(scales)}}}
    histogram, small = features.inspect_scales(params)
    clipped = np.clip(scales, features.EDGES[0], features.EDGES[-1] - 1e-9)
    np.testing.assert_allclose(histogram, np.histogram(clipped, features.EDGES)[0] / 5)
    expected = [(np.abs(scales) < limit).mean() for limit in features.THRESHOLDS]
    np.testing.assert_allclose(small, expected)
    clamped = features.clamp(params, 0.01)["conv1"]
    assert clamped["norm"]["scale"].tolist() == [-0.2, 0.0, 0.0101, 0.5, -3.0]
    assert clamped["kernel"].tolist() == [1e-9, 1e-9]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, noise_dataset):
    """The folder of a small run with all arms."""
    out = tmp_path_factory.mktemp("runs")
    arguments = ["--steps", "4", "--batch-size", "10", "--evaluate-every", "2", "--depths", "8"]
    arguments += ["--width", "0.125", "--trained", "bn", "random"]
    arguments += ["--scale-init", "uniform", "one", "--out", str(out), "--debug"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bnjax.data.load", lambda *_, **__: noise_dataset)
        with jax.numpy_dtype_promotion("standard"):
            assert frame.main(batchnorm_only.EXPERIMENT, arguments) == 0
    (path,) = (out / "batchnorm_only").iterdir()
    return path


def test_all_arms_end_to_end(finished):
    measured = results.read(finished)
    factors = ("trained", "depth", "norm_every", "scale_init", "seed")
    assert measured.dims["ends.scales"] == (*factors, "end", "bin")
    start = measured.select("ends.zeros", end="before")
    assert (start[:, :, :, 0] == start[0, 0, 0, 0]).all()  # every arm starts alike
    after = measured.select("ends.clamped_accuracy", end="after")
    assert np.isfinite(after).all()
    before = measured.select("ends.clamped_accuracy", end="before")
    assert np.isnan(before).all()
    np.testing.assert_array_equal(
        measured.select("ends.test_accuracy", end="after"),
        measured.arrays["test.accuracy"][..., -1],
    )
    for name in ("batchnorm_only.png", "batchnorm_only_variants.png"):
        assert (finished / name).stat().st_size > 10_000
    summary = folder.read_summary(finished).claims
    assert {"far-above-chance-scale-init-uniform", "switched-off-scale-init-one"} <= {
        claim["identifier"] for claim in summary
    }


@pytest.mark.parametrize("part", ["bn", "random"])
def test_a_network_is_rebuilt_bit_for_bit_from_its_seed_and_what_was_trained(
    finished, noise_dataset, part, standard_promotion
):
    path = finished / folder.MODELS / f"{part}-8-1-uniform-0.npz"
    rebuilt = seeded.rebuild(path)
    saved = max((finished / folder.CHECKPOINTS / path.stem).iterdir(), key=lambda p: int(p.name))
    arrays = files.read_npz(saved / "state.npz")
    for name in ("params", "batch_stats"):
        prefix = f"state/{name}/"
        found = trees.named_leaves(getattr(rebuilt, name))
        assert found.keys() == {n.removeprefix(prefix) for n in arrays if n.startswith(prefix)}
        for leaf, values in found.items():
            np.testing.assert_array_equal(values, arrays[prefix + leaf])
    evaluate = train.make_evaluate(rebuilt.model, noise_dataset)
    accuracy = evaluate(rebuilt.params, rebuilt.batch_stats, noise_dataset.test).accuracy
    measured = results.read(finished)
    expected = measured.select(
        "ends.test_accuracy", trained=part, scale_init="uniform", end="after"
    )
    assert float(accuracy) == pytest.approx(float(expected.squeeze()))
    if part == "bn":
        stored = sum(a.size for n, a in files.read_npz(path).items() if n.startswith("trained/"))
        assert stored == parts.norm_size(rebuilt.params)


def test_a_start_that_is_drawn_otherwise_is_refused(finished, tmp_path):
    arrays = files.read_npz(finished / folder.MODELS / "bn-8-1-uniform-0.npz")
    facts = str(arrays["facts"])
    arrays["facts"] = np.array(facts.replace('"seed": 0', '"seed": 1'))
    files.write_npz(tmp_path / "other.npz", arrays)
    with pytest.raises(RunError, match="other frozen parameters"):
        seeded.rebuild(tmp_path / "other.npz")
    del arrays["trained/conv1/norm/scale"]
    files.write_npz(tmp_path / "other.npz", arrays)
    with pytest.raises(RunError, match="conv1/norm/scale"):
        seeded.rebuild(tmp_path / "other.npz")


def synthetic(finite=1.0, seeds=1, **measured):
    """One network, three arms: what was measured after training, by `<name>_<arm>`."""
    arms = ("all", "bn", "output")
    outer = ("trained", "depth", "norm_every", "scale_init", "seed")
    values = {"test_accuracy": 0.5, "train_accuracy": 0.6, "zeros": 0.5, "small": 0.3}
    arrays, dims = {"train.finite": np.full((3, 1, 1, 1, seeds, 4), finite)}, {}
    dims["train.finite"] = (*outer, "step")
    for name, value in values.items():
        ends = np.array([measured.get(f"{name}_{arm}", value) for arm in arms])
        rows = np.broadcast_to(ends[:, None, None, None, None, None], (3, 1, 1, 1, seeds, 2))
        arrays[f"ends.{name}"] = rows.copy()
        dims[f"ends.{name}"] = (*outer, "end")
    arrays["ends.zeros"][..., 0] = 0.5
    arrays["ends.small"] = np.repeat(arrays["ends.small"][..., None], 2, axis=-1)
    cut = measured.get("clamped", 0.5)
    clamped = np.broadcast_to([0.5, cut], (3, 1, 1, 1, seeds, 2, 2))
    arrays["ends.clamped_accuracy"] = clamped
    for name in ("small", "clamped_accuracy"):
        dims[f"ends.{name}"] = (*outer, "end", "threshold")
    axes = {
        "trained": np.array(arms),
        "depth": np.array([14]),
        "norm_every": np.array([1]),
        "scale_init": np.array(["uniform"]),
        "seed": np.arange(seeds),
        "step": np.arange(4),
        "end": np.array(["before", "after"]),
        "threshold": np.array([0.0, 0.01]),
    }
    config = {"depth": None, "depths": [14], "norm_every": [1], "scale_init": ["uniform"]}
    return Results(arrays, dims, axes, config, {"chance_loss": float(np.log(10))})


@pytest.mark.parametrize(
    ("identifier", "supporting", "opposing", "undecided"),
    [
        ("far-above-chance", {}, {"test_accuracy_bn": 0.15}, {"test_accuracy_bn": 0.21}),
        (
            "above-output-only",
            {"test_accuracy_output": 0.3},
            {"test_accuracy_output": 0.6},
            {"test_accuracy_output": 0.49},
        ),
        ("clamping", {"clamped": 0.5}, {"clamped": 0.4}, {"clamped": 0.48}),
        ("sparser", {"zeros_all": 0.4}, {"zeros_all": 0.6}, {"zeros_all": 0.51}),
        ("sparsified", {"zeros_bn": 0.6}, {"zeros_bn": 0.4}, {"zeros_bn": 0.51}),
        ("switched-off", {"small_bn": 0.3}, {"small_bn": 0.1}, {"small_bn": 0.26}),
    ],
)
def test_claims_follow_their_rules(identifier, supporting, opposing, undecided):
    for measured, verdict in (
        (supporting, "supported"),
        (opposing, "not supported"),
        (undecided, "inconclusive"),
        ({**supporting, "finite": 0.0}, "inconclusive"),
    ):
        found = {claim.identifier: claim for claim in claims.claims(synthetic(**measured))}
        assert found[identifier].verdict == verdict, found[identifier]
        assert ("diverged" in found[identifier].reason) == ("finite" in measured)
        assert found[identifier].rule
        assert found[identifier].published


def test_clamping_what_hardly_any_feature_has_shows_nothing():
    found = {claim.identifier: claim for claim in claims.claims(synthetic(small_bn=0.02))}
    assert found["clamping"].verdict == "inconclusive"
    assert found["clamping"].reason == "only 2.0 % of the features have so small a γ"


def test_claims_on_arms_that_did_not_run_are_not_made():
    names = {claim.identifier for claim in claims.claims(synthetic())}
    assert "above-random" not in names
    assert len(names) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--depths", "52"], "depth 52 .* the nearest legal are 50 and 56"),
        (["--depth", "20"], "--depth 20 is not for this experiment: give --depths"),
        (["--norm-every", "14"], "--norm-every 14: must be from 1 to 13"),
        (["--no-scale", "conv14"], "--no-scale conv14: a ResNet-14 has conv1 conv2"),
        (["--lr-drops", "0.75", "0.5"], "--lr-drops 0.75 0.5: must be rising"),
        (["--lr-drops", "1000"], "--lr-drops 1000: must be"),
        (["--trained", "bn", "bn"], "--trained bn bn: must be given, and all different"),
        (["--norms", "layer"], "--norms layer: must be batch"),
        (["--model", "vgg11"], "--model vgg11: must be resnet"),
        (["--batch-size", "1"], "--batch-size 1"),
    ],
)
def test_impossible_options_are_refused_in_one_line(arguments, message, tmp_path, capsys):
    assert frame.main(batchnorm_only.EXPERIMENT, [*arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
