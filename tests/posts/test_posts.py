"""The experiments on the posts' results, and the report about them."""

import html
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from PIL import Image

import jaxdigits as jd
from jaxdigits.evaluation.metrics import mean_interval, prediction_interval
from jaxdigits.posts import report
from jaxdigits.posts.comparison import Comparison
from jaxdigits.posts.reproduce import reproduce
from jaxdigits.posts.rows import EXPERIMENTS, choose_rows, load_row
from jaxdigits.training.trainer import make_trainer
from jaxdigits.transforms.scaling import UNIT, Scaling, pixel_statistics

a4, a5, a6, a7, a9, b3, b4, b5, b6 = (
    import_module(f"{EXPERIMENTS}.{row}")
    for row in ("a4", "a5", "a6", "a7", "a9", "b3", "b4", "b5", "b6")
)


def in_steps(config, data, steps, *, optimizer=None, params=None):
    """Trains on one batch after another; gives each step's loss and parameters."""
    trainer = batch_trainer(config, data, optimizer=optimizer)
    state = trainer.init(jax.random.key(0), params=params)
    step = jax.jit(trainer.train_epoch)
    size, count = config.batch_size, len(data.train.labels)
    starts = itertools.islice(itertools.cycle(range(0, count - size + 1, size)), steps)
    for start in starts:
        batch = jd.Examples(*(array[start : start + size] for array in data.train))
        state, measured = step(state, batch)
        yield float(measured.loss), state.params


def batch_trainer(config, data, **parts):
    """A trainer whose epochs are of one batch; the scaling is that of all the data."""
    spec = jd.DataSpec.of(data, config.scale)._replace(num_examples=config.batch_size)
    return make_trainer(config, spec, **parts)


