"""Training γ and β only: counts, freezing, scans, what is kept of a network, claims, figures."""

import re
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import synthetic
from conftest import cast, tiny_model
from synthetic import N, S, U, column, decided, drawable, refusal, rows_of

from bnjax import losses, models, train
from bnjax.arithmetic import trees
from bnjax.data import Batch, make_pipeline
from bnjax.errors import RunError, UsageError
from bnjax.frame import arm as arms
from bnjax.frame import files
from bnjax.models import norms, resnet
from bnjax.models.resnet import unstack, zero_share
from bnjax.studies.batchnorm_only import STUDY, Options, claims, figure, measure, trained_network
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
    """The same network scanned and unrolled, the variables of each, and a batch."""
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3), jnp.float64)
    norm = norms.batch_norm(scale_init=jax.nn.initializers.uniform(1.0))
    scanned, unrolled = (resnet(14, norm=norm, width=0.125, scan=scan) for scan in (True, False))
    variables = cast(scanned.init(jax.random.key(0), images))
    apart = {name: unstack(tree, 2) for name, tree in variables.items()}
    return scanned, unrolled, variables, apart, Batch(images, jnp.arange(4, dtype=jnp.int32))


@pytest.mark.full  # many compiles
def test_a_scan_over_blocks_gives_value_and_gradient_of_the_unrolled_network(both):
    scanned, unrolled, variables, apart, batch = both

    def at(model, variables):
        loss = losses.on_batch(model, variables["batch_stats"], batch)
        return jax.jit(jax.value_and_grad(loss))(variables["params"])

    (value, gradient), (expected, slow) = at(scanned, variables), at(unrolled, apart)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    found, slow = trees.named_leaves(unstack(gradient, 2)), trees.named_leaves(slow)
    assert found.keys() == slow.keys()
    for name, leaf in slow.items():
        np.testing.assert_allclose(found[name], leaf, rtol=1e-8, atol=1e-10, err_msg=name)


def test_layers_of_a_scan_have_their_own_names_and_activations(both):
    scanned, unrolled, variables, apart, batch = both
    names = models.layer_names(unrolled, (8, 8, 3))
    assert models.layer_names(scanned, (8, 8, 3)) == names
    blocks = [f"conv{place}" for place in range(1, 14)]
    expected = [*blocks[:7], "shortcut3", *blocks[7:11], "shortcut5", *blocks[11:], "output"]
    assert list(names) == expected
    found = jax.jit(scanned.preactivations)(**variables, images=batch.images)
    expected = jax.jit(unrolled.preactivations)(**apart, images=batch.images)
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-9)


def test_zeros_are_counted_over_all_relus(both, monkeypatch):
    scanned, unrolled, variables, apart, batch = both
    share = zero_share(scanned, **variables, images=batch.images)
    outputs = []
    relu = nn.relu
    monkeypatch.setattr(nn, "relu", lambda x: outputs.append(relu(x)) or outputs[-1])
    unrolled.apply(**apart, images=batch.images, train=False)
    assert len(outputs) == 13  # one for each 3×3 convolution
    together = np.concatenate([np.ravel(y) for y in outputs])
    np.testing.assert_allclose(share, (together == 0).mean(), rtol=1e-6)
    assert 0.1 < share < 0.9


def test_a_network_that_does_not_count_its_zeros_is_refused(problem, batch):
    model, params, batch_stats, _ = problem
    with pytest.raises(UsageError, match="do not count their zeros"):
        zero_share(model, params, batch_stats, batch.images)


@pytest.mark.parametrize("scan", [False, True])
def test_random_elements_are_two_of_each_channel(scan):
    shapes = shapes_of(20, width=0.25, scan=scan)
    chosen = parts.random_per_channel(jax.random.key(3), shapes)
    assert sum(map(len, chosen.values())) == parts.norm_size(shapes)
    leaves = trees.named_leaves(shapes)
    for name, places in chosen.items():
        marked = np.zeros(leaves[name].shape)
        marked.reshape(-1)[places] += 1
        assert (marked.sum(axis=(-4, -3, -2)) == 2).all()
    other = parts.random_per_channel(jax.random.key(4), shapes)
    assert any((chosen[name] != other[name]).any() for name in chosen)


TRAINED = {  # the names of what may move
    "bn": parts.of_norm,
    "bn+output": lambda name: parts.of_norm(name) or parts.of_output(name),
    "output": parts.of_output,
    "random": lambda name: name.endswith("kernel") and not parts.of_output(name),
    "random_anywhere": lambda name: not parts.of_norm(name),
}


