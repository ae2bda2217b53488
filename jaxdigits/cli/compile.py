"""`jaxdigits compile`: programs for devices that are not here."""

import os
from typing import Annotated, Literal

from jaxdigits.cli.options import CommonSettings, Json, NetworkSettings, TrainingSettings
from jaxdigits.config import parse_settings
from jaxdigits.errors import ConfigError


def compile(
    common: CommonSettings,
    network: NetworkSettings,
    training: TrainingSettings,
    for_: Annotated[str, {"metavar": "DEVICES"}] = "tpu:v5e:2x2",
    mode: Literal["train", "inference"] = "train",
    devices: int | None = None,
    seeds: int = 1,
    json: Json = False,
) -> None:
    """Compile a network for accelerators that are not here, and say what bounds its speed.

    Nothing runs. The bound follows from the datasheet; it is no prediction. For a TPU, `pip install
    'jaxdigits[compile-tpu]'`; for a GPU, `'jaxdigits[compile-gpu]'`.

    Args:
        for_: tpu: and a topology, such as tpu:v5e:2x2, tpu:v6e:2x2, or tpu:v5p:2x2x1; or gpu:h100,
            and gpu:h100:8 for eight.
        mode: training, or inference.
        devices: how many of them share the work. Default: all.
        seeds: networks to train together, as a sweep does.
    """
    config, lists = parse_settings({**vars(common), **vars(network), **vars(training)})
    if lists:
        raise ConfigError(f"compile takes one value of {next(iter(lists))}, not a list")
    os.environ["JAX_PLATFORMS"] = "cpu"  # what compiles for a device would also look for it
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from jaxdigits.bench.ahead import compile_for
    from jaxdigits.bench.report import ahead
    from jaxdigits.cli.output import note, report

    found = compile_for(for_, config, mode=mode, devices=devices, seeds=seeds, progress=note)
    report(ahead(found), found.as_dict(), as_json=json)