def test_autodiff_replaces_the_gradient_by_hand(digits):
    """A4 and A5, 100 steps, but at a learning rate that does not blow up rounding errors."""
    config = replace(a4.CONFIG, learning_rate=0.064)
    by_hand = in_steps(config, digits, 100)
    by_grad = in_steps(replace(config, gradients="auto"), digits, 100)
    losses = []
    for (loss, params), (other_loss, other_params) in zip(by_hand, by_grad, strict=True):
        losses.append(loss)
        assert other_loss == pytest.approx(loss, rel=1e-4)
        np.testing.assert_allclose(other_params["weight"], params["weight"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(other_params["bias"], params["bias"], rtol=1e-4, atol=1e-5)
    assert losses[-1] < losses[0] / 4


@pytest.mark.parametrize("config", [a6.CONFIG, replace(a4.CONFIG, gradients="auto")])
def test_each_optimizer_replaces_the_one_before(config, digits):
    """A5 to A7 at a learning rate of 1: BasicOptim, optax.sgd and ours by name, to the bit."""
    runs = (
        in_steps(config, digits, 60),
        in_steps(config, digits, 60, optimizer=a6.basic_optim(1.0)),
        in_steps(config, digits, 60, optimizer=optax.sgd(1.0)),
    )
    weights = []
    for (loss, params), *others in zip(*runs, strict=True):
        for other_loss, other_params in others:
            assert other_loss == loss
            np.testing.assert_array_equal(other_params["weight"], params["weight"])
            np.testing.assert_array_equal(other_params["bias"], params["bias"])
        weights.append(params["weight"])
    assert not np.allclose(weights[0], weights[-1])


def test_the_rows_differ_from_each_other_as_the_posts_say():
    plain = jd.TrainConfig(model="mlp", optimizer="sgd", schedule="constant", learning_rate=1.0)
    linear = replace(plain, model="linear", initializer="normal")
    clamped = {"loss": "clamped_cross_entropy", "reduction": "sum"}
    assert replace(linear, gradients="hand", epochs=21) == a4.CONFIG
    assert replace(linear, **clamped, epochs=20) == a5.CONFIG
    assert replace(a5.CONFIG, initializer="uniform") == a6.CONFIG == a7.CONFIG
    assert replace(plain, hidden=(30,), learning_rate=0.001, **clamped, epochs=40) == a9.CONFIG
    post_b = replace(linear, scale="unit", batch_size=256, epochs=41)
    assert replace(post_b, loss="sigmoid_mse") == b3.CONFIG
    assert replace(post_b, loss="softmax_mse") == b4.CONFIG
    assert post_b == b5.CONFIG
    assert replace(post_b, model="mlp", hidden=(64,), activation="sigmoid") == b6.CONFIG


POSTED = """
A1 0.1307 0.3081 0.0000 1.0000
A2 1.0
A3 0.2231 1.6094 92.1034
A4 0.0785 0.8776 0.7729 0.9133
A5 0.3047 0.3113
A6 0.0883 0.6968 0.7525
A7 0.5626 0.5803 -0.1844
A8 7850 23860
A9 0.1002 21.64 1.239 0.9674
A10 5
B1 0.8153 0.9982 0.4234 0.6089 0.6680 0.3262 0.7871 0.7646 0.4425 0.7760 0.6610
B2 0.8959 0.9621 0.7568 0.8059 0.8259 0.6861 0.8633 0.8327 0.7372 0.8067 0.8173
B3 0.1272 0.1405 < 0.8173
B4 0.1619 < 0.8173
B5 0.8431 0.915
B6 0.8372 about 0.95
B7 0.9148 0.9686 0.9881 0.9941
"""


def test_what_is_posted():
    """The committed report has the posts' own figures, once more copied from the posts."""
    results = Path(__file__).parents[2] / "experiments" / "results" / "posts" / "report.json"
    lines = [
        " ".join([row["row"], *(f["posted"] for f in row["figures"] if f["posted"])])
        for row in json.loads(results.read_text())["rows"]
        if row["compares"] and any(figure["posted"] for figure in row["figures"])
    ]
    assert lines == POSTED.strip().splitlines()
    for module, low, high in ((a4, 0.7729, 0.9133), (a5, 0.3047, 0.3113), (a7, 0.5626, 0.5803)):
        assert (min(module.POSTED_ACCURACY), max(module.POSTED_ACCURACY)) == (low, high)


@pytest.mark.parametrize("row", ["A9", "B6"])
def test_200_steps_against_torch(row, digits):
    """The same start and the same batches: the same losses, to 1e-4."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    config = {"A9": a9, "B6": b6}[row].CONFIG
    params = jd.models.make_model(config, 10).init(jax.random.key(1))
    scaling = Scaling(*map(jnp.float32, UNIT))
    if row == "A9":
        scaling = pixel_statistics(jnp.asarray(digits.train.images))
    layers = [torch.nn.Flatten()]
    for layer in params:
        linear = torch.nn.Linear(*layer["weight"].shape[::-1])
        linear.weight.data = torch.tensor(np.asarray(layer["weight"]))
        linear.bias.data = torch.tensor(np.asarray(layer["bias"]))
        layers += [linear, torch.nn.ReLU() if row == "A9" else torch.nn.Sigmoid()]
    net = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(net.parameters(), lr=config.learning_rate)

    trainer = batch_trainer(config, digits)
    state = trainer.init(jax.random.key(0), params=params)
    np.testing.assert_allclose(trainer.spec.scaling, scaling, rtol=1e-6)
    step = jax.jit(trainer.train_epoch)
    random, size = np.random.default_rng(2), config.batch_size
    losses = []
    for _ in range(200):
        chosen = random.choice(len(digits.train.labels), size, replace=False)
        images, labels = digits.train.images[chosen], digits.train.labels[chosen]
        inputs = (torch.tensor(images) / 255 - float(scaling.mean)) / float(scaling.std)
        probabilities = functional.softmax(net(inputs), dim=1)
        onehot = torch.eye(10)[torch.tensor(labels).long()]
        floor = 1e-10 if row == "A9" else 0.0
        loss = -(onehot * torch.log(torch.clamp(probabilities, floor, 1.0))).sum()
        optimizer.zero_grad()
        (loss if row == "A9" else loss / size).backward()
        optimizer.step()
        state, measured = step(state, jd.Examples(images, labels))
        losses.append((float(measured.loss), loss.item() / size))
    ours, theirs = np.array(losses).T
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert ours[-1] < ours[0] / 2


def test_intervals_against_scipy(rng):
    values = rng.normal(0.9, 0.01, 7)
    expected = scipy.stats.t.interval(0.95, 6, values.mean(), scipy.stats.sem(values))
    assert mean_interval(values.tolist()) == pytest.approx((values.mean(), *expected))
    low, high = prediction_interval(values.tolist())
    assert (low + high) / 2 == pytest.approx(values.mean())
    # By hand: t(0.975, 6) = 2.4469.
    assert (high - low) / 2 == pytest.approx(2.4469 * values.std(ddof=1) * (8 / 7) ** 0.5, rel=1e-4)
    with pytest.raises(ValueError, match="two values or more"):
        mean_interval([0.9])


def test_one_run_in_twenty_is_outside_of_the_prediction_interval(rng):
    draws = rng.normal(size=(2000, 11))
    outside = 0
    for row in draws:
        low, high = prediction_interval(row[:10].tolist())
        outside += not low < row[10] < high
    assert 70 < outside < 130  # of 2,000: 100, give or take three of its standard errors


@pytest.mark.parametrize(
    ("comparison", "agrees"),
    [
        (Comparison("", [0.13066], "0.1307", chance=False), True),
        (Comparison("", [0.13064], "0.1307", chance=False), False),
        (Comparison("", [[0.1, 0.2]], "0.10 0.20", chance=False), True),
        (Comparison("", [[0.1, 0.21]], "0.10 0.20", chance=False), False),
        (Comparison("", [7850], "7850", chance=False), True),
        (Comparison("", [0.9, 0.92, 0.91], "0.87"), True),
        (Comparison("", [0.9, 0.92, 0.91], "0.85"), False),
        (Comparison("", [0.9, 0.9, 0.9], "0.905"), False),
        (Comparison("", [0.9, 0.9, 0.9], "about 0.90"), True),
        (Comparison("", [0.9, 0.92, 0.91], "< 0.95"), True),
        (Comparison("", [0.9, 0.92, 0.91], "< 0.85"), False),
        (Comparison("", [0.9], "0.9"), None),
        (Comparison("", [0.7, 0.9, 0.86], "< 0.8173"), False),
        (Comparison("", [0.9, 0.92]), None),
    ],
)
def test_agreement(comparison, agrees):
    assert comparison.agrees is agrees


def test_rows_are_those_of_the_posts_and_say_what_they_are():
    counts = {"A": 10, "B": 7, "C": 8}
    expected = [f"{post}{n}" for post, count in counts.items() for n in range(1, count + 1)]
    assert choose_rows([]) == expected
    for row in choose_rows([]):
        module = import_module(f"{EXPERIMENTS}.{row.lower()}")
        assert module.__doc__ is not None
        assert module.__doc__.startswith(f"{row}: ")
        assert "\nPosted: " in module.__doc__
        assert "\nExpect: " in module.__doc__
        for draw in getattr(module, "PICTURES", {}).values():
            assert draw.__doc__


CONVOLUTIONAL = ["B7", *(f"C{n}" for n in range(1, 9))]

SHORTER = """
import sys
from jaxdigits.cli import main
from jaxdigits.models import resnet
from jaxdigits.posts import Study, b7, c4
resnet.CHANNELS = (8,)
Study._epochs_alone = lambda *_: iter(())  # timing one seed alone takes as many programs again
one_rate = b7.train  # the second training of ResNet-18 differs from the first in a number alone
b7.train = lambda study, name, rate: one_rate(study, "B7", b7.PEAK)
c4.IMAGES = 240  # not 4,000 passes over 60
sys.exit(main())
"""


def report_of(rows: Sequence[str], folder: Path, *options: str) -> Path:
    """The folder that `jaxdigits reproduce` has written, by programs that are compiled quickly.

    Each runs once, so it is not worth optimising.
    """
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    command = [sys.executable, "-c", SHORTER, "reproduce", *rows, *options, "--out", str(folder)]
    subprocess.run(command, env=os.environ | {"XLA_FLAGS": flags}, check=True)
    return folder


@pytest.fixture(scope="module")
def digits_report(tmp_path_factory) -> Path:
    rows = [row for row in choose_rows([]) if row not in CONVOLUTIONAL]
    folder = tmp_path_factory.mktemp("report") / "posts"
    return report_of(rows, folder, "--seeds", "3", "--dataset", "digits")


@pytest.fixture(scope="module")
def convolutional_report(tmp_path_factory) -> Path:
    """Of the rows with convolutions, on a hundred images."""
    images = tmp_path_factory.mktemp("images")
    for split in ("train", "test"):
        dataset = jd.data.load("digits", split)
        for index in range(60 if split == "train" else 40):
            name = dataset.class_names[dataset.labels[index]]
            path = images / split / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(dataset.images[index]).save(path)
    folder = tmp_path_factory.mktemp("report") / "posts"
    data = ("--dataset", str(images), "--letters", str(images))
    return report_of(CONVOLUTIONAL, folder, "--seeds", "2", *data)


def test_rows_with_convolutions(convolutional_report):
    document = json.loads((convolutional_report / "report.json").read_text())
    assert [row["row"] for row in document["rows"]] == CONVOLUTIONAL
    assert {name: data["counts"]["test"] for name, data in document["data"].items()} == {
        "digits": 40,
        "letters": 40,
    }
    rows = {row["row"]: row for row in document["rows"]}
    figures = [figure for row in document["rows"] for figure in row["figures"]]
    assert {figure["agrees"] for figure in figures} == {None}
    assert all(0 <= value <= 1 for figure in figures for value in figure["ours"])
    by_hand, cosine = rows["C8"]["figures"]
    assert max(by_hand["ours"]) < 1e-5
    assert max(map(abs, cosine["ours"])) < 0.9
    assert (convolutional_report / "c3-confusion.png").is_file()


def test_fastai_one_cycle():
    """The rate and the momentum of row B7, at the points that fastai's documentation names."""
    b7 = import_module(f"{EXPERIMENTS}.b7")
    optimizer = b7.fastai_adam(100, b7.PEAK)
    params = {"weight": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    state, seen = optimizer.init(params), []
    for _ in range(101):
        updates, state = optimizer.update(jax.tree.map(jnp.zeros_like, params), state, params)
        assert not updates["bias"].any()  # only weights decay
        seen.append((float(state.hyperparams["learning_rate"]), float(state.hyperparams["b1"])))
    assert seen[0] == pytest.approx((0.004, 0.95))
    assert seen[25] == pytest.approx((0.1, 0.85))
    assert seen[100] == pytest.approx((1e-6, 0.95), rel=1e-5)
    assert max(rate for rate, _ in seen) == pytest.approx(0.1)


def test_letters_that_are_asked_for_and_not_there():
    with pytest.raises(jd.errors.DataUnavailableError, match="emnist/letters is not prepared"):
        reproduce(["C7", "A8", "C2"], seeds=2, dataset="digits")
    assert choose_rows(["c7"]) == ["C7"]


def test_all_rows_on_the_digits_inside(digits_report):
    """Every row without convolutions works, and nothing is compared."""
    document = json.loads((digits_report / "report.json").read_text())
    done = [row["row"] for row in document["rows"]]
    assert sorted(done + CONVOLUTIONAL) == sorted(choose_rows([]))
    assert document["compares"] is False
    assert document["data"]["digits"]["name"] == "digits"
    figures = [figure for row in document["rows"] for figure in row["figures"]]
    assert {figure["agrees"] for figure in figures} == {None}
    for figure in figures:
        if figure["seeds"]:
            low, high = figure["interval_95"]
            assert low <= figure["ours"][0] <= high
            assert len(figure["values"]) == figure["seeds"] == 3
    text = (digits_report / "report.md").read_text()
    assert "those marked 'other data' stand beside ours, but are not compared" in text
    assert re.search(r"^\| after 41 epochs +\| 0.915 +\|.*\| other data \|$", text, re.MULTILINE)
    assert "| yes " not in text
    assert document["data"]["digits"]["sha256"][:12] in text


def test_the_page_holds_its_pictures(digits_report):
    page = (digits_report / "report.html").read_text()
    pictures = sorted(path.name for path in digits_report.glob("*.png"))
    assert {"a4-to-a7.png", "b3-to-b6.png", "b1-means.png", "a9-loss.png"} <= set(pictures)
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == len(pictures)
    assert all(source.startswith("data:image/png;base64,iVBOR") for source in sources)
    assert "http" not in page
    markdown = (digits_report / "report.md").read_text()
    # A blank line in the description would end the picture.
    assert sorted(re.findall(r"^!\[[^\n]+\]\((.*?)\)$", markdown, re.MULTILINE)) == pictures


def test_a_section_a_row(digits_report):
    """The claim, the figures, the picture, what to expect, and the code, in this order."""
    page = (digits_report / "report.html").read_text()
    sections = dict(re.findall(r'<section id="(\w+)">(.*?)</section>', page, re.DOTALL))
    rows = [row for row in choose_rows([]) if row not in CONVOLUTIONAL]
    assert list(sections) == [row.lower() for row in rows]
    section = sections["a9"]
    order = ["A9: a network with one hidden layer", "Posted: 0.1002 untrained", "0.9674"]
    order += ["other data", "Expect: the same.", "data:image/png", "CONFIG = SGD.replace"]
    places = [section.index(words) for words in order]
    assert places == sorted(places)
    assert html.escape('PICTURES = {"a9-loss.png"') in section
    assert page.count("<h2>") == 2


def test_a_report_in_a_narrow_window(browser, digits_report):
    """On a phone nothing sticks out; on paper there are no links and no code."""
    for width in (390, 1100):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get((digits_report / "report.html").as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_the_report_in_a_terminal(digits_report):
    """79 columns at most; names that are long are wrapped."""
    document = json.loads((digits_report / "report.json").read_text())
    for words in (report.text(document), report.chapter(document)):
        commands = [line for line in words.splitlines() if len(line) > 79]
        assert commands == []
    assert re.search(r"^    after 41 epochs +0\.915 +0\.\d{4} +0\.\d", words, re.MULTILINE)


def test_a_row_by_itself(python):
    """`python -m jaxdigits.posts.b5`: epoch by epoch beside what the post says."""
    done = python("-m", "jaxdigits.posts.b5", "--seeds", "2", "--dataset", "digits")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("B5: cross-entropy, and the linear network learns\n")
    lines = re.findall(r"^(\d+) +(0\.\d{4})? +(0\.\d{4})  0\.\d{4} to", done.stdout, re.MULTILINE)
    assert [int(line[0]) for line in lines] == list(range(1, 42))
    assert [line[1] for line in lines if line[1]] == ["0.8431", "0.9150"]
    assert float(lines[-1][2]) > 0.85
    done = python("-m", "jaxdigits.posts.b5", "--dataset", "none")
    assert done.returncode == 2
    assert done.stderr.startswith("python -m jaxdigits.posts.b5: there is no dataset 'none'")


def test_all_posted_curves_are_those_of_the_post():
    """Each figure after an epoch that a row compares is in its curve, too."""
    assert load_row("A4").posted_accuracy[1] == 0.8776
    assert load_row("B7").posted_accuracy == {1: 0.9148, 2: 0.9686, 3: 0.9881, 4: 0.9941}
    assert load_row("A8").posted_accuracy == {}
    assert len(load_row("A7").posted_accuracy) == 20


def test_a_mended_row_learns_what_the_posted_one_does_not(digits_report):
    rows = {
        row["row"]: row for row in json.loads((digits_report / "report.json").read_text())["rows"]
    }
    figures = {figure["what"]: figure["ours"][0] for figure in rows["A6"]["figures"]}
    assert figures["highest of 20 epochs"] < 0.5
    assert figures["corrected, learning rate 0.001: 20 epochs"] > 0.9


def test_a7_goes_on_from_a6(digits_report):
    rows = json.loads((digits_report / "report.json").read_text())["rows"]
    (figures,) = (row["figures"] for row in rows if row["row"] == "A7")
    (change,) = (f["values"] for f in figures if f["what"] == "first epoch, less the last of A6")
    assert np.abs(change).max() < 0.05


def test_pixel_rows_agree_to_all_digits(mnist_dir):
    """B1 and B2 on the real MNIST: there is no chance in them. A1 too."""
    document = reproduce(("A1", "A3", "B1", "B2"), seeds=1, data_dir=mnist_dir)
    assert document["compares"] is True
    for row in document["rows"]:
        for figure in row["figures"]:
            assert figure["agrees"] is True, figure
    assert document["rows"][2]["figures"][0]["posted"].startswith("0.8153 0.9982")


def test_a_trained_row_on_mnist(mnist_dir):
    """B5: within 0.7 points of the 91.5% that are posted."""
    out = report.text(reproduce(("b5",), seeds=2, data_dir=mnist_dir))
    match = re.search(r"after 41 epochs +0\.915 +(0\.\d+) ", out)
    assert match
    assert abs(float(match[1]) - 0.915) < 0.007
    assert re.search(r"^B5 +41 +2 +[\d.]+ s", out, re.MULTILINE)


def test_one_seed_has_no_interval():
    document = reproduce(("A8", "B5"), seeds=1, dataset="digits")
    assert "interval_95" not in document["rows"][1]["figures"][0]
