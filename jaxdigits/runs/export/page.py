"""A page to draw on, as one file: the network runs in the browser, without a server.

`form.js` brings a drawing to the form of the training images, `network.js` runs the network, and
`page.js` is what one sees. They are put into `page.html` with the weights, in half precision where
the network has no more.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import numpy as np

from jaxdigits.errors import ConfigError
from jaxdigits.evaluation.calibration import Calibration
from jaxdigits.models.convnet import ConvnetParams
from jaxdigits.runs.run import Run
from jaxdigits.transforms.scaling import IMAGE_MEAN, IMAGE_STD

MODELS = ("linear", "mlp", "convnet")
"""What the browser can run."""

_Layer = tuple[dict[str, Any], tuple[np.ndarray, ...]]


def make_page(run: Run) -> str:
    """Make a page on which one draws a character and sees what the network reads.

    Args:
        run: a linear network, an mlp, or a convnet.

    Raises:
        ConfigError: the network is another one, one of your own, or an ensemble.

    Example:
        >>> import jaxdigits as jd
        >>> page = make_page(jd.load("digits"))
        >>> page.startswith("<!doctype html>"), len(page) < 400_000
        (True, True)
    """
    return _fill(describe(run))


def make_remote_page(run: Run, *, teach: bool = False) -> str:
    """Make the page for a network that its server runs: any network, and reading photos too.

    Args:
        run: the network.
        teach: whether one can tell it what it misreads.
    """
    return _fill({"remote": True, "teach": teach, **_names(run)})


def runs_in_browser(run: Run) -> bool:
    """Tell whether `make_page` can make a page of a network.

    Example:
        >>> import jaxdigits as jd
        >>> runs_in_browser(jd.load("digits"))
        True
    """
    return not run.members and "model" not in run.own and run.config.model in MODELS


def _fill(network: Mapping[str, Any]) -> str:
    page = _source("page.html")
    for name in ("style.css", "form.js", "network.js", "page.js"):
        page = page.replace(f"/* {name} */", _source(name))
    # A class may be called </script>.
    return page.replace("/* network */", json.dumps(network).replace("<", "\\u003c"))


def _names(run: Run) -> dict[str, Any]:
    return {
        "name": f"{len(run.members)} x {run.network_name}" if run.members else run.network_name,
        "data": run.fingerprint.name,
        "classNames": list(run.class_names),
    }


def describe(run: Run) -> dict[str, Any]:
    """Describe a network in plain values, as `network.js` runs it.

    Args:
        run: the network.

    Raises: see `make_page`.

    Example:
        >>> import jaxdigits as jd
        >>> found = describe(jd.load("letters"))
        >>> found["form"], [layer["kind"] for layer in found["layers"]][:3]
        ('emnist', ['convolution', 'pool', 'activation'])
    """
    if not runs_in_browser(run):
        name = "an ensemble" if run.members else run.network_name
        raise ConfigError(f"a page runs {', '.join(MODELS)}; this is {name}")
    layers, arrays, start = [], [], 0
    for layer, weights in _layers(run):
        stop = start + sum(array.size for array in weights)
        layers.append({**layer, "start": start, "stop": stop})
        arrays += weights
        start = stop
    flat = np.concatenate([array.reshape(-1) for array in arrays])
    half = np.array_equal(flat.astype("<f2").astype(np.float32), flat)
    encoded = base64.b64encode(flat.astype("<f2" if half else "<f4").tobytes()).decode()
    return {
        **_names(run),
        "form": run.form,
        "extent": run.extent,
        "imageShape": list(run.image_shape),
        "lightGround": run.light_ground,
        "scaling": _scaling(run),
        "temperature": (run.calibration or Calibration()).temperature,
        "layers": layers,
        "half": half,
        "weights": encoded,
    }


def _scaling(run: Run) -> Mapping[str, Any]:
    if run.config.scale == "image":
        return {"kind": "image", "mean": IMAGE_MEAN, "std": IMAGE_STD}
    mean, std = (float(value) for value in run.scaling)
    return {"kind": run.config.scale, "mean": mean, "std": std}


def _layers(run: Run) -> Iterator[_Layer]:
    """The layers with their weights, from the image to the logits."""
    match run.config.model:
        case "linear":
            yield _dense(run.params)
        case "mlp":
            *hidden, last = run.params
            for layer in hidden:
                yield _dense(layer)
                yield _activation(run.config.activation)
            yield _dense(last)
        case _:
            yield from _convnet(run.params, run)


def _convnet(params: ConvnetParams, run: Run) -> Iterator[_Layer]:
    height, width = run.image_shape[:2]
    for layer in params["conv"]:
        kernel = np.asarray(layer["kernel"])
        inputs, outputs = kernel.shape[2:]
        size = {"height": height, "width": width, "inputs": inputs, "outputs": outputs}
        yield {"kind": "convolution", **size}, (kernel, np.asarray(layer["bias"]))
        height, width = height - 2, width - 2
        yield {"kind": "pool", "height": height, "width": width, "channels": outputs}, ()
        height, width = -(-height // 2), -(-width // 2)
        if run.config.pool_activation == "gelu":
            yield _activation("gelu")
    for number, layer in enumerate(params["dense"]):
        if number:
            yield _activation("gelu")
        yield _dense(layer)


def _dense(layer: Mapping[str, Any]) -> _Layer:
    weight, bias = np.asarray(layer["weight"]), np.asarray(layer["bias"])
    outputs, inputs = weight.shape
    return {"kind": "dense", "outputs": outputs, "inputs": inputs}, (weight, bias)


def _activation(name: str) -> _Layer:
    return {"kind": "activation", "name": name}, ()


def _source(name: str) -> str:
    return files("jaxdigits.runs.export").joinpath(name).read_text(encoding="utf-8")
