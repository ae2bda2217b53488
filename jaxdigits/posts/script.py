"""What `python -m jaxdigits.posts.a4` does: one row, epoch by epoch, beside the post's numbers."""

import argparse
import logging
import os
import sys
from pathlib import Path

import jax

from jaxdigits.environment import usable_cores
from jaxdigits.errors import JaxdigitsError
from jaxdigits.posts import report
from jaxdigits.posts.reproduce import reproduce
from jaxdigits.posts.rows import LETTERS, load_row


def main(file: str) -> None:
    """Run the row of a file, and print it.

    Args:
        file: `__file__` of the row's module.
    """
    row = load_row(Path(file).stem.upper())
    parser = argparse.ArgumentParser(
        prog=f"python -m jaxdigits.posts.{row.name.lower()}",
        description=f"Row {row.name} of the posts: {row.title}.",
    )
    parser.add_argument("--seeds", type=int, default=10, help="default: 10, or at most 4")
    parser.add_argument("--dataset", default="auto", help="default: mnist, or digits without it")
    parser.add_argument("--letters", default=LETTERS, help=f"default: {LETTERS}")
    parser.add_argument("--data-dir", help="where prepared datasets are")
    parser.add_argument("--manual-dir", help="where downloaded data files are")
    options = parser.parse_args()
    logging.getLogger("jaxdigits").addHandler(logging.StreamHandler(sys.stderr))
    if not os.environ.get("JAX_NUM_CPU_DEVICES"):
        jax.config.update("jax_num_cpu_devices", usable_cores())  # seeds are shared out over them
    try:
        document = reproduce((row.name,), progress=True, **vars(options))
    except JaxdigitsError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"\n{parser.prog}: interrupted\n")
    print(report.chapter(document))
