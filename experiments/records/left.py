"""Which errors remain: the test images that all networks of a record read wrong.

    python experiments/records/left.py minute

It draws them, each with its label, and what most of the networks read, beside the results.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from record import RESULTS

import jaxdigits as jd


def main() -> None:
    """Draw them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("name", help="of a record")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--manual-dir", type=Path, help="a folder with downloaded files")
    arguments = parser.parse_args()
    records = json.loads(RESULTS.read_text())
    if arguments.name not in records:
        parser.error(f"name must be one of {', '.join(records)}")
    record = records[arguments.name]
    folders = {"data_dir": arguments.data_dir, "manual_dir": arguments.manual_dir}
    try:
        test = jd.data.load(record["config"]["dataset"], "test", **folders)
    except jd.errors.DataError as error:
        parser.error(str(error))
    wrong = [row["wrong"] for row in record["seeds"]]
    left = sorted(set.intersection(*map(set, wrong)), key=int)
    titles = []
    for number in left:
        read, _ = Counter(each[number] for each in wrong).most_common(1)[0]
        label = test.class_names[test.labels[int(number)]]
        titles.append(f"{label}, read {test.class_names[read]}")
    path = RESULTS.with_name(f"records-{arguments.name}-left.png")
    jd.plots.save(jd.plots.image_grid(test.images[list(map(int, left))], titles), path)
    total = len(set().union(*wrong))
    print(
        f"{len(left)} of {len(test):,} test images are read wrong by all {len(wrong)} networks, "
        f"{total} by at least one; drawn in {path}"
    )


if __name__ == "__main__":
    main()