@pytest.mark.parametrize("part", TRAINED)
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
    count = {"bn+output": norm + output, "output": output}.get(part, norm)
    in_momentum = [leaf.size for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim]
    assert sum(in_momentum) == sum(g.size for g in jax.tree.leaves(gradient.gradient)) == count
    moved = jax.tree.map(lambda before, after: int((after != before).sum()), start, state.params)
    moved = trees.named_leaves(moved)
    assert {name for name in moved if moved[name]} <= {*filter(TRAINED[part], moved)}
    assert 0.8 * count <= sum(moved.values()) <= count


def arm_of(dataset, **options):
    """The arm of a network, with the options of a run that has no other."""
    own = {"model": "resnet", "norms": ("batch",), "trained": ("bn",), "batch_size": 10}
    chosen = Options(**own | {"depths": (8,)} | options)
    (values,) = arms.arm_values(chosen)
    return arms.make_arm(STUDY, chosen, dataset, values, seed=3)


def test_a_rate_drops_to_a_tenth_at_shares_and_at_steps(noise_dataset, standard_promotion):
    arm = arm_of(noise_dataset, lr=1.0, lr_drops=(0.5, 8.0), steps=10)
    state, sizes = arm.optimizer.init(jnp.float32(0)), []
    for _ in range(10):
        update, state = arm.optimizer.update(jnp.float32(1), state, jnp.float32(0))
        sizes.append(-float(update))
    np.testing.assert_allclose(sizes, [1] * 5 + [0.1] * 3 + [0.01] * 2, rtol=1e-6)


@pytest.mark.parametrize("name", ["momentum", "adamw"])
@pytest.mark.parametrize(("decay_norm", "kept"), [(True, 0.95), (False, 1.0)])
def test_gammas_and_betas_decay_unless_asked_not_to(
    name, decay_norm, kept, noise_dataset, standard_promotion
):
    decay = {"weight_decay": 0.5, "decay_norm": decay_norm}
    optimizer = arm_of(noise_dataset, optimizer=name, **decay).optimizer
    params = {"conv1": {"kernel": jnp.ones(2), "norm": {"scale": jnp.ones(2)}}}
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    after = optax.apply_updates(params, updates)["conv1"]
    np.testing.assert_allclose(after["kernel"], 0.95, rtol=1e-6)
    np.testing.assert_allclose(after["norm"]["scale"], kept, rtol=1e-6)


def build(**options):
    """The network of an arm with these options."""
    plain = {"depth": 14, "norm_every": 1, "scale_init": "uniform", "no_scale": (), "no_shift": ()}
    plain |= {"width": 1.0, "initializer": "he_normal", "dropout": 0.0}
    return trained_network.build_model(SimpleNamespace(**{**plain, **options}), "batch", 10)


@pytest.mark.parametrize(
    ("depth", "every", "normalised"),
    [(14, 1, 13), (14, 2, 6), (14, 5, 2), (32, 2, 15), (32, 10, 3)],
)
def test_batch_norm_stands_after_every_nth_convolution_only(depth, every, normalised):
    params = build(depth=depth, norm_every=every).shapes((32, 32, 3))["params"]
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape), params)
    layers = unstack(params, (depth - 2) // 6)
    found = {n for n, layer in layers.items() if "norm" in layer and n.startswith("conv")}
    assert found == {f"conv{place}" for place in range(1, depth) if place % every == 0}
    assert len(found) == normalised
    assert {"bias"} <= set(layers["conv1"]) or every == 1


def test_scale_and_shift_are_removed_where_asked_and_gammas_start_as_asked():
    images = jnp.zeros((1, 8, 8, 3))
    model = build(no_scale=("conv3",), no_shift=("conv3", "shortcut3"), width=0.125)
    params = model.init(jax.random.key(0), images)["params"]
    assert "norm" not in params["conv3"]
    assert list(params["shortcut3"]["norm"]) == ["scale"]
    scales = np.asarray(params["conv13"]["norm"]["scale"])
    assert ((scales >= 0) & (scales < 1)).all()
    assert len(set(scales)) == 8
    params = build(scale_init="sign", width=0.5).init(jax.random.key(0), images)["params"]
    assert set(np.asarray(params["conv13"]["norm"]["scale"]).tolist()) == {-1.0, 1.0}


def test_small_gammas_are_counted_and_clamped():
    scales = np.array([-0.2, 0.009, 0.0101, 0.5, -3.0])
    params = {"conv1": {"kernel": jnp.full(2, 1e-9), "norm": {"scale": jnp.asarray(scales)}}}
    histogram, small = measure.inspect_scales(params)
    clipped = np.clip(scales, measure.EDGES[0], measure.EDGES[-1] - 1e-9)
    np.testing.assert_allclose(histogram, np.histogram(clipped, measure.EDGES)[0] / 5)
    expected = [(np.abs(scales) < limit).mean() for limit in measure.THRESHOLDS]
    np.testing.assert_allclose(small, expected)
    clamped = measure.clamp(params, 0.01)["conv1"]
    assert clamped["norm"]["scale"].tolist() == [-0.2, 0.0, 0.0101, 0.5, -3.0]
    assert clamped["kernel"].tolist() == [1e-9, 1e-9]


def trained(dataset, **options):
    """An arm and a state whose trained part and statistics have moved."""
    arm = arm_of(dataset, **{"width": 0.125, "initializer": "he_normal", **options})
    images = jnp.zeros((10, 8, 8, 3), jnp.float32)
    state = train.init_state(arm.model, arm.optimizer, arm.key("init"), images, arm.selection)
    own, stats = jax.tree.map(jnp.sin, (arm.selection.split(state.params), state.batch_stats))
    return arm, state._replace(params=arm.selection.merge(state.params, own), batch_stats=stats)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"trained": ("random",)},
        {"trained": ("all",), "norm_every": (2,), "dropout": 0.5, "initializer": "glorot_uniform"},
        {"trained": ("bn+output",), "scale_init": ("sign",), "no_shift": ("conv3",)},
    ],
)
def test_a_network_is_rebuilt_bit_for_bit_from_its_seed_and_what_was_trained(
    options, noise_dataset, tmp_path, standard_promotion
):
    arm, state = trained(noise_dataset, **options)
    files.write_npz(tmp_path / "it.npz", measure.keep(arm, state))
    rebuilt = trained_network.rebuild(tmp_path / "it.npz")
    assert rebuilt.model == arm.model
    for found, expected in zip(rebuilt[1:], (state.params, state.batch_stats), strict=True):
        jax.tree.map(np.testing.assert_array_equal, found, expected)
    if not options:
        stored = files.read_npz(tmp_path / "it.npz")
        sizes = [leaf.size for name, leaf in stored.items() if name.startswith("trained/")]
        assert sum(sizes) == parts.norm_size(state.params)


