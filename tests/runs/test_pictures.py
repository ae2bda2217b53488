"""What the pictures in a run folder show."""

from typing import Any

import numpy as np
import pytest

import jaxdigits as jd
from jaxdigits import plots
from jaxdigits.runs import pictures
from jaxdigits.runs.folder import PICTURES


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("model", ["linear", "pixel"])
def test_what_is_drawn(monkeypatch, tmp_path, model):
    """Fifty test images, spread evenly; distances of the pixel baseline are no confidence."""
    run = jd.fit(jd.TrainConfig(dataset="digits", model=model, epochs=0))
    test = jd.data.load("digits", "test")
    logits = run.predict_logits(test.images)
    drawn: dict[str, Any] = {}
    for name in ("curves", "predictions", "confusion", "worst_mistakes"):

        def draw(*given: Any, name: str = name, **more: Any) -> str:
            drawn[name] = (*given, more)
            return name

        monkeypatch.setattr(plots, name, draw)
    saved = []
    monkeypatch.setattr(plots, "save", lambda figure, path: saved.append((figure, path)))
    pictures.draw(run, test, logits, tmp_path)
    assert saved == [(name, tmp_path / file) for name, file in zip(drawn, PICTURES, strict=True)]
    rows = plots.spread(360, 50)
    images, labels, shown, names, title, more = drawn["predictions"]
    np.testing.assert_array_equal(images, test.images[rows])
    np.testing.assert_array_equal(labels, test.labels[rows])
    np.testing.assert_array_equal(shown, logits[rows])
    assert (names, more) == (run.class_names, {"confidence": model == "linear"})
    assert title.startswith(f"{model} on digits: 50 of 360 test images")
    assert drawn["worst_mistakes"][-1] == {"confidence": model == "linear"}
    counts, _, title, _ = drawn["confusion"]
    assert counts.sum() == 360
    accuracy = run.results["test"]["accuracy"]
    assert title.startswith(f"{model} on digits: test accuracy {accuracy:.2%}\nmost confused: ")
    assert title.count("/") == len(run.results["test"]["most_confused"])
    assert drawn["curves"] == (list(run.history), f"{model} on digits", {})


@pytest.mark.usefixtures("pictures")
def test_a_network_without_mistakes(monkeypatch, tmp_path):
    """There are no pairs to name."""
    run = jd.fit(jd.TrainConfig(dataset="digits", model="linear", epochs=0))
    test = jd.data.load("digits", "test")
    headings = []
    monkeypatch.setattr(plots, "confusion", lambda *given: headings.append(given[-1]))
    for name in ("curves", "predictions", "worst_mistakes", "save"):
        monkeypatch.setattr(plots, name, lambda *given, **more: None)
    pictures.draw(run, test, np.eye(10, dtype=np.float32)[test.labels], tmp_path)
    (heading,) = headings
    assert heading.endswith("most confused: none")
