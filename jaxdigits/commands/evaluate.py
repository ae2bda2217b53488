"""`jaxdigits evaluate`: the figures of a run again, from its files."""

from collections.abc import Sequence
from pathlib import Path

from jaxdigits import data, runs
from jaxdigits.commands import report
from jaxdigits.errors import DataError
from jaxdigits.runs import Evaluation


def evaluate(
    folder: Path,
    *,
    data_dir: Path | None = None,
    manual_dir: Path | None = None,
    as_json: bool = False,
) -> list[Evaluation]:
    """Loads a run, measures it on the validation and the test split, and prints the result.

    Raises:
        RunError: the folder holds no whole run.
        DataError: the data are not those that the run was trained on.
    """
    run = runs.load(folder)
    datasets = data.load_splits(
        run.config.dataset, ("validation", "test"), data_dir=data_dir, manual_dir=manual_dir
    )
    evaluations = []
    for dataset in datasets:
        if dataset.fingerprint != run.fingerprint:
            raise DataError(
                f"the run was trained on {run.fingerprint}, but here is {dataset.fingerprint}; "
                + (
                    f"put the same images into {run.config.dataset}, or train again"
                    if data.find_folder(run.config.dataset)
                    else "give the folder of the same data with --data-dir"
                )
            )
        evaluations.append(run.evaluate(dataset))
    results = {evaluation.split: evaluation.as_dict() for evaluation in evaluations}
    same = results == run.results
    verdict = "the same figures as at the end of training"
    if not same:
        now, then = runs.environment(), run.environment
        changed = [
            f"{name} {then['versions'].get(name)}, now {version}"
            for name, version in now["versions"].items()
            if then["versions"].get(name) != version
        ]
        if now["device"] != then["device"]:
            changed.append(f"device {then['device']}, now {now['device']}")
        reason = "; ".join(changed) or "versions and device are the same: a file was changed"
        verdict = f"NOT the figures that were recorded at the end of training ({reason})"
    text = f"{run.config.model} on {run.fingerprint}\n\n{results_table(evaluations)}\n\n{verdict}"
    document = {
        "run": str(folder),
        "data": run.fingerprint.as_dict(),
        "results": results,
        "same_as_recorded": same,
    }
    report(text, document, as_json=as_json)
    return evaluations


def results_table(evaluations: Sequence[Evaluation]) -> str:
    """A line for each split: images, loss, accuracy, its interval."""
    lines = [f"{'':12}{'images':>8}{'loss':>9}{'accuracy':>11}   95 % interval"]
    lines += [
        f"{e.split:12}{e.count:8,}{e.loss:9.4f}{100 * e.accuracy:9.2f} %"
        f"   {100 * e.low:.2f} to {100 * e.high:.2f} %"
        for e in evaluations
    ]
    return "\n".join(lines)
