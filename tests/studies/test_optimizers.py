"""Optimisers, initialisers, dropout and augmentation: the learning rate as data, programs that arms
share, symmetry of channels, averages over copies, claims, figures and options."""

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
import synthetic
from conftest import tiny_model
from synthetic import STEPS, N, S, U, decided, drawable, refusal, rows_of

from bnjax import data, models, probes, train
from bnjax.data import copies
from bnjax.data.batches import standardise_pixels
from bnjax.errors import UsageError
from bnjax.frame import arm as arms
from bnjax.models import layers
from bnjax.studies.optimizers import STUDY, Setting, claims, figure, parse, settings_of
from bnjax.studies.optimizers import measure as symmetry
from bnjax.studies.optimizers.measure import make_ending, predict
from bnjax.train import optimizers

FACTORS = (("sgd", "adam"), ("he_normal", "zeros"), (0.0, 0.5), (False, True))


def initialised(norm, initializer, batch):
    """The tiny network and its float32 state under momentum."""
    module = tiny_model(norm).module
    model = models.Model(module.clone(kernel_init=layers.initializer(initializer)))
    images = batch.images.astype(jnp.float32)
    optimizer = optimizers.by_name("momentum", 0.1)
    return model, optimizer, train.init_state(model, optimizer, jax.random.key(0), images)


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(UsageError, match="optimizer 'addam' is not known: choose from sgd, mom"):
        optimizers.build(optimizers.Rule("addam"), 0.1)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw"])
def test_a_learning_rate_in_the_state_gives_the_bits_of_a_constant_one(name, standard_promotion):
    params = {"w": jnp.linspace(-1, 1, 7, dtype=jnp.float32)}
    constant = optax.adamw(0.013, weight_decay=0.0)
    if name != "adamw":
        plain = optimizers.PLAIN[name](0.013)
        constant = optax.chain(optax.add_decayed_weights(0.0), plain)
    foreign = optimizers.by_name(name, 7.0)  # its update must use the rate of the state only
    state, expected_state = optimizers.by_name(name, 0.013).init(params), constant.init(params)
    ours, theirs = jax.jit(foreign.update), jax.jit(constant.update)
    for step in range(4):
        gradient = {"w": jnp.sin(params["w"] + step).astype(jnp.float32)}
        updates, state = ours(gradient, state, params)
        expected, expected_state = theirs(gradient, expected_state, params)
        np.testing.assert_array_equal(updates["w"], expected["w"])


@pytest.mark.parametrize("name", models.registry.FAMILIES)
def test_models_of_every_family_are_equal_when_built_twice(name):
    norm = models.norms.by_name("batch")
    first, second, other = (
        models.by_name(name, norm=norm, num_classes=10, initializer=initializer)
        for initializer in ("he_normal", "he_normal", "zeros")
    )
    assert first == second != other
    assert hash(first) == hash(second)
    assert first.initialised == other.initialised


def arm_of(dataset, lr, seed=0, norm="batch", optimizer="sgd"):
    options = SimpleNamespace(
        lr=lr, optimizer=optimizer, steps=3, objective="cross_entropy", precision="default",
        microbatches=1, weight_decay=0.0, kernel_penalty=0.0, lr_drops=(), decays=None,
    )  # fmt: skip
    pipeline = data.make_pipeline(dataset, 16)
    return arms.Arm({"norm": norm}, seed, options, tiny_model(norm), dataset, pipeline)


def test_arms_that_differ_in_learning_rate_or_seed_share_one_compiled_program(noise_dataset):
    arms.compile_program.cache_clear()
    programs = []
    for lr, seed in ((0.1, 0), (0.2, 0), (0.2, 1)):
        arm = arm_of(noise_dataset, lr, seed)
        program = arms.build_program(arm)
        state, batch = arms.first_state(arm, arm.optimizer, program.batch, jax.random.key(seed))
        before = jnp.copy(state.params["output"]["bias"])
        gradient = program.gradient(state, batch)
        state, _ = program.update(state, gradient)
        programs.append(program)
        assert program.gradient._cache_size() == program.update._cache_size() == 1
        # The rate of this very arm was applied.
        moved = np.float32(lr) * gradient.gradient["output"]["bias"]
        after = state.params["output"]["bias"]
        np.testing.assert_allclose(before - after, moved, rtol=1e-5, atol=1e-8)
    assert programs[0] is programs[1] is programs[2]
    for changed in ({"norm": "none"}, {"optimizer": "adam"}):
        assert arms.build_program(arm_of(noise_dataset, 0.1, **changed)) is not programs[0]


