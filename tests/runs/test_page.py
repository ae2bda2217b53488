"""The page's programs compute what the library does, and the page shows it."""

import base64
import contextlib
import itertools
import json
import re
import subprocess
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from drawn import canvas
from PIL import Image

import jaxdigits as jd
from jaxdigits.errors import ConfigError
from jaxdigits.models import make_model
from jaxdigits.runs.export.page import describe, make_page, make_remote_page
from jaxdigits.runs.folder import SHIPPED
from jaxdigits.transforms import to_form
from jaxdigits.transforms.scaling import scale_inputs
from jaxdigits.web.server import saliency_of

READ = """
const fs = require("fs"), given = JSON.parse(fs.readFileSync(0));
const network = given.network, [height, width] = network.imageShape;
network.weights = decodeWeights(network.weights, network.half);
const image = (data) => ({height, width, data: Uint8Array.from(data)});
console.log(JSON.stringify({
  logits: given.images.map((data) => Array.from(logitsOf(network, image(data)))),
  probabilities: given.images.map(
    (data) => probabilitiesOf(network, logitsOf(network, image(data)))),
  saliency: given.images.slice(0, 3).map((data) => Array.from(saliencyOf(network, image(data), 1))),
  forms: given.inks.map(({height, width, data}) => Array.from(
    toForm({height, width, data: Uint8Array.from(data)}, network).data)),
}));
"""


def network(config: jd.TrainConfig, **changes: Any) -> jd.Run:
    """A run of parameters that NumPy draws: neither they nor results need a program."""
    run = replace(jd.load("digits"), config=config, **changes)
    model, rng = make_model(config, len(run.class_names), run.image_shape), np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.05, leaf.shape).astype(leaf.dtype), shapes)
    return replace(run, model=model, params=params)


@pytest.fixture(scope="module")
def runs() -> dict[str, jd.Run]:
    """One of each kind of network, scaling, and form that a page can have."""
    plain = {"form": "plain", "extent": 0.625}
    colors = {"class_names": ("a", "b"), "image_shape": (20, 31, 3), "light_ground": True}
    mlp = jd.TrainConfig(model="mlp", hidden=(12, 9), activation="tanh", scale="unit")
    return {
        "digits": jd.load("digits"),
        "letters": jd.load("letters"),
        "characters": jd.load("characters"),
        "linear": network(jd.TrainConfig(model="linear", scale="image"), **plain),
        "mlp": network(mlp),
        "convnet": network(jd.TrainConfig(pool_activation="none")),
        "colors": network(jd.TrainConfig(), **colors, form="plain"),
    }


def run_in_node(node: str, run: jd.Run, images, inks) -> dict[str, np.ndarray]:
    """What the page's programs make of images and of drawings."""
    gray = images if images.ndim == 3 else images[..., 0]
    drawings = [
        {"height": ink.shape[0], "width": ink.shape[1], "data": ink.reshape(-1).tolist()}
        for ink in inks
    ]
    given = {
        "network": describe(run),
        "images": gray.reshape(len(gray), -1).tolist(),
        "inks": drawings,
    }
    page = make_page(run)
    programs = page[page.index('"use strict";') : page.index("// What one sees")]
    done = subprocess.run(
        [node, "-e", programs + READ],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
    )
    return {name: np.array(values) for name, values in json.loads(done.stdout).items()}


def drawings(shape: tuple[int, ...], count: int) -> list[np.ndarray]:
    """Drawings of many sizes and widths of pens, bright on 0."""
    rng, found = np.random.default_rng(0), []
    for number in range(count):
        side = int(rng.integers(40, 200))
        page = 255 - canvas("0123456789"[number % 10], number, side=side, pen=2 + number % 9)
        sizes = side + int(rng.integers(0, 30)), side
        found.append(np.asarray(Image.fromarray(page).resize(sizes)))
    return [*found, np.full(shape[:2], 200, np.uint8), np.eye(30, dtype=np.uint8) * 255]


