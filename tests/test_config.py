import json
from typing import Any

import jax.numpy as jnp
import pytest

import jaxdigits as jd
from jaxdigits.by_hand.dense import DERIVATIVES
from jaxdigits.config import (
    APPLIES,
    AUGMENT,
    CheckpointConfig,
    parse_augmentation,
    parse_settings,
    with_settings,
)
from jaxdigits.errors import ConfigError
from jaxdigits.losses import LOSSES
from jaxdigits.models import ACTIVATIONS, INITIALIZERS, make_model
from jaxdigits.runs.documents import upgrade_settings
from jaxdigits.training.resolve import DataSpec, count_epochs, resolve
from jaxdigits.transforms.augment import AUGMENTATIONS
from jaxdigits.transforms.scaling import UNIT, Scaling


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": -1}, "epochs must be 0 to 1000000, not -1"),
        ({"epochs": 10**20}, "epochs must be 0 to 1000000, not 10"),
        ({"batch_size": 0}, "batch_size must be 1 or more, not 0"),
        ({"learning_rate": 0.0}, "learning_rate must be a number above 0, not 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number above 0, not nan"),
        ({"learning_rate": float("inf")}, "learning_rate must be a number above 0, not inf"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, not 1.0"),
        ({"learning_rate": -0.1}, "learning_rate must be a number above 0, not -0.1"),
        ({"weight_decay": -0.1}, "weight_decay must be a number of 0 or more, not -0.1"),
        ({"weight_decay": float("inf")}, "weight_decay must be a number of 0 or more, not inf"),
        ({"weight_decay": float("nan")}, "weight_decay must be a number of 0 or more, not nan"),
        ({"hidden": [30, 0]}, r"hidden must be widths of 1 to 1000000000000, not \(30, 0\)"),
        (
            {"hidden": [10**13]},
            r"widths of 1 to 1000000000000, not \(10000000000000,\)",
        ),
        ({"dropout": 10**400}, "dropout must be at least 0 and below 1, not inf"),
        ({"model": "x" * 10**6}, r"model must be one of convnet, .* not 'x+\.\.\.x+'$"),
        ({"seed": -1}, "seed must be 0 to 4294967295, not -1"),
        ({"dataset": ""}, "dataset must be the name of a dataset, not ''"),
        ({"gradients": "hand", "loss": "softmax_mse"}, "gradients by hand are derived for"),
        ({"gradients": "hand", "model": "pixel"}, "gradients by hand are derived for"),
        *(
            ({"gradients": "hand", "model": model, "loss": loss}, "gradients by hand are derived")
            for model in ("linear", "mlp")
            for loss in ("clamped_cross_entropy", "sigmoid_mse", "softmax_mse")
        ),
        (
            {"gradients": "hand", "model": "mlp", "precision": "bfloat16"},
            "gradients by hand have the default precision; omit precision",
        ),
        ({"gradients": "hand", "model": "mlp", "scale": "image"}, "gradients by hand are derived"),
        ({"epoch": 3}, "there is no setting epoch"),
        ({"epoch": 3, "speed": 1, "batch": 2}, "there is no setting batch, epoch, speed"),
        ({"ema_decay": 1.0}, "ema_decay must be at least 0 and below 1, not 1.0"),
        ({"dropout": -0.1}, "dropout must be at least 0 and below 1, not -0.1"),
        ({"dropout": float("nan")}, "dropout must be at least 0 and below 1, not nan"),
        ({"label_smoothing": 1}, "label_smoothing must be at least 0 and below 1, not 1.0"),
        *(
            ({"label_smoothing": 0.1, "loss": loss}, f"for loss cross_entropy, not for {loss}")
            for loss in ("clamped_cross_entropy", "sigmoid_mse", "softmax_mse")
        ),
        *(
            (
                {"gradients": "hand", "model": "mlp", **more},
                "without dropout, label_smoothing and scale image",
            )
            for more in ({"dropout": 0.5}, {"label_smoothing": 0.1}, {"model": "convnet"})
        ),
        ({"augment": "flip"}, "augment must be .* shift, rotate, .*, noise, erase, not 'flip'"),
        ({"augment": "shift,"}, "augment must be .*, not ''"),
        ({"augment": ["shift", "auto"]}, "augment must be .*, not 'auto'"),
        ({"model": "x" * 100}, f"not '{'x' * 47}...{'x' * 48}'$"),
        ({"model": "x" * 98}, f"not '{'x' * 98}'$"),
        ({"hidden": [0] * 20}, rf"not \({'0, ' * 19}0\)$"),
        ({"hidden": [0] * 21}, rf"not \({'0, ' * 20}\.\.\.\)$"),
    ],
)
def test_impossible_values_are_refused(settings, message):
    with pytest.raises(jd.errors.ConfigError, match=message):
        jd.TrainConfig.from_dict(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"weight_decay": 0.0},
        {"learning_rate": 1e-12},
        {"learning_rate": 1e6},
        {"optimizer": "sgd", "momentum": 0.999999},
        {"ema_decay": 0.999999},
        {"dropout": 0.999999, "label_smoothing": 0.999999},
        {"model": "mlp", "precision": "bfloat16"},
        {"model": "linear", "gradients": "hand"},
        {"model": "mlp", "gradients": "hand", "scale": "unit", "augment": ("shift",)},
    ],
)
def test_values_just_within_the_limits(settings):
    config = jd.TrainConfig(**settings)
    assert {name: getattr(config, name) for name in settings} == settings