def test_the_difference_of_channels_is_the_largest_over_all_pairs():
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
    model, test = tiny_model("batch"), noise_dataset.test
    variables = model.init(jax.random.key(3), jnp.zeros((2, 8, 8, 3), jnp.float32))
    state = train.TrainState(jnp.int32(4), **variables, opt_state=())
    standard = {"mean": noise_dataset.mean, "std": noise_dataset.std}
    images = standardise_pixels(test.pixels, *standard.values(), jnp.dtype("float32"))
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
        right = each[list(rows)].mean(axis=0).argmax(axis=1) == labels
        assert float(found.accuracy[column]) == np.float32(right.mean())
        assert int(found.gained[column]) == (right & ~plain).sum()
        assert int(found.lost[column]) == (~right & plain).sum()
    assert int(found.images) == 7
    probabilities = predict(model, state, test.pixels, made, **standard, chunk=3)
    np.testing.assert_allclose(probabilities, each, rtol=2e-5, atol=1e-7)
    fitted = data.Split(*(array[:7] for array in noise_dataset.train))
    evaluate = train.make_evaluate(model, noise_dataset)
    expected = evaluate(state.params, state.batch_stats, fitted).accuracy
    np.testing.assert_allclose(found.train_accuracy, expected, rtol=1e-6)
    elsewhere = measure(state._replace(step=jnp.int32(3)), None, None)
    assert all(np.isnan(field).all() for field in elsewhere)


def test_dropout_is_off_at_test_time(noise_dataset):
    ends, none, made = [], models.norms.none(), copies.make_copies(1)
    noise = jax.random.normal(jax.random.key(0), (64, 8, 8, 3), jnp.float32)
    for dropout in (0.0, 0.9):
        more = {"initializer": "he_normal", "width": 0.1, "dropout": dropout}
        model = models.by_name("mlp", norm=none, num_classes=10, **more)
        variables = model.init(jax.random.key(3), noise)
        state = train.TrainState(jnp.int32(0), **variables, opt_state=())
        standard = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
        ends.append(predict(model, state, noise_dataset.test.pixels, made, **standard, chunk=7))
        first, second = (
            model.apply(**variables, images=noise, train=True, key=jax.random.key(seed))[0]
            for seed in (1, 2)
        )
        assert bool((first == second).all()) == (dropout == 0)
    np.testing.assert_array_equal(*ends)


def test_the_sweep_leaves_the_base_one_factor_at_a_time_or_takes_all():
    base, *others = settings_of(FACTORS, full=False)
    assert base == Setting("sgd", "he_normal", 0.0, False)
    assert len(others) == 4
    for other in others:
        assert sum(a != b for a, b in zip(base, other, strict=True)) == 1
    full = settings_of(FACTORS, full=True)
    assert len(set(full)) == 16
    assert [parse(setting.name) for setting in full] == [*full]
    run = synthetic.run(variant=[setting.name for setting in full])
    assert [setting.optimizer for setting in claims.around(run, "optimizer")] == ["sgd", "adam"]
    assert [setting.dropout for setting in claims.around(run, "dropout")] == [0.0, 0.5]


