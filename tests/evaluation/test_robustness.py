"""Accuracy on changed images."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.special

import jaxdigits as jd
from jaxdigits.evaluation import robustness
from jaxdigits.evaluation.calibration import Calibration, reliability
from jaxdigits.evaluation.robustness import CONDITIONS, ConditionAccuracy, Robustness, changed
from jaxdigits.transforms.augment import AUGMENTATIONS

DIGITS = jd.data.load("digits", "test")


def images_under(kind, strength, images=DIGITS.images[:40]):
    (condition,) = [c for c in CONDITIONS if (c.kind, c.strength) == (kind, strength)]
    return np.asarray(changed(condition, jnp.asarray(images)))


def test_all_that_is_asked_for_is_there():
    strengths = {}
    for condition in CONDITIONS:
        strengths.setdefault(condition.kind, []).append(condition.strength)
    assert strengths["shift"] == [f"{n} pixels" for n in range(1, 6)]
    assert strengths["rotation"] == [f"{n} degrees" for n in range(5, 31, 5)]
    assert strengths["scale"] == [f"{factor}x" for factor in (0.7, 0.8, 0.9, 1.1, 1.2, 1.3)]
    assert strengths["strokes"] == ["-1", "-0.5", "+0.5", "+1"]
    assert strengths["noise"] == [f"deviation {strength}" for strength in (0.1, 0.2, 0.3)]
    assert strengths["blur"] == [f"deviation {strength} pixels" for strength in ("0.5", "1", "1.5")]
    assert strengths["contrast"] == [f"{factor}x" for factor in (0.75, 0.5, 0.25)]
    assert strengths["inverted"] == [f"{count} pixels" for count in (5, 10, 20, 40)]
    assert len(strengths) == 10


def test_the_same_every_time():
    for condition in {condition.kind: condition for condition in CONDITIONS}.values():
        found = images_under(condition.kind, condition.strength)
        np.testing.assert_array_equal(found, images_under(condition.kind, condition.strength))
        assert np.array_equal(found, DIGITS.images[:40]) == (condition.kind == "clean")


def test_the_random_changes_are_those_of_key_0():
    """So that figures of networks measured at other times can be compared."""
    pixels = jnp.asarray(DIGITS.images[:40]) / jnp.float32(255)
    expected = AUGMENTATIONS["invert"](jax.random.key(0), pixels, 20)
    np.testing.assert_allclose(images_under("inverted", "20 pixels"), 255 * expected, atol=1e-3)


def test_a_shift_goes_all_eight_ways():
    point = np.zeros((300, 28, 28), np.uint8)
    point[:, 14, 14] = 255
    _, rows, columns = np.nonzero(images_under("shift", "1 pixels", point))
    ways = {(row - 14, column - 14) for row, column in zip(rows, columns, strict=True)}
    assert ways == {(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1)} - {(0, 0)}


def test_a_shift_is_by_so_much():
    """Each image is scipy's, moved by 3 pixels in one of eight directions."""
    ways = [(r, c) for r in (-3, 0, 3) for c in (-3, 0, 3) if (r, c) != (0, 0)]
    for before, after in zip(DIGITS.images[:40], images_under("shift", "3 pixels"), strict=True):
        assert any(np.array_equal(scipy.ndimage.shift(before, w, order=0), after) for w in ways)


@pytest.mark.parametrize("factor", [0.7, 1.2])
def test_a_scale_is_scipys(factor):
    """Larger where the factor is above 1, around the center."""
    middle = 13.5 - 13.5 / factor
    for before, after in zip(DIGITS.images[:10], images_under("scale", f"{factor}x"), strict=False):
        expected = scipy.ndimage.affine_transform(
            before.astype(float), np.eye(2) / factor, middle, order=1
        )
        np.testing.assert_allclose(after, expected, atol=2)


def test_a_rotation_is_scipys_to_one_side_or_the_other():
    for before, after in zip(
        DIGITS.images[:10], images_under("rotation", "20 degrees"), strict=False
    ):
        differences = [
            np.abs(
                scipy.ndimage.rotate(before.astype(float), angle, reshape=False, order=1) - after
            )
            for angle in (-20, 20)
        ]
        assert min(d.max() for d in differences) < 1


def test_what_is_inverted_blurred_and_noisy():
    """So many pixels at most, drawn with replacement; scipy's blur; noise of that deviation."""
    before = DIGITS.images[:40].astype(int)
    after = images_under("inverted", "20 pixels").astype(int)
    changed_pixels = (after != before).sum(axis=(1, 2))
    assert 15 < changed_pixels.mean() <= changed_pixels.max() <= 20
    np.testing.assert_array_equal(after[after != before], 255 - before[after != before])
    blurred = images_under("blur", "deviation 1 pixels")
    expected = scipy.ndimage.gaussian_filter(before.astype(float), (0, 1, 1), mode="constant")
    np.testing.assert_allclose(blurred, expected, atol=2)
    noisy, middle = images_under("noise", "deviation 0.1"), (before > 80) & (before < 175)
    assert np.std((noisy - before)[middle] / 255) == pytest.approx(0.1, abs=0.01)


