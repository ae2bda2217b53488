"""Pictures: what stands in them, and that they become files."""

import numpy as np
import pytest
from PIL import Image

from jaxdigits import plots
from jaxdigits.errors import OutputError
from jaxdigits.evaluation.calibration import reliability

NAMES = ("a$b$", "b_1", "<c>")


@pytest.fixture
def answers(rng):
    """Images, labels and logits; all are right but the second and the fourth."""
    labels = np.array([0, 1, 2, 0], np.int32)
    logits = 3 * np.eye(3, dtype=np.float32)[[0, 2, 2, 1]]
    logits[3] *= 2
    return rng.integers(0, 256, (4, 28, 28), np.uint8), labels, logits


def titles(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_predictions(answers):
    images, labels, logits = answers
    figure = plots.predictions(images, labels, logits, NAMES)
    assert titles(figure) == [
        r"a\$b\$ 91%", "<c> 91%\n(is b_1)", "<c> 91%", "b_1 100%\n(is a\\$b\\$)",
    ]  # fmt: skip
    colors = [text.get_color() for text in figure.axes[0].texts]
    assert colors == ["#1a7f37", "#cf222e", "#1a7f37", "#cf222e"]


def test_worst_mistakes_come_first(answers):
    images, labels, logits = answers
    figure = plots.worst_mistakes(images, labels, logits, NAMES, confidence=False)
    assert titles(figure) == ["b_1\n(is a\\$b\\$)", "<c>\n(is b_1)"]
    assert len(titles(plots.worst_mistakes(images, labels, logits, NAMES, count=1))) == 1
    none = plots.worst_mistakes(images[:1], labels[:1], logits[:1], NAMES, "mistakes")
    assert none.get_suptitle() == "mistakes: none"


def test_images_of_other_shapes(rng):
    images = rng.integers(0, 256, (3, 20, 32), np.uint8)
    (drawn,) = plots.image_grid(images, list(NAMES)).axes[0].get_images()
    canvas = np.asarray(drawn.get_array())
    assert (canvas[-20:, 4:36] == images[0]).all()


def test_curves_leave_out_the_untrained_network():
    history = [
        {"epoch": epoch, "train_loss": 1.0, "validation_loss": 2.0, "validation_accuracy": 0.5}
        for epoch in range(4)
    ]
    loss, accuracy = plots.curves(history).axes
    assert [list(np.asarray(line.get_xdata())) for line in loss.lines] == [[1, 2, 3], [1, 2, 3]]
    (line,) = accuracy.lines
    assert list(np.asarray(line.get_ydata())) == [50, 50, 50]
    assert len(plots.curves(history[:1]).axes[0].lines) == 2


def test_every_picture_becomes_a_file(tmp_path, answers, rng):
    images, labels, logits = answers
    sure = reliability(np.eye(3, dtype=np.float32), np.arange(3, dtype=np.int32))
    values = {"A4": rng.random((2, 3)), "A5": rng.random((2, 3))}
    figures = {
        "images": plots.image_grid(images, [NAMES[label] for label in labels], heading="$x"),
        "confusion": plots.confusion(np.array([[5, 1, 0], [0, 0, 0], [1, 0, 2]]), NAMES, "$x"),
        "bars": plots.bars({"linear": np.array([0.5, np.nan, 1.0])}, NAMES),
        "weights": plots.weights(logits[:, :, None], [*NAMES, "d"]),
        "seeds": plots.seed_curves(
            {"loss": values, "error": values}, dots={"A4": {1: 0.5}}, levels={"best": 0.1},
            logarithmic=True, each_seed=True, broken=["A5"],
        ),
        "scaling": plots.scaling({"devices": {"mlp": [(1, 10.0, 0.1), (2, 20.0, 0.2)]}}, "$x"),
        "robustness": plots.robustness([("clean", "", 0.9)], sure, sure, 1.2),
        "settings": plots.settings({"$": [0.9, 0.8], "b": [0.7]}, {"$": (0.8, 0.9), "b": None}),
        "activations": plots.activations({"square": np.square}),
    }  # fmt: skip
    for name, figure in figures.items():
        plots.save(figure, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as image:
            assert min(image.size) > 100


def test_a_folder_that_cannot_be_written(read_only):
    with pytest.raises(OutputError):
        plots.save(plots.activations({"sine": np.sin}), read_only / "x.png")


def test_matplotlib_waits_for_the_first_figure(python):
    code = "import sys, jaxdigits.plots; print('matplotlib' in sys.modules)"
    assert python("-c", code).stdout == "False\n"