def test_mcnemar_and_the_paired_interval_are_those_of_scipy_and_of_a_bootstrap():
    for gained, lost in ((8, 1), (3, 3), (0, 5), (0, 0)):
        expected = scipy.stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert math.isclose(claims.mcnemar(gained, lost), expected, rel_tol=1e-9)
    changes = np.repeat([1.0, -1.0, 0.0], [40, 15, 445])
    found, _ = claims.paired(np.array([40.0]), np.array([15.0]), 500.0)
    generator = np.random.default_rng(0)
    means = [generator.choice(changes, 500).mean() for _ in range(4000)]
    assert math.isclose(found.estimate, changes.mean(), rel_tol=1e-9)
    ends = np.percentile(means, [2.5, 97.5])
    np.testing.assert_allclose([found.low, found.high], ends, atol=0.002)
    several, p = claims.paired(np.array([40.0, 30.0]), np.array([15.0, 15.0]), 500.0)
    assert several.n == 2
    assert math.isnan(p)


DEAD, GONE = {"reaches": math.inf}, {"diverges": True}
MADE = {"reaches": 10, "test": 0.9, "train": 1.0, "gained": 0, "lost": 0}
MADE |= {"difference": 1.0, "diverges": 0.0}
MULTIPLES = (0.1, 1.0, 10.0)
OPTIONS = {"window": 1, "target_loss": 1.0, "dataset": "digits", "model": "lenet", "shift": 2}


def name_of(**changes):
    return Setting("sgd", "he_normal", 0.0, False)._replace(**changes).name


def made_up(changes, factors=FACTORS, seeds=1):
    """A run of networks that reach a loss of 0.1 at a step, or stay at chance, or diverge.

    `changes` are by `(norm, setting, multiple)`; None stands for all normalisers or multiples.
    """
    norms, names = ["none", "batch"], [s.name for s in settings_of(factors, full=False)]
    made = {name: np.full((2, len(names), 3), value, dtype=float) for name, value in MADE.items()}
    for (norm, name, multiple), values in changes.items():
        norm_at = slice(None) if norm is None else norms.index(norm)
        multiple_at = slice(None) if multiple is None else MULTIPLES.index(multiple)
        for field, value in values.items():
            made[field][norm_at, names.index(name), multiple_at] = value
    made = {name: values[..., None, None] for name, values in made.items()}  # [..., seed, step]
    step, seed, gone = np.arange(STEPS), np.arange(seeds)[:, None], made["diverges"] == 1
    loss = np.where(step + 1 >= made["reaches"] + seed, 0.1, 2.3)
    last = np.where(np.arange(synthetic.PROBES) == synthetic.PROBES - 1, 1.0, np.nan)
    last = np.where(gone, np.nan, last)
    accuracy = np.where(gone, np.nan, made["test"])
    lead = ("norm", "variant", "multiple", "seed")
    probed = (*lead, "probe_step")
    symmetry = {"differences": made["difference"][..., None], "sizes": 1.0}
    symmetry |= {"gradient_norms": 0.0, "variances": np.nan}
    averages = {"accuracy": made["test"], "gained": made["gained"], "lost": made["lost"]}
    return drawable(
        synthetic.run(
            {
                "train_loss": ((*lead, "step"), np.where(gone & (step > 5), np.nan, loss)),
                "train_finite": ((*lead, "step"), 1.0 - (gone & (step == 5))),
                "test_accuracy": ((*lead, "test_step"), np.where([True, False], 0.1, accuracy)),
                **{f"symmetry_{name}": ((*probed, "kernel"), x) for name, x in symmetry.items()},
                **{
                    f"ending_{name}": ((*probed, "averaged"), (x * last)[..., None])
                    for name, x in averages.items()
                },
                "ending_train_accuracy": (probed, made["train"] * last),
                "ending_images": (probed, 360.0 * last),
            },
            norms=norms,
            seeds=seeds,
            options=OPTIONS,
            variant=names,
            multiple=MULTIPLES,
            test_step=[0, STEPS],
            kernel=["conv1/kernel", "output/kernel"],
            averaged=copies.AVERAGED,
        )
    )