@pytest.mark.parametrize(
    "name", ["digits", "letters", "characters", "linear", "mlp", "convnet", "colors"]
)
def test_the_browser_computes_what_the_library_does(node, runs, name):
    run = runs[name]
    rng = np.random.default_rng(1)
    gray = rng.integers(0, 256, (12, *run.image_shape[:2]), np.uint8)
    channels = run.image_shape[2:]
    images = np.repeat(gray[..., None], channels[0], axis=3) if channels else gray
    inks = drawings(run.image_shape, 24)
    found = run_in_node(node, run, images, inks)
    np.testing.assert_allclose(found["logits"], run.predict_logits(images), atol=1e-4)
    np.testing.assert_allclose(found["probabilities"], run.predict_proba(images), atol=1e-5)
    expected = [to_form(ink, run.form, run.image_shape[:2], extent=run.extent) for ink in inks]
    expected = np.stack(expected).reshape(len(inks), -1).astype(int)
    forms = 255 - found["forms"] if run.light_ground else found["forms"]
    np.testing.assert_array_equal(forms, expected)
    std = float(run.scaling.std) if run.config.scale == "standardized" else 1.0
    # With scale "image" a pixel changes the scaling of all others; two are as "digits" is.
    others = ("linear", "letters", "characters")
    for image, saliency in zip(images[:3], found["saliency"], strict=True):
        if name not in others:
            expected = saliency_of(run, image, 1).reshape(-1)
            near = np.isclose(saliency / std, expected, rtol=1e-3, atol=1e-4 * expected.max())
            # Where two values of the last max pooling are equal but for rounding, either may be
            # chosen: that changes a square of 10x10 pixels, here one of 20x31.
            assert near.mean() > 0.8


def test_the_saliency_is_that_of_finite_differences(runs):
    run, image = runs["mlp"], np.zeros((28, 28), np.uint8)
    image[10:20, 10:14] = 128
    found = saliency_of(run, image, 3)

    @jax.jit
    def logit(pixels):
        inputs = scale_inputs(pixels[None], scaling=run.scaling, scale=run.config.scale)
        return run.model.apply(run.params, inputs)[0, 3]

    for place in ((12, 11), (5, 20), (27, 0)):
        step = np.zeros((28, 28), np.float32)
        step[place] = 1e-2
        pixels = image / np.float32(255)
        slope = (float(logit(pixels + step)) - float(logit(pixels - step))) / 2e-2
        assert found[place] == pytest.approx(abs(slope), rel=2e-2, abs=1e-4)


def test_real_digits_in_the_browser(node, mnist_dir):
    """Test images: logits to 1e-4; each enlarged and brought back, to the pixel."""
    run = jd.load("digits")
    images = jd.data.load("mnist", "test", data_dir=mnist_dir).images[:100]
    inks = [np.asarray(Image.fromarray(image).resize((112, 112))) for image in images]
    found = run_in_node(node, run, images, inks)
    np.testing.assert_allclose(found["logits"], run.predict_logits(images), atol=1e-4)
    expected = np.stack([to_form(ink, "mnist") for ink in inks]).reshape(100, -1)
    np.testing.assert_array_equal(found["forms"], expected)


def test_a_page_is_one_file_and_small(runs):
    for name, run in runs.items():
        page = make_page(run)
        assert len(page.encode()) < (410_000 if name in SHIPPED else 800_000)
        addresses = re.findall(r"(?:src|href)=\"?([^\s\">]+)|url\(|@import|https?:", page)
        assert set(addresses) <= {"data:,"}, name
        assert page.count("</script>") == 2


def test_any_name_of_a_class(runs):
    names = ("</script><script>alert(1)</script>", 'a"b', *"cdefghij")
    page = make_page(replace(runs["linear"], class_names=names))
    assert page.count("</script>") == 2
    network = re.search(r'id="network">(.*?)</script>', page, re.DOTALL)
    assert network is not None
    assert json.loads(network[1])["classNames"] == list(names)


@pytest.mark.parametrize("teach", [None, False, True])
def test_a_page_whose_server_runs_the_network(teach):
    """Any network, also an ensemble, or one of your own; it can be taught where that is said."""
    digits = jd.load("digits")
    for run, name in (
        (digits, "convnet"),
        (jd.stack([digits, digits]), "2 x convnet"),
        (replace(digits, own=("model",)), "own network"),
    ):
        page = make_remote_page(run) if teach is None else make_remote_page(run, teach=teach)
        network = re.search(r'id="network">(.*?)</script>', page, re.DOTALL)
        assert network is not None
        assert json.loads(network[1]) == {
            "remote": True, "teach": bool(teach), "name": name, "data": "mnist",
            "classNames": list("0123456789"),
        }  # fmt: skip