@pytest.mark.parametrize(
    ("settings", "hyperparams"),
    [
        ({"optimizer": "adamw"}, {"learning_rate": 0.5, "weight_decay": 0.25}),
        ({"optimizer": "adam", "weight_decay": 0.1}, {"learning_rate": 0.5}),
        ({"optimizer": "sgd", "weight_decay": 0.1}, {"learning_rate": 0.5}),
        (
            {"optimizer": "sgd", "weight_decay": 0.1, "momentum": 0.75},
            {"learning_rate": 0.5, "momentum": 0.75},
        ),
    ],
)
def test_an_optimizer_has_its_own_hyperparams(settings, hyperparams):
    config = jd.TrainConfig(**{"learning_rate": 0.5, "weight_decay": 0.25, **settings})
    assert config.hyperparams == hyperparams


def test_the_defaults_that_recorded_runs_and_recipes_rely_on():
    """Who changes one changes what a command without that option trains."""
    expected = {
        "dataset": "auto", "model": "convnet", "hidden": (128,), "activation": "relu",
        "pool_activation": "gelu", "stem": "7x7", "dropout": 0.0, "initializer": "uniform",
        "distance": "squared", "scale": "standardized", "augment": ("auto",),
        "loss": "cross_entropy", "label_smoothing": 0.0, "reduction": "mean", "gradients": "auto",
        "precision": "default", "optimizer": "adamw", "learning_rate": 0.005,
        "schedule": "one_cycle", "momentum": 0.0, "weight_decay": 0.1, "ema_decay": 0.0,
        "batch_size": 64, "epochs": None, "seed": 0,
    }  # fmt: skip
    assert jd.TrainConfig().as_dict() == expected


def test_when_checkpoints_are_saved():
    """By default after 5 minutes, the last 3; and the least of each."""
    config = CheckpointConfig()
    found = config.checkpoint_epochs, config.checkpoint_minutes, config.keep_checkpoints
    assert found == (None, 5.0, 3)
    CheckpointConfig(checkpoint_epochs=1, checkpoint_minutes=0.0, keep_checkpoints=1)
    impossible: tuple[tuple[dict[str, Any], str], ...] = (
        ({"checkpoint_epochs": 0}, "checkpoint_epochs must be 1 or more, not 0"),
        ({"keep_checkpoints": 0}, "keep_checkpoints must be 1 or more, not 0"),
        ({"checkpoint_minutes": -0.5}, "checkpoint_minutes must be a number of 0 or more, not -0"),
        ({"checkpoint_minutes": float("nan")}, "checkpoint_minutes must be a number of 0 or more"),
    )
    for settings, message in impossible:
        with pytest.raises(ConfigError, match=message):
            CheckpointConfig(**settings)