def test_pens_from_thin_to_thick():
    """A whole step changes strokes more than half of one, and each image."""
    ink = [
        images_under("strokes" if strength else "clean", strength).sum(axis=(1, 2), dtype=float)
        for strength in ("-1", "-0.5", "", "+0.5", "+1")
    ]
    assert (np.diff(ink, axis=0) > 0).all()


def test_noise_stays_within_the_range_of_pixels():
    """What is white or black goes no further: noise takes from it on one side alone."""
    images = np.repeat(np.array([[[0]], [[255]]], np.uint8), 28, axis=1).repeat(28, axis=2)
    black, white = images_under("noise", "deviation 0.3", images).astype(int)
    for found, pixel in ((black, 0), (white, 255)):
        assert 0.4 < (found == pixel).mean() < 0.6
        assert np.abs(found - pixel).max() > 150
        assert np.abs(found - pixel).mean() == pytest.approx(
            0.3 * 255 / (2 * np.pi) ** 0.5, rel=0.1
        )


def test_the_mean_leaves_the_clean_images_out():
    found = [
        ConditionAccuracy("clean", "", 1.0),
        ConditionAccuracy("blur", "1", 0.25),
        ConditionAccuracy("blur", "2", 0.75),
    ]
    sure = reliability(np.eye(2, dtype=np.float32), np.arange(2, dtype=np.int32))
    assert Robustness(found, sure, sure, 1.0).mean == 0.5


def test_any_function_from_images_to_labels():
    """It sees the changed images as pixels 0..255."""
    seen = []

    def predict(images):
        seen.append(np.asarray(images))
        return np.zeros(len(images), np.int32)

    labels = np.array([0, 0, 0, 1], np.int32)
    chosen = [condition for condition in CONDITIONS if condition.kind == "contrast"]
    found = robustness.accuracies(predict, DIGITS.images[:4], labels, chosen)
    assert [result.accuracy for result in found] == [0.75] * 3
    assert [images.max() for images in seen] == [191, 128, 64]
    assert seen[0].dtype == np.uint8


def test_ten_draws_of_jitter_by_default():
    """As post C measures it; each draw is predicted on its own."""
    labels = np.array([0, 1], np.int32)
    shown = []

    def predict(images):
        shown.append(np.asarray(images))
        return np.full(len(images), len(shown) % 2, np.int32)

    images = np.ascontiguousarray(DIGITS.images[:2])
    assert robustness.accuracies_jittered(predict, images, labels) == [0.5] * 10
    assert len({copy.tobytes() for copy in shown}) == 10


def test_what_is_measured_of_a_split(rng):
    """Logits by their softmax, and at the temperature; predictions on the changed images."""
    images, labels = DIGITS.images[:40], np.arange(40, dtype=np.int32) % 4
    logits = rng.normal(0, 3, (40, 4)).astype(np.float32)
    found = robustness.measure(
        lambda images: np.zeros(len(images), np.int32), images, labels, logits, Calibration(4.0)
    )
    assert found.temperature == 4.0
    assert [condition.accuracy for condition in found.conditions] == [0.25] * len(CONDITIONS)
    for seen, divided in ((found.uncalibrated, 1), (found.calibrated, 4)):
        probabilities = scipy.special.softmax(logits / np.float32(divided), axis=1)
        np.testing.assert_allclose(seen.error, reliability(probabilities, labels).error, rtol=1e-6)
    assert found.as_dict()["calibration"] == {
        "error": found.uncalibrated.error,
        "temperature": 4.0,
        "error_at_temperature": found.calibrated.error,
    }
    assert len(found.as_dict()["robustness"]) == len(CONDITIONS)


def test_evaluate_robustness(cli, tmp_path):
    """Of a run on the digits inside: figures, and a picture."""
    cli("train", "--dataset", "digits", "--model", "linear", "--epochs", "2", "--out", "run")
    code, out, _ = cli("evaluate", "run", "--robustness", "--json")
    document = json.loads(out)
    assert code == 0
    by_kind = {r["kind"]: r["accuracy"] for r in document["robustness"]}
    assert by_kind["clean"] == pytest.approx(document["results"]["test"]["accuracy"])
    assert 0 < document["robustness_mean"] < by_kind["clean"]
    calibration = document["calibration"]
    assert 0 < calibration["error_at_temperature"] < 0.2
    assert (tmp_path / "run-robustness.png").stat().st_size > 10_000