def test_weights_take_half_the_bytes_where_they_have_no_more(runs):
    """In order, each layer's from where the one before ends."""
    for name, half in (("digits", True), ("mlp", False)):
        found = describe(runs[name])
        dtype = "<f2" if half else "<f4"
        flat = np.frombuffer(base64.b64decode(found["weights"]), dtype).astype(np.float32)
        assert found["half"] == half
        assert len(flat) == jd.models.count_params(runs[name].params)
        ends = [layer["stop"] for layer in found["layers"]]
        assert [layer["start"] for layer in found["layers"]] == [0, *ends[:-1]]
        assert ends[-1] == len(flat)


def test_what_no_page_can_run(runs):
    with pytest.raises(ConfigError, match=r"a page runs .*; this is an ensemble$"):
        make_page(jd.stack([runs["linear"], runs["linear"]]))
    own = replace(runs["linear"], own=("model",))
    with pytest.raises(ConfigError, match="a page runs linear, mlp, convnet; this is own network"):
        make_page(own)
    pixel = replace(runs["linear"], config=jd.TrainConfig(model="pixel"))
    with pytest.raises(ConfigError, match="this is pixel"):
        make_page(pixel)


def test_the_command(cli, tmp_path):
    code, out, err = cli("export", "digits", "--out", tmp_path / "page.html")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"written to .*page.html: 3\d\d kB\n", out)
    assert (tmp_path / "page.html").read_text() == make_page(jd.load("digits"))
    code, out, err = cli("export", tmp_path / "none", "--json")
    assert (code, out) == (2, "")
    assert "there is no run in" in err


def stroke(browser, points):
    """Drag the mouse over the canvas, from point to point of 0..280."""
    from selenium.webdriver.common.action_chains import ActionChains

    target = browser.find_element("id", "canvas")
    factor = target.size["width"] / 280
    steps = [(round((x - 140) * factor), round((y - 140) * factor)) for x, y in points]
    chain = ActionChains(browser, duration=20)
    chain.move_to_element_with_offset(target, *steps[0]).click_and_hold()
    for (x, y), (next_x, next_y) in itertools.pairwise(steps):
        chain.move_by_offset(next_x - x, next_y - y)
    chain.release().perform()


def reading(browser, expected: str) -> str:
    """What the page says it reads, as soon as that is what is expected."""
    from selenium.common.exceptions import TimeoutException
    from selenium.webdriver.support.ui import WebDriverWait

    with contextlib.suppress(TimeoutException):
        WebDriverWait(browser, 10).until(lambda _: found(browser) == expected)
    return found(browser)


def found(browser) -> str:
    return browser.find_element("id", "best").text.strip()


@pytest.mark.parametrize("width", [1100, 390])
def test_a_digit_is_drawn(browser, tmp_path, width):
    path = tmp_path / "page.html"
    path.write_text(make_page(jd.load("digits")))
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert found(browser) == ""
    stroke(browser, [(80, 60), (200, 60), (120, 240)])
    assert reading(browser, "7") == "7"
    stroke(browser, [(110, 150), (180, 150)])
    assert reading(browser, "7") == "7"
    for name in ("undo", "undo"):
        browser.find_element("id", name).click()
    assert reading(browser, "") == ""
    stroke(browser, [(140, 40), (140, 240)])
    assert reading(browser, "1") == "1"
    shown = browser.find_elements("css selector", "#bars li")
    assert [row.text.split()[0] for row in shown] == list("0123456789")
    seen = browser.execute_script(
        "const c = document.getElementById('seen');"
        "return Array.from(c.getContext('2d').getImageData(0, 0, 28, 28).data)"
    )
    pixels = np.array(seen).reshape(28, 28, 4)[..., 0]
    assert jd.load("digits").predict(pixels.astype(np.uint8)[None]).tolist() == [1]
    assert browser.get_log("browser") == []


def test_a_digit_is_drawn_by_keyboard(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    path = tmp_path / "page.html"
    path.write_text(make_page(jd.load("digits")))
    browser.get(path.as_uri())
    canvas_element = browser.find_element("id", "canvas")
    canvas_element.send_keys(" ", *[Keys.ARROW_DOWN] * 14, " ")
    assert reading(browser, "1") == "1"
    canvas_element.send_keys(Keys.ESCAPE)
    assert reading(browser, "") == ""