@pytest.mark.parametrize(
    ("texts", "changed"),
    [
        ({}, {}),
        ({"model": " mlp ", "hidden": "8x4"}, {"model": "mlp", "hidden": (8, 4)}),
        ({"epochs": "7", "learning_rate": "0.25"}, {"epochs": 7, "learning_rate": 0.25}),
        ({"augment": "shift+blur=2"}, {"augment": ("shift", "blur=2")}),
    ],
)
def test_some_settings_of_a_config_as_text(texts, changed):
    """The others stay."""
    config = jd.TrainConfig(batch_size=32, seed=3)
    assert with_settings(config, texts) == config.replace(**changed)
    with pytest.raises(ConfigError, match="there is no setting size"):
        with_settings(config, {"size": "7"})


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("epochs", 0, 10**6),
        ("seed", 0, 2**32 - 1),
        ("batch_size", 1, None),
        ("hidden", 1, 10**12),
    ],
)
def test_whole_numbers_on_both_sides_of_each_limit(name, lowest, highest):
    def config(value):
        settings = {"hidden": [value], "model": "mlp"} if name == "hidden" else {name: value}
        return jd.TrainConfig.from_dict(settings)

    config(lowest)
    with pytest.raises(ConfigError, match=f"{name} must be "):
        config(lowest - 1)
    if highest is not None:
        config(highest)
        with pytest.raises(ConfigError, match=f"{name} must be "):
            config(highest + 1)


def test_values_of_the_wrong_type_are_refused(python):
    """In a process of its own, where the annotations are not checked by other means."""
    wrong = {
        "epochs": 1.5,
        "batch_size": True,
        "seed": "0",
        "dataset": 5,
        "learning_rate": "fast",
        "hidden": 30,
        **dict.fromkeys(("model", "loss", "optimizer", "schedule", "activation"), "x"),
    }
    code = (
        "import sys, json; from jaxdigits.config import TrainConfig;"
        "from jaxdigits.errors import ConfigError\n"
        "for name, value in json.loads(sys.argv[1]).items():\n"
        "    try: TrainConfig.from_dict({name: value})\n"
        "    except ConfigError as error: print(error)"
    )
    lines = python("-c", code, json.dumps(wrong)).stdout.splitlines()
    assert lines[:6] == [
        "epochs must be a whole number, not 1.5",
        "batch_size must be a whole number, not True",
        "seed must be a whole number, not '0'",
        "dataset must be text, not 5",
        "learning_rate must be a number, not 'fast'",
        "hidden must be a list of whole numbers, not 30",
    ]
    assert lines[6] == "model must be one of convnet, resnet18, mlp, linear, pixel, not 'x'"
    assert len(lines) == len(wrong)


def test_numbers_of_numpy_become_plain(python):
    code = (
        "import numpy as np, json; from jaxdigits.config import TrainConfig;"
        "config = TrainConfig(model='mlp', learning_rate=np.float32(0.5), epochs=np.int64(3), "
        "hidden=[30]);"
        "print(json.dumps([config.learning_rate, config.epochs, config.hidden]))"
    )
    assert python("-c", code).stdout == "[0.5, 3, [30]]\n"


def test_a_config_survives_json():
    config = jd.TrainConfig(
        model="mlp", hidden=(64, 32), learning_rate=0.1, optimizer="sgd", momentum=0.9
    )
    assert jd.TrainConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("none", ()),
        ((), ()),
        ("shift", ("shift",)),
        ("shift,rotate", ("shift", "rotate")),
        (("shift", "rotate"), ("shift", "rotate")),
        (["shift,invert", "scale"], ("shift", "invert", "scale")),
        (" shift , rotate = 3 ", ("shift", "rotate = 3")),
        (("none", "shift"), ("shift",)),
        ("shift=3,rotate=7.5", ("shift=3", "rotate=7.5")),
    ],
)
def test_names_of_augmentations(given, meant):
    assert jd.TrainConfig.from_dict({"augment": given}).augment == meant


@pytest.mark.parametrize("given", [{}, {"augment": "auto"}, {"augment": ["auto"]}])
def test_augmentation_that_suits_the_model(given):
    spec = DataSpec(60_000, (28, 28), 10, Scaling(*map(jnp.float32, UNIT)))
    config = jd.TrainConfig.from_dict(given)
    assert resolve(config, spec).config.augment == ("shift", "rotate", "scale")
    for model in ("resnet18", "mlp", "linear", "pixel"):
        config = jd.TrainConfig.from_dict({"model": model, **given})
        assert resolve(config, spec).config.augment == ()


