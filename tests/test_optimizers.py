"""Optimisers, initialisers, dropout and augmentation: the learning rate as data, programs that arms
share, symmetry of units, averages over copies, claims, and the experiment at toy size."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from conftest import make_toy, tiny_model

from bnjax import data, models, probes, train
from bnjax.commands import command_line as frame
from bnjax.data import copies
from bnjax.data.batches import standardise_pixels
from bnjax.errors import UsageError
from bnjax.frame import arms, results
from bnjax.frame.config import RunConfig
from bnjax.frame.variants import Variant, parse, variants
from bnjax.judge import ending
from bnjax.judge.variants import around
from bnjax.models import initializers
from bnjax.studies.optimizers import claims
from bnjax.studies.optimizers import measure_symmetry as symmetry
from bnjax.studies.optimizers import study as script
from bnjax.studies.optimizers.measure_ending import make_ending, predict
from bnjax.studies.optimizers.symmetry import symmetry_claims
from bnjax.train import optimizers

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
FACTORS = (("sgd", "adam"), ("he_normal", "zeros"), (0.0, 0.5), (False, True))


def initialised(norm, initializer, batch):
    """The tiny network and its float32 state under momentum."""
    module = tiny_model(norm).module
    model = models.Model(module.clone(kernel_init=initializers.by_name(initializer)))
    images = batch.images.astype(jnp.float32)
    optimizer = optimizers.by_name("momentum", 0.1)
    return model, optimizer, train.init_state(model, optimizer, jax.random.key(0), images)


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(UsageError, match="optimizer 'addam' is not known: choose from sgd, mom"):
        optimizers.build(optimizers.Rule("addam"), 0.1)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
def test_a_learning_rate_in_the_state_gives_the_bits_of_a_constant_one(name, standard_promotion):
    params = {"w": jnp.linspace(-1, 1, 7, dtype=jnp.float32)}
    constant = optax.adamw(0.013, weight_decay=0.0) if name == "adamw" else None
    constant = constant or optax.chain(
        optax.add_decayed_weights(0.0), optimizers.PLAIN[name](0.013)
    )
    foreign = optimizers.by_name(name, 7.0)  # its update must use the rate of the state only
    state, expected_state = optimizers.by_name(name, 0.013).init(params), constant.init(params)
    ours, theirs = jax.jit(foreign.update), jax.jit(constant.update)
    for step in range(4):
        gradient = {"w": jnp.sin(params["w"] + step).astype(jnp.float32)}
        updates, state = ours(gradient, state, params)
        expected, expected_state = theirs(gradient, expected_state, params)
        np.testing.assert_array_equal(updates["w"], expected["w"])


def test_models_of_every_family_are_equal_when_built_twice():
    for name in models.registry.FAMILIES:
        norm = "batch"
        first, second = (
            models.by_name(
                name, norm=models.norms.by_name(norm), num_classes=10, initializer="he_normal"
            )
            for _ in range(2)
        )
        assert first == second
        assert hash(first) == hash(second)
        other = models.by_name(
            name, norm=models.norms.by_name(norm), num_classes=10, initializer="zeros"
        )
        assert first != other
        assert first.initialised == other.initialised


def arm_of(dataset, lr, seed=0, norm="batch", optimizer="sgd"):
    config = RunConfig(lr=lr, optimizer=optimizer, batch_size=16, steps=3)
    pipeline = data.make_pipeline(dataset, 16)
    return config, arms.Arm({"norm": norm}, seed, tiny_model(norm), dataset, pipeline)


def test_arms_that_differ_in_learning_rate_or_seed_share_one_compiled_program(noise_dataset):
    arms.compile_program.cache_clear()
    programs, traces = [], []
    for lr, seed in ((0.1, 0), (0.2, 0), (0.2, 1)):
        config, arm = arm_of(noise_dataset, lr, seed)
        program, optimizer = arms.build(config, arm)
        key = jax.random.key(seed)
        batch = program.batch(
            noise_dataset.train, arm.pipeline.order(key, 0), key, jnp.zeros((), jnp.int32)
        )
        state = train.init_state(arm.model, optimizer, key, batch.images)
        before = jax.tree.map(jnp.copy, state.params)
        gradient = program.gradient(state, batch)
        state, _ = program.update(state, gradient)
        programs.append(program)
        traces.append(program.gradient._cache_size() + program.update._cache_size())
        # The rate of this very arm was applied.
        moved = before["output"]["bias"] - state.params["output"]["bias"]
        np.testing.assert_allclose(
            moved, np.float32(lr) * gradient.gradient["output"]["bias"], rtol=1e-5, atol=1e-8
        )
    assert programs[0] is programs[1] is programs[2]
    assert traces == [2, 2, 2]
    for changed in ({"norm": "none"}, {"optimizer": "adam"}):
        config, arm = arm_of(noise_dataset, 0.1, **changed)
        assert arms.build(config, arm)[0] is not programs[0]


def test_the_difference_of_units_is_the_largest_over_all_pairs():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 5))
    flat = kernel.reshape(-1, 5)
    pairs = [np.abs(flat[:, i] - flat[:, j]).max() for i in range(5) for j in range(5)]
    found = probes.symmetry(jnp.asarray(kernel))
    assert float(found.difference) == max(pairs)
    assert float(found.size) == np.abs(kernel).max()
    assert float(probes.symmetry(jnp.ones((4, 3))).difference) == 0


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_symmetric_initialisers_stay_symmetric_bit_for_bit_and_others_do_not(norm, batch):
    batch = batch._replace(images=batch.images.astype(jnp.float32))
    ends, program = {}, None
    for name in ("zeros", "constant", "glorot_normal"):
        model, optimizer, state = initialised(norm, name, batch)
        pipeline = data.Pipeline(16, 16, (0.0,), (1.0,))
        program = program or train.make_program(model.initialised, optimizer, pipeline)
        measure = symmetry.make_symmetry(model)
        rows = []
        for _ in range(6):
            computed = program.gradient(state, batch)
            rows.append(jax.device_get(measure(state, batch, computed)))
            state, _ = program.update(state, computed)
        ends[name] = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
    names = symmetry.kernel_names(tiny_model(norm), (8, 8, 3))
    assert names == ("conv1/kernel", "conv2/kernel", "output/kernel")
    hidden = slice(0, 2)
    for name in ("zeros", "constant"):
        np.testing.assert_array_equal(ends[name].differences[:, hidden], 0)
    assert (ends["glorot_normal"].differences[:, hidden] > 0.1).all()
    # From zeros no gradient gets through: a ReLU of 0 has none, and the classifier's kernel is 0.
    np.testing.assert_array_equal(ends["zeros"].gradient_norms[:, hidden], 0)
    assert (ends["constant"].gradient_norms[1:, hidden] > 0).all()
    if norm == "batch":
        np.testing.assert_array_equal(ends["zeros"].variances[:, hidden], 0)
        assert (ends["glorot_normal"].variances[:, hidden] > 0).all()
    else:
        assert np.isnan(ends["zeros"].variances).all()


def test_copies_are_those_of_a_loop_over_pixels():
    images = np.random.default_rng(1).normal(size=(2, 6, 5, 3))
    made = copies.make_copies(2)
    assert not made.mirrored[0]
    assert made.down[0] == made.right[0] == 0
    for row in range(10):
        copy = jax.tree.map(lambda field, row=row: field[row], made)
        expected = np.zeros_like(images)
        source = images[:, :, ::-1] if copy.mirrored else images
        for y in range(6):
            for x in range(5):
                above, left = y - int(copy.down), x - int(copy.right)
                if 0 <= above < 6 and 0 <= left < 5:
                    expected[:, y, x] = source[:, above, left]
        np.testing.assert_array_equal(copies.copy_of(jnp.asarray(images), copy), expected)
    with pytest.raises(UsageError, match="shift 0 must be from 1 to 8"):
        copies.make_copies(0)


def test_test_time_augmentation_is_a_loop_of_plain_predictions(noise_dataset):
    model = tiny_model("batch")
    variables = model.init(jax.random.key(3), jnp.zeros((2, 8, 8, 3), jnp.float32))
    state = train.TrainState(jnp.int32(4), **variables, opt_state=())
    test = noise_dataset.test
    images = standardise_pixels(
        test.pixels, noise_dataset.mean, noise_dataset.std, jnp.dtype("float32")
    )
    made = copies.make_copies(1)
    each = []
    for row in range(10):
        copy = jax.tree.map(lambda field, row=row: field[row], made)
        logits, _ = model.apply(**variables, images=copies.copy_of(images, copy), train=False)
        exponentials = np.exp(np.asarray(logits, np.float64))
        each.append(exponentials / exponentials.sum(axis=1, keepdims=True))
    each, labels = np.array(each), np.asarray(test.labels)
    # Chunks of three of seven images: the last one is padded.
    measure = make_ending(model, noise_dataset, 4, shift=1, chunk=3)
    found = measure(state, None, None)
    plain = each[0].argmax(axis=1) == labels
    for column, rows in enumerate(copies.AVERAGED.values()):
        right = np.mean([each[row] for row in rows], axis=0).argmax(axis=1) == labels
        assert float(found.accuracy[column]) == np.float32(right.mean())
        assert int(found.gained[column]) == (right & ~plain).sum()
        assert int(found.lost[column]) == (~right & plain).sum()
    assert int(found.images) == 7
    probabilities = predict(
        model, *variables.values(), test.pixels, made, noise_dataset.mean, noise_dataset.std, 3
    )
    np.testing.assert_allclose(probabilities, each, rtol=2e-5, atol=1e-7)
    evaluate = train.make_evaluate(model, noise_dataset)
    fitted = data.Split(noise_dataset.train.pixels[:7], noise_dataset.train.labels[:7])
    expected = evaluate(state.params, state.batch_stats, fitted).accuracy
    np.testing.assert_allclose(found.train_accuracy, expected, rtol=1e-6)
    elsewhere = measure(state._replace(step=jnp.int32(3)), None, None)
    assert all(np.isnan(field).all() for field in elsewhere)


def test_dropout_is_off_at_test_time(noise_dataset):
    ends: list = []
    for dropout in (0.0, 0.9):
        model = models.by_name(
            "mlp",
            norm=models.norms.none(),
            num_classes=10,
            initializer="he_normal",
            width=0.1,
            dropout=dropout,
        )
        images = jnp.zeros((2, 8, 8, 3), jnp.float32)
        variables = model.init(jax.random.key(3), images)
        made, pixels = copies.make_copies(1), noise_dataset.test.pixels
        ends.append(predict(model, *variables.values(), pixels, made, (0.0,) * 3, (1.0,) * 3, 7))
        noise = jax.random.normal(jax.random.key(0), (64, 8, 8, 3), jnp.float32)
        drawn = [
            model.apply(**variables, images=noise, train=True, key=jax.random.key(k))[0]
            for k in (1, 2)
        ]
        assert bool((drawn[0] == drawn[1]).all()) == (dropout == 0)
    np.testing.assert_array_equal(*ends)


def test_the_sweep_leaves_the_base_one_factor_at_a_time_or_takes_all():
    found = variants(FACTORS, full=False)
    assert found[0] == Variant("sgd", "he_normal", 0.0, False)
    assert len(found) == 5
    for other in found[1:]:
        assert sum(a != b for a, b in zip(found[0], other, strict=True)) == 1
    assert len(set(variants(FACTORS, full=True))) == 16
    for variant in variants(FACTORS, full=True):
        assert parse(variant.name) == variant


def test_mcnemar_and_the_paired_interval_are_those_of_scipy_and_of_a_bootstrap():
    for gained, lost in ((8, 1), (3, 3), (0, 5), (0, 0)):
        expected = scipy.stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert math.isclose(ending.mcnemar(gained, lost), expected, rel_tol=1e-9)
    changes = np.repeat([1.0, -1.0, 0.0], [40, 15, 445])
    found = ending.paired(np.array([40.0]), np.array([15.0]), 500.0)
    generator = np.random.default_rng(0)
    means = [100 * generator.choice(changes, 500).mean() for _ in range(4000)]
    low, high = np.percentile(means, [2.5, 97.5])
    assert math.isclose(found.difference.centre, 100 * changes.mean(), rel_tol=1e-9)
    np.testing.assert_allclose([found.difference.low, found.difference.high], [low, high], atol=0.2)
    several = ending.paired(np.array([40.0, 30.0]), np.array([15.0, 15.0]), 500.0)
    assert several.difference.seeds == 2
    assert math.isnan(several.p)


STEPS = 40
KERNELS = np.array(["conv1/kernel", "output/kernel"])


@dataclasses.dataclass
class Made:
    """An arm that reaches a loss of 0.1 at a step, or stays at chance, or diverges."""

    reaches: float = 10
    test: float = 0.9
    train: float = 1.0
    gained: float = 0
    lost: float = 0
    difference: float = 1.0
    diverges: bool = False


def made_up(arms_of, factors=FACTORS, multiples=(0.1, 1.0, 10.0), seeds=1):
    """Results of arms by `(norm, variant, multiple)`; what is not given is a `Made()`."""
    names = [variant.name for variant in variants(factors, full=False)]
    axes = {"norm": ["none", "batch"], "variant": names, "multiple": list(multiples)}
    axes |= {"seed": list(range(seeds)), "step": list(range(STEPS)), "test_step": [0, STEPS]}
    axes |= {"probe_step": [0, 20], "kernel": KERNELS, "averaged": list(copies.AVERAGED)}
    rows: dict[str, list] = {}
    for norm in axes["norm"]:
        for name in names:
            for multiple in multiples:
                made = arms_of.get((norm, name, multiple), Made())
                for seed in range(seeds):
                    for field, value in one_arm(made, seed).items():
                        rows.setdefault(field, []).append(value)
    inner = {"train": ("step",), "test": ("test_step",), "symmetry": ("probe_step", "kernel")}
    arrays, dims = {}, {}
    for field, values in rows.items():
        stacked = np.array(values)
        tail = inner.get(field.split(".")[0], ("probe_step", "averaged"))[: stacked.ndim - 1]
        arrays[field] = stacked.reshape(2, len(names), len(multiples), seeds, *stacked.shape[1:])
        dims[field] = ("norm", "variant", "multiple", "seed", *tail)
    config = {"window": 1, "target_loss": 1.0, "target_accuracy": 0.9, "steps": STEPS, "lr": 0.1}
    config |= {"dataset": "digits", "model": "lenet", "width": 1.0, "dropout": 0.0, "depth": None}
    config |= {"batch_size": 32, "shift": 2, "optimizer": "sgd", "objective": "cross_entropy"}
    facts = {"chance_loss": math.log(10), "dataset": "made up"}
    return results.Results(
        arrays, dims, {name: np.array(values) for name, values in axes.items()}, config, facts
    )


def one_arm(made, seed):
    step = np.arange(STEPS)
    loss = np.where(step + 1 >= made.reaches + seed, 0.1, 2.3)
    finite = np.ones(STEPS)
    if made.diverges:
        finite[5], loss[6:] = 0, np.nan
    none = np.full(4, np.nan)
    accuracy = np.full(4, made.test)
    return {
        "train.loss": loss,
        "train.accuracy": np.where(loss < 1, 1.0, 0.1),
        "train.finite": finite,
        "test.accuracy": np.array([0.1, np.nan if made.diverges else made.test]),
        "symmetry.differences": np.full((2, 2), made.difference),
        "symmetry.sizes": np.ones((2, 2)),
        "symmetry.gradient_norms": np.zeros((2, 2)),
        "symmetry.variances": np.full((2, 2), np.nan),
        "ending.train_accuracy": np.array([np.nan, made.train]),
        "ending.accuracy": np.stack([none, accuracy]),
        "ending.gained": np.stack([none, np.full(4, made.gained)]),
        "ending.lost": np.stack([none, np.full(4, made.lost)]),
        "ending.images": np.array([np.nan, 360.0]),
    }


def name_of(**changes):
    return Variant("sgd", "he_normal", 0.0, False)._replace(**changes).name


def decided(made):
    return {claim.identifier: claim for claim in claims.claims(made)}


def test_a_norm_that_trains_at_more_learning_rates_widens_the_range():
    dead, gone = Made(reaches=math.inf), Made(diverges=True)
    narrow = {("none", name_of(), 10.0): gone, ("none", name_of(), 0.1): dead}
    claim = decided(made_up(narrow))["range-batch-sgd"]
    assert claim.verdict == "supported"
    assert "none 1 decades (at 1 of" in claim.measured
    assert "batch 3 decades" in claim.measured
    assert claim.measured.startswith("one seed")
    reverse = {("batch", name_of(), 10.0): gone}
    assert decided(made_up(reverse))["range-batch-sgd"].verdict == "not supported"
    assert decided(made_up({}))["range-batch-sgd"].verdict == "inconclusive"
    norms, multiples = ("none", "batch"), (0.1, 1.0, 10.0)
    everything = {(norm, name_of(), m): dead for norm in norms for m in multiples}
    claim = decided(made_up(everything))["range-batch-sgd"]
    assert claim.verdict == "inconclusive"
    assert "neither trains" in claim.reason


def test_sensitivity_to_the_initialiser_is_the_range_of_ends_without_symmetric_ones():
    factors = (("sgd",), ("he_normal", "small_normal", "zeros"), (0.0,), (False,))
    worse = {("none", name_of(initializer="small_normal"), 1.0): Made(test=0.5)}
    worse[("batch", name_of(initializer="zeros"), 1.0)] = Made(test=0.1)
    claim = decided(made_up(worse, factors))["initialiser-batch"]
    assert claim.verdict == "supported"
    assert "difference 40 points" in claim.measured
    dead = {
        ("none", name_of(initializer=name), 1.0): Made(reaches=math.inf)
        for name in ("he_normal", "small_normal")
    }
    claim = decided(made_up(dead, factors))["initialiser-batch"]
    assert claim.verdict == "inconclusive"
    assert "none trains from no initialiser" in claim.reason


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (Made(test=0.2, difference=0.0), "supported"),
        (Made(test=0.2, difference=0.5), "inconclusive"),
        (Made(test=0.89, difference=0.0), "not supported"),
    ],
)
def test_a_symmetric_initialiser_fails_if_it_ends_lower_and_units_stay_alike(made, verdict):
    own = {("none", name_of(initializer="zeros"), 1.0): made}
    found = made_up(own)
    assert decided(found)["symmetry-none-zeros"].verdict == verdict
    base = Variant("sgd", "zeros", 0.0, False)
    assert not symmetry_claims(found, "none", [base], 1.0)
    dead = {**own, ("none", name_of(), 1.0): Made(reaches=math.inf)}
    assert decided(made_up(dead))["symmetry-none-zeros"].verdict == "inconclusive"


def test_a_gap_is_compared_where_the_training_set_is_fitted_as_well():
    narrower = {("none", name_of(dropout=0.5), 1.0): Made(train=0.99, test=0.95)}
    assert decided(made_up(narrower))["gap-none-dropout0.5"].verdict == "supported"
    unfitted = {("none", name_of(dropout=0.5), 1.0): Made(train=0.9, test=0.9)}
    claim = decided(made_up(unfitted))["gap-none-dropout0.5"]
    assert claim.verdict == "inconclusive"
    assert "more than 3 points" in claim.reason
    wider = {("none", name_of(augment=True), 1.0): Made(test=0.8)}
    assert decided(made_up(wider))["gap-none-augmentation"].verdict == "not supported"


def test_averages_over_copies_are_decided_by_the_exact_test():
    found = {("none", name_of(), 1.0): Made(gained=12, lost=1)}
    found[("batch", name_of(), 1.0)] = Made(gained=1, lost=12)
    found[("batch", name_of(augment=True), 1.0)] = Made(reaches=math.inf, gained=12)
    found = decided(made_up(found))
    assert found["copies-none-both-without-augmentation"].verdict == "supported"
    assert found["copies-batch-both-without-augmentation"].verdict == "not supported"
    assert found["copies-none-flips-with-augmentation"].verdict == "inconclusive"
    assert "does not train" in found["copies-batch-flips-with-augmentation"].reason


@pytest.mark.parametrize("seeds", [1, 3])
def test_adam_and_sgd_are_compared_each_at_its_best_learning_rate(seeds):
    found = {("none", name_of(), m): Made(reaches=r) for m, r in ((0.1, 36), (1.0, 20), (10.0, 30))}
    for multiple, reaches in ((0.1, 30), (1.0, 12), (10.0, 5)):
        found[("none", name_of(optimizer="adam"), multiple)] = Made(reaches=reaches)
    claim = decided(made_up(found, seeds=seeds))["adam-none"]
    assert claim.verdict == "supported"
    assert "sgd 20" in claim.measured
    assert "adam 5" in claim.measured
    never = {key: Made(reaches=math.inf) for key in found if "adam" in key[1]}
    assert decided(made_up(never, seeds=seeds))["adam-none"].verdict == "inconclusive"


def test_the_base_and_its_neighbours_are_found_in_a_full_sweep():
    found = made_up({})
    names = np.array([variant.name for variant in variants(FACTORS, full=True)])
    found = found._replace(axes={**found.axes, "variant": names})
    assert [v.optimizer for v in around(found, "optimizer")] == ["sgd", "adam"]
    assert [v.dropout for v in around(found, "dropout")] == [0.0, 0.5]


def test_a_small_sweep_end_to_end(tmp_path, monkeypatch, noise_dataset, standard_promotion):
    make_toy(monkeypatch, noise_dataset)

    def build(self, norm, num_classes):
        kernel_init = initializers.by_name(self.initializer)
        return models.Model(tiny_model(norm).module.clone(kernel_init=kernel_init))

    monkeypatch.setattr(RunConfig, "build_model", build)
    monkeypatch.setattr(script.symmetry, "kernel_names", lambda *_: KERNEL_NAMES)
    arms.compile_program.cache_clear()
    arguments = ["--steps", "5", "--batch-size", "16", "--probe-every", "2", "--out", str(tmp_path)]
    arguments += ["--optimizers", "sgd", "adam", "--initializers", "he_normal", "zeros", "--debug"]
    arguments += ["--dropouts", "0", "--window", "3", "--multiples", "0.1", "1"]
    assert frame.main(script.EXPERIMENT, arguments) == 0
    # Two norms; sgd, adam, sgd augmented. Initialiser and learning rate need no program.
    assert arms.compile_program.cache_info().misses == 6
    (path,) = (tmp_path / "optimizers").iterdir()
    found = results.read(path)
    assert found.dims["train.loss"] == ("norm", "variant", "multiple", "seed", "step")
    assert found.arrays["train.loss"].shape == (2, 4, 2, 1, 5)
    zeros = found.at(variant=name_of(initializer="zeros"), multiple=1.0)
    assert (zeros.select("symmetry.differences", norm="batch")[..., :2] == 0).all()
    ended = found.arrays["ending.accuracy"]
    assert np.isnan(ended[..., :2, :]).all()
    assert np.isnan(ended[:, :, 0]).all()  # a tenth of the usual rate
    assert np.isfinite(ended[:, :, 1, :, 2]).all()
    slow, fast = (
        found.at(variant=name_of(), multiple=m).select("train.loss", norm="none", seed=0)
        for m in (0.1, 1.0)
    )
    assert slow[0] == fast[0]
    assert slow[1] != fast[1]
    for name in ("learning_rates", "initializers", "regularisation"):
        assert (path / f"{name}.png").stat().st_size > 10_000


KERNEL_NAMES = ("conv1/kernel", "conv2/kernel", "output/kernel")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr", "0.1"], "--lr 0.1 is not for this experiment: give --multiples"),
        (["--optimizer", "adam"], "--optimizer adam is not for this experiment: give --optimizers"),
        (["--dropout", "0.5"], "give --dropouts"),
        (["--multiples", "1", "0.1"], "--multiples 1 0.1: must be one or more above 0, rising"),
        (["--multiples", "0"], "--multiples 0: must be"),
        (["--initializers", "he"], "--initializers he: must be among glorot_uniform"),
        (["--optimizers", "sgd", "sgd"], "optimizer sgd sgd: must be one or more different values"),
        (["--optimizers", "adamw"], "--optimizers adamw: must be given a --weight-decay"),
        (["--shift", "9"], "--shift 9: must be from 1 to 8 pixels"),
        (["--dropouts", "0", "1.5"], "dropout=1.5 must be 0 or more and below 1"),
        (["--model", "dln"], "--model dln: must be a classifier"),
    ],
)
def test_bad_input_is_one_line_before_anything_runs(arguments, message, tmp_path, capsys):
    assert frame.main(script.EXPERIMENT, [*arguments, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