@pytest.fixture(scope="module")
def kept(noise_dataset):
    """The arrays of a network's file."""
    with jax.numpy_dtype_promotion("standard"):
        return measure.keep(*trained(noise_dataset))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"seed": 3', '"seed": 4', "its seed 4 gives other frozen parameters"),
        ('"scale_init": "uniform"', '"scale_init": "odd"', "scale_init is 'odd'"),
        ('"norm_every": 1', '"norm_every": [1]', "norm_every is"),
        ('"depth": 8', '"depth": 80000', "its depth is not from 8 to 2000"),
        ('"depth": 8', '"depth": 9', "must be 6·D"),
        ('"no_scale": []', '"no_scale": ["conv99"]', "conv99"),
        ('"width": 0.125, ', "", "'width'"),
        ("[8, 8, 3]", "[8, 8, 5000]", "beyond all reason"),
        ("trained/conv1/norm/scale", "", "conv1/norm/scale"),
    ],
)
def test_a_file_that_does_not_hold_the_network_is_refused(
    before, after, message, kept, tmp_path, standard_promotion
):
    arrays = {**kept}
    if before in arrays:
        del arrays[before]
    else:
        assert before in str(arrays["facts"])
        arrays["facts"] = np.array(str(arrays["facts"]).replace(before, after))
    files.write_npz(tmp_path / "other.npz", arrays)
    with pytest.raises(RunError, match=re.escape(message)):
        trained_network.rebuild(tmp_path / "other.npz")


ENDS = ("trained", "seed", "end")
OPTIONS = {
    "model": "resnet", "optimizer": "momentum", "lr_drops": [0.5], "weight_decay": 1e-4,
    "no_scale": ["conv3"], "no_shift": [], "decay_norm": False, "dataset": "digits",
}  # fmt: skip


def made_up(seeds=1, depths=(14,), **measured):
    """Networks of three arms: what was measured after training, by `<name>_<arm>`."""
    arms = ("all", "bn", "output")
    plain = {"test_accuracy": 0.5, "train_accuracy": 0.6, "zeros": 0.5, "small": 0.3}
    ends = {}
    for name, value in plain.items():
        after = column([measured.get(f"{name}_{arm}", value) for arm in arms], 1)
        ends[f"ends_{name}"] = (ENDS, np.stack([np.full_like(after, 0.5), after], axis=-1))
    small, threshold = ends["ends_small"][1], (*ENDS, "threshold")
    clamped = np.array([0.5, measured.get("clamped", 0.5)])
    found = synthetic.run(
        {
            **ends,
            "ends_small": (threshold, small[..., None]),
            "ends_clamped_accuracy": (threshold, clamped),
            "ends_scales": ((*ENDS, "bin"), np.array([0.25, 0.75])),
            "test_accuracy": (("trained", "seed", "test_step"), np.array([0.1, 0.45])),
        },
        arms="trained",
        norms=arms,
        seeds=seeds,
        options=OPTIONS,
        depth=depths,
        norm_every=[1],
        scale_init=["uniform"],
        end=["before", "after"],
        threshold=[0.0, 0.01],
        bin=[-1.0, 1.0],
        test_step=[20, 40],
    )
    for name in ("ends_test_accuracy", "train_finite") if len(depths) > 1 else ():
        found.data[name] = found.data[name].expand_dims(depth=len(depths)).copy()
        found.data[name].loc[{"depth": depths[1]}] /= 2
    return drawable(found)