def test_augmentations_are_those_there_are():
    assert set(AUGMENTATIONS) == set(AUGMENT)


@pytest.mark.parametrize(
    "given", ["rotate=", "rotate=x", "rotate=-1", "rotate=nan", "scale=1", "shift=1.5", "shift=29"]
)
def test_impossible_strengths(given):
    """A shift is by whole pixels."""
    name, _, number = given.partition("=")
    wanted = {
        "rotate": "a number of 0 to 180",
        "scale": "a number of 0 to 0.9",
        "shift": "a whole number of 0 to 28",
    }[name]
    with pytest.raises(ConfigError) as told:
        jd.TrainConfig(augment=(given,))
    assert str(told.value) == f"augment {name} must be {wanted}, not '{number}'"


@pytest.mark.parametrize(
    ("name", "most"),
    [
        *(("shift", 28), ("rotate", 180), ("scale", 0.9), ("shear", 0.9), ("invert", 784)),
        *(("elastic", 28), ("thickness", 1), ("blur", 28), ("contrast", 0.9), ("noise", 1)),
        ("erase", 28),
    ],
)
def test_an_augmentation_has_a_greatest_strength(name, most):
    """Beyond it nothing of an image is left, or it is turned around."""
    whole = name in ("shift", "invert", "erase")
    step = 1 if whole else 0.0001
    for strength in (0, step, most):
        found = parse_augmentation(f"{name} = {strength}")
        assert found == (name, strength)
        assert isinstance(found[1], int if whole else float)
    for strength in (-step, most + step):
        with pytest.raises(ConfigError, match=f"augment {name} must be .* of 0 to {most}, not"):
            parse_augmentation(f"{name}={strength}")


def test_epochs_that_are_not_given():
    """Post C's network: what makes 275,000 images, but 5 to 60; others: ten."""
    config = jd.TrainConfig()
    assert config.epochs is None
    assert jd.TrainConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
    counts = {0: 60, 1_317: 60, 4_500: 60, 10_000: 28, 55_000: 5, 112_320: 5, 10**7: 5}
    hints = make_model(config, 10).hints
    assert {count: count_epochs(config, hints, count) for count in counts} == counts
    for model in ("resnet18", "mlp", "linear"):
        config = jd.TrainConfig(model=model)
        assert count_epochs(config, make_model(config, 10).hints, 55_000) == 10
    assert count_epochs(jd.TrainConfig(epochs=0), hints, 55_000) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": [8]}, "hidden applies to model mlp only, not to convnet; omit it"),
        ({"model": "linear", "activation": "tanh"}, "activation applies to model mlp only"),
        ({"model": "mlp", "pool_activation": "none"}, "pool_activation applies to model convnet"),
        ({"stem": "3x3"}, "stem applies to model resnet18 only, not to convnet"),
        ({"model": "linear", "dropout": 0.5}, "applies to model mlp and convnet and resnet18 only"),
        ({"model": "resnet18", "initializer": "normal"}, "initializer applies to model linear and"),
        ({"distance": "absolute"}, "distance applies to model pixel only, not to convnet"),
        ({"momentum": 0.9}, "momentum applies to optimizer sgd only, not to adamw; omit it"),
        ({"optimizer": "adam", "weight_decay": 0.5}, "weight_decay applies to optimizer adamw"),
        ({"optimizer": "momentum"}, "optimizer must be one of sgd, adam, adamw, not 'momentum'"),
    ],
)
def test_settings_that_do_not_apply_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        jd.TrainConfig.from_dict(settings)


def test_a_default_never_fails_to_apply():
    """Else `TrainConfig(model="linear")` could not be written."""
    for model in ("convnet", "resnet18", "mlp", "linear", "pixel"):
        for optimizer in ("sgd", "adam", "adamw"):
            config = jd.TrainConfig(model=model, optimizer=optimizer)
            assert jd.TrainConfig.from_dict(config.as_dict()) == config


