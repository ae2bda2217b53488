"""What the scripts that make the shipped networks share: training on what is made, and cards."""

import argparse
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import jaxdigits as jd
from jaxdigits.files import atomic_write
from jaxdigits.runs.folder import PARAMS_FILE, WEIGHTS, save_params

LICENSE = "MIT, as the package; [its data](../DATA.md) have their own"
"""Of the networks."""


class Made(NamedTuple):
    """Examples that are made as a network learns, and that it judges by itself.

    Attributes:
        name: of the dataset.
        make: from a key and as many images as are wanted, whatever these are, to examples.
        size: of an example's image.
        classes: of the judgment; the last is the right one.
        steps: in what `fit` takes for an epoch.
        validation: how many are kept to validate on.
    """

    name: str
    make: Callable[..., Any]
    size: tuple[int, ...]
    classes: tuple[str, str]
    steps: int
    validation: int


def add_options(parser: argparse.ArgumentParser, name: str, *, steps: int, batch_size: int) -> None:
    """The options of a script that trains on what is made."""
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--manual-dir", type=Path, help="a folder with downloaded files")
    parser.add_argument("--out", type=Path, default=Path("runs") / name)
    parser.add_argument("--weights", type=Path, default=WEIGHTS / name)


def fit_made(
    made: Made,
    model: jd.Model,
    arguments: argparse.Namespace,
    *,
    ema_decay: float,
    b2: float,
    loss: Any = None,
) -> jd.Run:
    """Train on examples that are made by `augment`, so none is seen twice.

    Args:
        made: the examples.
        model: from packed examples to the logits of `made.classes`.
        arguments: of `add_options`.
        ema_decay: of the average of the parameters.
        b2: of Adam.
        loss: of the logits. Default: cross-entropy.
    """
    right, count = len(made.classes) - 1, made.steps * arguments.batch_size
    blank = jd.data.Examples(
        np.zeros((count, *made.size), np.uint8), np.full(count, right, np.int32)
    )
    kept = np.asarray(jax.jit(made.make)(jax.random.key(1_000_000), np.zeros(made.validation)))
    kept = jd.data.Examples(
        np.round(255 * kept).astype(np.uint8), np.full(made.validation, right, np.int32)
    )
    splits = jd.data.from_arrays(made.name, blank, kept, made.classes, validation=kept)
    epochs = -(-arguments.steps // made.steps)
    config = jd.TrainConfig(
        epochs=epochs,
        batch_size=arguments.batch_size,
        ema_decay=ema_decay,
        seed=arguments.seed,
        scale="unit",
    )
    schedule = optax.cosine_onecycle_schedule(
        epochs * made.steps, arguments.learning_rate, pct_start=0.05
    )
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, b2=b2, weight_decay=1e-4)
    )
    return jd.fit(
        config,
        splits,
        model=model,
        loss=loss,
        optimizer=optimizer,
        augment=made.make,
        devices=min(len(jax.devices()), 2),
        folder=arguments.out,
        resume=True,
        progress=True,
    )


def ship(
    run: jd.Run,
    folder: Path,
    title: str,
    rows: Mapping[str, str],
    text: str = "",
    *,
    dtype: type[np.number] = np.float16,
) -> None:
    """Write the parameters as `dtype`, and a card; other arguments as of `write_card`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_params(run.params, folder / PARAMS_FILE, dtype)
    write_card(folder, title, rows, text)
    print(f"written to {folder}: {run}")


def write_card(folder: Path, title: str, rows: Mapping[str, str], text: str = "") -> None:
    """Write what a user of the weights in a folder should know.

    Args:
        folder: with the parameters.
        title: of the card.
        rows: of its table, to which the checksum is added, and the license where there is none.
        text: below it.
    """
    digest = hashlib.sha256((folder / PARAMS_FILE).read_bytes()).hexdigest()
    rows = {**rows, "license": rows.get("license", LICENSE)}
    rows[f"SHA-256 of `{PARAMS_FILE}`"] = f"`{digest}`"
    table = "\n".join(f"| {what} | {value} |" for what, value in rows.items())
    with atomic_write(folder / "CARD.md") as path:
        path.write_text(f"# {title}\n\n| | |\n|---|---|\n{table}\n" + (text and f"\n{text}"))