@pytest.mark.parametrize(
    ("identifier", "measured", "verdict"),
    [
        ("far-above-chance", {}, S),
        ("far-above-chance", {"test_accuracy_bn": 0.15}, N),
        ("far-above-chance", {"test_accuracy_bn": 0.21}, U),
        ("above-output-only", {"test_accuracy_output": 0.3}, S),
        ("above-output-only", {"test_accuracy_output": 0.6}, N),
        ("above-output-only", {"test_accuracy_output": 0.49}, U),
        ("clamping", {}, S),
        ("clamping", {"clamped": 0.4}, N),
        ("clamping", {"clamped": 0.48}, U),
        ("clamping", {"small_bn": 0.02}, U),
        ("sparser", {"zeros_all": 0.4}, S),
        ("sparser", {"zeros_all": 0.6}, N),
        ("sparser", {"zeros_all": 0.51}, U),
        ("sparsified", {"zeros_bn": 0.6}, S),
        ("sparsified", {"zeros_bn": 0.4}, N),
        ("sparsified", {"zeros_bn": 0.51}, U),
        ("switched-off", {}, S),
        ("switched-off", {"small_bn": 0.1}, N),
        ("switched-off", {"small_bn": 0.26}, U),
    ],
)
def test_claims_follow_their_rules(identifier, measured, verdict):
    run = made_up(**measured)
    found = decided(run, claims.CLAIMS)[identifier]
    assert found.verdict == verdict, found
    assert found.published
    run.data["train_finite"].loc[{"trained": "bn", "step": 7}] = 0
    found = decided(run, claims.CLAIMS)[identifier]
    assert found.verdict == U
    assert "diverged at step 7" in found.reason


def test_clamping_what_hardly_any_feature_has_shows_nothing():
    found = decided(made_up(small_bn=0.02), claims.CLAIMS)["clamping"]
    assert found.reason == "only 2.0 % of the features have so small a γ"


def test_claims_are_made_of_each_network_and_only_on_arms_that_ran():
    assert len(decided(made_up(), claims.CLAIMS)) == 6
    run = made_up(depths=(14, 110))
    found = decided(run, claims.CLAIMS)
    assert len(found) == 12
    assert "25.0 %" in found["far-above-chance-depth-110"].measured
    assert found["far-above-chance-depth-110"].sentence.endswith("(depth 110)")
    assert "69.5 %" in found["far-above-chance-depth-110"].published


def test_a_run_that_did_not_train_gamma_and_beta_alone_has_no_claim_on_them():
    run = made_up()
    assert decided(run.sel(trained=["all", "output"]), claims.CLAIMS) == {}


def test_figures_show_what_was_measured():
    run = made_up(depths=(14, 110), zeros_bn=0.6, clamped=0.4, test_accuracy_bn=0.4)
    first, networks = figure.features(run, {}), *figure.all_networks(run, {})
    rows = rows_of(first, networks)

    def seen(panel, series, kind="line"):
        return [(x, pytest.approx(y)) for x, y in rows[panel, series, kind]]

    accuracy = "test accuracy [%]"
    assert seen(f"a Accuracy | {accuracy}", "γ and β") == [(20, 10), (40, 45)]
    assert seen(f"c Without small γ | {accuracy}", "γ and β") == [(0, 50), (1, 40)]
    scales = "b Distribution of γ | share of features [%]"
    for name in ("before training", "everything", "γ and β"):
        assert seen(scales, name) == [(-1, 25), (1, 75)]
    assert (scales, "output layer", "line") not in rows
    zeros = "d Sparsity | share [%]"
    assert seen(zeros, "zero activations, after", "points")[1] == ("bn", 60)
    assert seen(zeros, "features with |γ| < 0.01, after", "points")[1] == ("bn", 30)
    assert seen("a Accuracy", "γ and β", "points") == [(40, 0), (20, 1)]
    gaps = [x for x, _ in rows["b Generalisation gap", "γ and β", "points"]]
    assert gaps == pytest.approx([20, 40])
    assert "no γ in conv3" in first.caption
    assert "÷ 10 at 50 %" in first.caption
    assert not [*figure.all_networks(made_up(), {})]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--depths", "52"], "--depths 52: must be 6·D"),
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
    assert message in refusal(STUDY, arguments, tmp_path, capsys)