OLDER = {
    "dataset": "mnist",
    "model": "mlp",
    "hidden": [128],
    "activation": "relu",
    "initializer": "uniform",
    "distance": "squared",
    "scale": "standardized",
    "loss": "cross_entropy",
    "reduction": "mean",
    "gradients": "auto",
    "optimizer": "adamw",
    "learning_rate": 0.003,
    "schedule": "one_cycle",
    "momentum": 0.9,
    "weight_decay": 0.1,
    "batch_size": 64,
    "epochs": 10,
    "seed": 0,
}
"""As a run file of format 1 has them."""


def test_a_config_of_an_older_version():
    """Settings that it did not have are such that they change nothing."""
    config = jd.TrainConfig.from_dict(upgrade_settings(OLDER))
    kept = json.loads(json.dumps(config.as_dict()))
    same = {name: value for name, value in OLDER.items() if name != "momentum"}
    assert {name: kept[name] for name in same} == same
    assert kept["momentum"] == 0.0  # adamw has none
    assert make_model(config, 10).hints.augment == ()
    assert (config.dropout, config.label_smoothing, config.ema_decay) == (0, 0, 0)


@pytest.mark.parametrize(
    ("older", "now"),
    [
        ({"optimizer": "momentum"}, {"optimizer": "sgd", "momentum": 0.9}),
        ({"optimizer": "sgd"}, {"optimizer": "sgd", "momentum": 0.0}),
        ({"average": 0.999}, {"ema_decay": 0.999}),
        ({"model": "convnet", "hidden": [64]}, {"hidden": (128,)}),
        ({"model": "linear", "dropout": 0.5, "activation": "tanh"}, {"dropout": 0.0}),
        ({"optimizer": "adam", "weight_decay": 0.5}, {"weight_decay": 0.1}),
    ],
)
def test_settings_of_an_older_version_in_the_words_of_this_one(older, now):
    """What did not apply then is the default now; what did keeps its value."""
    config = jd.TrainConfig.from_dict(upgrade_settings({**OLDER, **older}))
    assert {name: getattr(config, name) for name in now} == now


@pytest.mark.parametrize(
    ("texts", "config", "grid"),
    [
        ({"hidden": "64x32", "model": "mlp"}, {"model": "mlp", "hidden": (64, 32)}, {}),
        ({"augment": "shift+rotate=15"}, {"augment": ("shift", "rotate=15")}, {}),
        ({"augment": "none", "epochs": None}, {"augment": ()}, {}),
        (
            {"model": "mlp", "hidden": "8x4, 8", "learning_rate": "1e-3,2"},
            {"model": "mlp", "hidden": (8, 4), "learning_rate": 1e-3},
            {"hidden": ((8, 4), (8,)), "learning_rate": (1e-3, 2.0)},
        ),
    ],
)
def test_settings_as_text(texts, config, grid):
    assert parse_settings(texts) == (jd.TrainConfig(**config), grid)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"epochs": "many"}, "epochs must be a whole number, not 'many'"),
        ({"hidden": "64.5"}, "hidden must be a whole number, not '64.5'"),
        ({"hidden": "8x"}, "hidden must be a whole number, not ''"),
        ({"learning_rate": "fast"}, "learning_rate must be a number, not 'fast'"),
        ({"model": "transformer"}, "model must be one of convnet, .*, not 'transformer'"),
        ({"augment": "shift+flip"}, "augment must be .*, not 'flip'"),
    ],
)
def test_text_that_is_no_setting(texts, message):
    with pytest.raises(ConfigError, match=message):
        parse_settings(texts)


@pytest.mark.parametrize(
    "table",
    [AUGMENT, APPLIES, LOSSES, ACTIVATIONS, INITIALIZERS, DERIVATIVES, AUGMENTATIONS],
    ids=["augment", "applies", "losses", "activations", "initializers", "derivatives", "changes"],
)
def test_names_have_one_meaning(table):
    """Nobody can give them another one by the way."""
    with pytest.raises(TypeError, match="does not support item assignment"):
        table[next(iter(table))] = None


def test_default_strengths_of_augmentations():
    """Recipes that name no strength depend on them."""
    assert {name: strength.default for name, strength in AUGMENT.items()} == {
        "shift": 2, "rotate": 10.0, "scale": 0.1, "shear": 0.1, "invert": 5, "elastic": 1.0,
        "thickness": 0.5, "blur": 1.0, "contrast": 0.5, "noise": 0.1, "erase": 8,
    }  # fmt: skip