BASE, DROPOUT, ZEROS = name_of(), name_of(dropout=0.5), name_of(initializer="zeros")
ADAM, AUGMENTED = name_of(optimizer="adam"), name_of(augment=True)
NARROW = {("none", BASE, 10.0): GONE, ("none", BASE, 0.1): DEAD}
ADAM_SOONER = {
    ("none", name, multiple): {"reaches": step}
    for name, steps in ((BASE, (36, 20, 30)), (ADAM, (30, 12, 5)))
    for multiple, step in zip(MULTIPLES, steps, strict=True)
}


def usual(norm, name, **values):
    """A change at the usual learning rate."""
    return {(norm, name, 1.0): values}


def zeros(test, difference):
    return usual("none", ZEROS, test=test, difference=difference)


@pytest.mark.parametrize(
    ("identifier", "changes", "verdict", "told"),
    [
        ("range-batch-sgd", NARROW, S, "1 decades (at 1 of the usual rate); with BatchNorm 3 dec"),
        ("range-batch-sgd", {("batch", BASE, 10.0): GONE}, N, "at 0.1 1 of"),
        ("range-batch-sgd", {}, U, "the grid shows no difference"),
        ("range-batch-sgd", {(None, BASE, None): DEAD}, U, "neither trains"),
        ("symmetry-none-zeros", zeros(0.2, 0.0), S, "bit for bit"),
        ("symmetry-none-zeros", zeros(0.2, 0.5), U, "do not stay alike"),
        ("symmetry-none-zeros", zeros(0.89, 0.0), N, "5 points"),
        ("symmetry-none-zeros", zeros(0.2, 0.0) | usual("none", BASE, **DEAD), U, "not train"),
        ("gap-none-dropout0.5", usual("none", DROPOUT, train=0.99, test=0.95), S, "6 points large"),
        ("gap-none-dropout0.5", usual("none", DROPOUT, train=0.9, test=0.9), U, "fits less"),
        ("gap-none-dropout0.5", usual("none", DROPOUT, train=0.99, test=0.95), S, "99.0 %, 95.0 %"),
        ("gap-none-dropout0.5", usual("none", DROPOUT, **DEAD), U, "does not train"),
        ("gap-none-augmentation", usual("none", AUGMENTED, test=0.8), N, "smaller"),
        ("copies-none-both-without", usual("none", BASE, gained=12, lost=1), S, "p = 0.0034"),
        ("copies-batch-both-without", usual("batch", BASE, gained=1, lost=12), N, "-3.06"),
        ("copies-none-flips-with", {}, U, "may be chance"),
        ("copies-batch-flips-with", usual("batch", AUGMENTED, gained=12, **DEAD), U, "not train"),
        ("copies-batch-flips-with", usual("batch", AUGMENTED, **GONE), U, "diverged"),
        ("adam-none", ADAM_SOONER, S, "with SGD 20, with Adam 5"),
        ("adam-none", {("none", ADAM, None): {"reaches": 30}}, N, "3 times smaller"),
        ("adam-none", {("none", ADAM, None): DEAD}, U, "with Adam the target is not reached"),
        ("adam-none", {("none", BASE, None): DEAD}, U, "with SGD the target is not reached"),
    ],
)
def test_claims_follow_their_rules(identifier, changes, verdict, told):
    ending = "-augmentation" if identifier.startswith("copies") else ""
    found = decided(made_up(changes), claims.CLAIMS)[identifier + ending]
    assert found.verdict == verdict, found
    assert told in f"{found.measured} {found.reason}"


def test_several_seeds_have_intervals():
    changes = {**ADAM_SOONER, ("none", BASE, 1.0): {"gained": 12, "reaches": 20}}
    found = decided(made_up(changes, seeds=3), claims.CLAIMS)
    assert found["adam-none"].verdict == S
    assert found["adam-none"].numbers[0].n == 3
    assert found["copies-none-both-without-augmentation"].verdict == S
    assert "over 3 seeds" in found["copies-none-both-without-augmentation"].measured


