"""Writes the results tables of the README from the files in `experiments/results/`.

python experiments/readme_table.py            # rewrites the tables
python experiments/readme_table.py --check    # fails if the README is not up to date
"""

import argparse
import json
import sys
from pathlib import Path

from jaxdigits import report

EXPERIMENTS = Path(__file__).parent
README = EXPERIMENTS.parent / "README.md"


def read(name: str) -> dict:
    """A result that an experiment has written."""
    return json.loads((EXPERIMENTS / "results" / name).read_text())


def results() -> str:
    """The rows, each with the command that measures it again."""
    mlp, epochs = read("mnist_mlp.json"), read("epoch_against_pytorch.json")
    low, high = mlp["interval_95"]
    rows = [
        (
            f"MNIST test accuracy, {mlp['title']}",
            f"**{mlp['mean']:.2%}** (mean of {mlp['seeds']} seeds, "
            f"95 % interval {low:.2%} to {high:.2%})",
            mlp["command"],
        )
    ]
    for row in epochs["rows"]:
        ours, best = row["seconds"]["jaxdigits"], row["ratio"]
        low, high = row["ratio_range"]
        rows.append(
            (
                f"Epoch of 60,000 images, batches of 64: {row['workload']}",
                f"{1000 * ours:.0f} ms, **{best:.1f}x** eager PyTorch's speed "
                f"({low:.1f} to {high:.1f} over {len(row['rounds'])} rounds)",
                epochs["command"],
            )
        )
    lines = ["| what | result | measured by |", "|---|---|---|"]
    lines += [f"| {what} | {result} | `{command}` |" for what, result, command in rows]
    versions = ", ".join(f"{name} {version}" for name, version in epochs["versions"].items())
    lines += ["", f"Measured on {epochs['date']}, {epochs['machine']}, {versions}."]
    return "\n".join(lines)


def posts() -> str:
    """What `jaxdigits reproduce --out experiments/results/posts` has measured."""
    document = read("posts/report.json")
    return f"{report.markdown_table(document)}\n\n{report.measured(document)}"


def main() -> None:
    """Rewrites the parts of the README between their marks, or checks them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    text = updated = README.read_text()
    for name, table in (("results", results), ("posts", posts)):
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, rest = updated.split(begin)
        updated = f"{before}{begin}\n{table()}\n{end}{rest.split(end)[1]}"
    if arguments.check:
        sys.exit(None if updated == text else "README.md: run python experiments/readme_table.py")
    README.write_text(updated)


if __name__ == "__main__":
    main()
