"""Does a process that works for hours stay as large as it was?

    python experiments/soak.py                  # 1,000 rounds, a quarter of an hour
    python experiments/soak.py --rounds 100     # a first look

Each round trains a network with another seed, saves it, loads it, predicts some images, and
evaluates others; their numbers change from round to round. Each tenth round reads a photo of a page
too, of another size each time. After each the resident memory is noted, and how many compiled
programs jax holds. The first rounds, a fifth of all, fill what is kept on purpose; what counts is
the slope of the rest (Theil and Sen's, which a few jumps do not change).
"""

import argparse
import gc
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import psutil
from PIL import Image
from scipy.stats import theilslopes
from tqdm import trange

import jaxdigits as jd
from jaxdigits.environment import environment
from jaxdigits.files import write_json
from jaxdigits.handwriting import open_picture, read
from jaxdigits.plots.figures import new_figure, save

RESULTS = Path(__file__).parent / "results"
NOTE = Path(__file__).parent / "samples" / "note.jpg"
MOST_KB = 20.0  # a round: 2 MB in a hundred rounds
PAGE_EVERY = 10


def work(number: int, rng: np.random.Generator, folder: Path) -> None:
    """Do a round."""
    model = ("linear", "mlp")[number % 2]
    config = jd.TrainConfig(dataset="digits", model=model, epochs=2, seed=number)
    jd.fit(config).save(folder / "run", overwrite=True)
    run = jd.load(folder / "run")
    images = rng.integers(256, size=(rng.integers(1, 2_000), 28, 28), dtype=np.uint8)
    assert len(run.predict(images)) == len(images)
    test = jd.data.load("digits", "test")
    chosen = rng.choice(len(test), rng.integers(50, len(test)), replace=False)
    part = replace(test, images=test.images[chosen], labels=test.labels[chosen])
    assert run.evaluate(part).accuracy > 0.5
    if number % PAGE_EVERY == 0:
        with Image.open(NOTE) as page:
            page.resize(rng.integers(400, 1_000, 2).tolist()).save(folder / "page.png")
        read(open_picture(folder / "page.png"), jd.load("digits"))


def draw(memory: list[float], programs: list[int], heading: str, path: Path) -> None:
    """Draw memory and programs over the rounds."""
    figure = new_figure(8, 4.5, heading)
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(memory)
    above.set(ylabel="resident memory (MB)", ylim=(0, None))
    below.plot(programs)
    below.set(ylabel="compiled programs", xlabel="rounds", ylim=(0, None))
    save(figure, path)


def main() -> None:
    """Work, and measure."""
    parser = argparse.ArgumentParser(description="The memory of a process that lives long.")
    parser.add_argument("--rounds", type=int, default=1_000)
    parser.add_argument("--json", type=Path, default=RESULTS / "soak.json")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    client = jax.devices()[0].client
    memory, programs = [], []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        for number in trange(options.rounds, mininterval=10):
            work(number, rng, Path(name))
            gc.collect()
            memory.append(psutil.Process().memory_info().rss / 1e6)
            programs.append(len(client.live_executables()))
    rest = options.rounds // 5
    slopes: Any = theilslopes(memory[rest:])
    slope, _, low, high = (1e3 * float(value) for value in slopes)
    document = {
        "command": " ".join(["python", "experiments/soak.py", *sys.argv[1:]]),
        **environment(),
        "rounds": options.rounds,
        "seconds": time.monotonic() - started,
        "kilobytes_a_round": slope,
        "interval_95": [low, high],
        "programs": programs[-1],
        "memory_mb": [round(value, 1) for value in memory],
        "programs_by_round": programs,
    }
    write_json(options.json, document)
    heading = f"{slope:.1f} kB a round (95%: {low:.1f} to {high:.1f}) after the first {rest}"
    draw(memory, programs, heading, options.json.with_suffix(".png"))
    print(heading)
    sys.exit(slope > MOST_KB)


if __name__ == "__main__":
    main()