def test_sensitivity_to_the_initialiser_is_the_range_of_ends_without_symmetric_ones():
    factors = (("sgd",), ("he_normal", "small_normal", "zeros"), (0.0,), (False,))
    small = name_of(initializer="small_normal")
    worse = {("none", small, 1.0): {"test": 0.5}, ("batch", ZEROS, 1.0): {"test": 0.1}}
    claim = decided(made_up(worse, factors), claims.CLAIMS)["initialiser-batch"]
    assert claim.verdict == S
    assert "40 points smaller" in claim.measured
    assert "small_normal 50.0 %" in claim.measured
    dead = {("none", BASE, 1.0): DEAD, ("none", small, 1.0): DEAD}
    claim = decided(made_up(dead, factors), claims.CLAIMS)["initialiser-batch"]
    assert claim.verdict == U
    assert "trains from no initialiser" in claim.reason


def test_a_symmetric_base_bears_no_claim_on_symmetry():
    factors = (("sgd",), ("zeros", "he_normal"), (0.0,), (False,))
    assert not [*claims.symmetry(made_up({}, factors))]


def test_figures_show_what_was_measured():
    changes = {
        ("none", BASE, 0.1): {**DEAD, "test": 0.2},
        ("none", ZEROS, 1.0): {"difference": 0.0},
        ("batch", BASE, 1.0): {"train": 0.95, "gained": 36},
        ("batch", AUGMENTED, 1.0): GONE,
    }
    run = made_up(changes)
    rows = rows_of(*(draw(run, {}) for draw in figure.FIGURES))

    def seen(panel, series, kind):
        return [
            (x if isinstance(x, str) else pytest.approx(x), pytest.approx(y))
            for x, y, *_ in rows[panel, series, kind]
        ]

    sgd, ends = "SGD | final test accuracy [%]", "a Ends, by initialiser | final test accuracy [%]"
    assert seen(sgd, "no normalisation", "line") == [(0.01, 20), (0.1, 90), (1, 90)]
    assert seen(sgd, "no normalisation, does not train", "points") == [(0.01, 20)]
    assert seen(sgd, "no normalisation, trains", "points") == [(0.1, 90), (1, 90)]
    assert seen(ends, "BatchNorm", "bar") == [("He", 90), ("zeros", 90)]
    alike = "b Do channels of a hidden layer stay alike? | largest difference of two channels / "
    found = seen(f"{alike}largest weight", "zeros, no normalisation", "line")
    assert all(y == 0 for _, y in found)
    gap, own = "a Generalisation gap | accuracy [%]", "BatchNorm, base,"
    assert seen(gap, f"{own} training images", "points") == [(0.2, 95)]
    assert seen(gap, f"{own} test images", "points") == [(0.2, 90)]
    gained = "b Average over copies | test accuracy gained [points]"
    (found,), (diverged,) = (
        rows[gained, f"BatchNorm, flips, trained {augmented} augmentation", "range"]
        for augmented in ("without", "with")
    )
    half = 100 * 1.959964 * math.sqrt(36 - 36**2 / 360) / 360
    assert found[1:] == pytest.approx([10, 10 - half, 10 + half])
    assert np.isnan(diverged[1:]).all()


LINEAR = ["--model", "dln", "--dataset", "gaussian"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--multiples", "1", "0.1"], "--multiples 1 0.1: must be one or more above 0, rising"),
        (["--multiples", "0"], "--multiples 0: must be"),
        (["--initializers", "he"], "--initializers he: must be some of glorot_uniform"),
        (["--optimizers", "sgd", "sgd"], "optimizer sgd sgd: must be one or more different values"),
        (["--optimizers", "adamw"], "--optimizers adamw: must be given a --weight-decay"),
        (["--shift", "9"], "--shift 9: must be from 1 to 8 pixels"),
        (["--dropouts", "0", "1.5"], "dropout=1.5 must be 0 or more and below 1"),
        ([*LINEAR, "--objective", "squared_error"], "--model dln: must be a classifier"),
    ],
)
def test_bad_input_is_one_line_before_anything_runs(arguments, message, tmp_path, capsys):
    assert message in refusal(STUDY, arguments, tmp_path, capsys)
