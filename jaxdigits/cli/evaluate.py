"""`jaxdigits evaluate`: the figures of a run again, from its files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdigits import data
from jaxdigits.cli.output import report
from jaxdigits.data import Dataset
from jaxdigits.environment import environment
from jaxdigits.errors import DataError
from jaxdigits.evaluation import robustness as robustness_module
from jaxdigits.evaluation.calibration import Calibration, calibrate, reliability
from jaxdigits.evaluation.metrics import Evaluation, mean_interval
from jaxdigits.evaluation.robustness import ConditionAccuracy
from jaxdigits.runs import run as runs
from jaxdigits.runs.run import Run


def evaluate(
    folder: Path,
    *,
    moved: bool = False,
    robustness: bool = False,
    out: Path | None = None,
    data_dir: Path | None = None,
    manual_dir: Path | None = None,
    as_json: bool = False,
) -> list[Evaluation]:
    """Loads a run, measures it on the validation and the test split, and prints the result.

    Args:
        folder: of the run.
        moved: whether to measure it on moved test images as well.
        robustness: whether to measure it on test images changed in many ways, and how far its
            probabilities can be trusted, and to draw both.
        out: the picture of that; NAME-robustness.png, after the run, if not given.
        data_dir: where prepared data sets are kept.
        manual_dir: a folder with data files downloaded by hand.
        as_json: whether to print one JSON object.

    Raises:
        RunError: the folder holds no whole run.
        DataError: the data are not those that the run was trained on.
    """
    run = runs.load(folder)
    datasets = data.load_splits(
        run.config.dataset, ("validation", "test"), data_dir=data_dir, manual_dir=manual_dir
    )
    logits, evaluations = [], []
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
        logits.append(run.predict_logits(dataset.images))
        evaluations.append(run.score(logits[-1], dataset))
    results = {evaluation.split: evaluation.as_dict() for evaluation in evaluations}
    # What an older version did not measure is not compared.
    same = all(
        results[split].get(measure) == value
        for split, recorded in run.results.items()
        for measure, value in recorded.items()
    )
    verdict = "the same figures as at the end of training"
    if not same:
        now, then = environment(), run.environment
        changed = [
            f"{name} {then['versions'].get(name)}, now {version}"
            for name, version in now["versions"].items()
            if then["versions"].get(name) != version
        ]
        if now["device"] != then["device"]:
            changed.append(f"device {then['device']}, now {now['device']}")
        reason = "; ".join(changed) or "versions and device are the same: a file was changed"
        verdict = f"NOT the figures that were recorded at the end of training ({reason})"
    parts = [f"{run.config.model} on {run.fingerprint}", results_table(evaluations), verdict]
    document = {
        "run": str(folder),
        "data": run.fingerprint.as_dict(),
        "results": results,
        "same_as_recorded": same,
    }
    if run.members:
        accuracies = [member.evaluate(datasets[-1]).accuracy for member in run.members]
        document["members"] = {"test_accuracy": accuracies}
        parts.insert(
            2,
            f"the ensemble of {len(accuracies)} members, whose own test accuracies are "
            f"{100 * min(accuracies):.2f} to {100 * max(accuracies):.2f} %, "
            f"mean {100 * sum(accuracies) / len(accuracies):.2f} %",
        )
    if moved:
        accuracies = run.accuracy_moved(datasets[-1])
        mean, *ends = mean_interval(accuracies)
        low, high = max(ends[0], 0.0), min(ends[1], 1.0)
        document["moved"] = {
            "accuracy": mean,
            "interval_95": [low, high],
            "draws": accuracies,
        }
        parts.append(
            f"test images moved by up to 2 pixels, 5 pixels inverted: {100 * mean:.2f} % (mean of "
            f"{len(accuracies)} draws, 95 % interval {100 * low:.2f} to {100 * high:.2f} %)"
        )
    if robustness:
        found, part = _robustness(
            run, datasets, logits, out or Path(f"{_name(folder)}-robustness.png")
        )
        document |= found
        parts.append(part)
    report("\n\n".join(parts), document, as_json=as_json)
    return evaluations


def _name(folder: Path) -> str:
    """What a run is called: by its folder."""
    return folder.expanduser().resolve().name


def _robustness(
    run: Run, datasets: Sequence[Dataset], logits: Sequence[np.ndarray], out: Path
) -> tuple[dict[str, Any], str]:
    """Measures it, draws it, and gives it as plain values and as text."""
    from jaxdigits import plots

    validation, test = datasets
    measured = robustness_module.measure(run.predict, test.images, test.labels)
    calibration = run.calibration or calibrate(logits[0], validation.labels)
    plain = reliability(Calibration().probabilities(logits[1]), test.labels)
    scaled = reliability(calibration.probabilities(logits[1]), test.labels)
    plots.save(plots.robustness(measured, plain, scaled, calibration.temperature), out)
    document = {
        "robustness": [result._asdict() for result in measured],
        "robustness_mean": robustness_module.mean(measured),
        "calibration": {
            "error": plain.error,
            "temperature": calibration.temperature,
            "error_at_temperature": scaled.error,
        },
    }
    return document, (
        f"test images changed, right in %:\n{robustness_table(measured)}\n\n"
        f"expected calibration error {100 * plain.error:.2f} %; {100 * scaled.error:.2f} % at "
        f"temperature {calibration.temperature:.2f}, fitted on validation\nwritten to {out}"
    )


def robustness_table(results: Sequence[ConditionAccuracy]) -> str:
    """Format a line per kind of change, its strengths side by side, and the mean of all changes.

    Example:
        >>> clean = ConditionAccuracy("clean", "", 0.99)
        >>> print(robustness_table([clean, ConditionAccuracy("blur", "1", 0.5)]))
        clean        99.0%
        blur         50.0%  (1)
        mean         50.0%  of all changes
    """
    lines = []
    for kind in dict.fromkeys(result.kind for result in results):
        mine = [result for result in results if result.kind == kind]
        figures = "  ".join(f"{100 * result.accuracy:5.1f}" for result in mine)
        strengths = ", ".join(result.strength for result in mine if result.strength)
        lines.append(f"{kind:11}{figures}%" + f"  ({strengths})" * bool(strengths))
    lines.append(f"{'mean':11}{100 * robustness_module.mean(results):5.1f}%  of all changes")
    return "\n".join(lines)


def results_table(evaluations: Sequence[Evaluation]) -> str:
    """A line for each split, and the pairs of classes that the last split shows to be hard."""
    header = f"{'':12}{'images':>8}{'loss':>9}{'accuracy':>11}   {'95 % interval':18}within two"
    lines = [header]
    for e in evaluations:
        interval = f"{100 * e.low:.2f} to {100 * e.high:.2f} %"
        lines.append(
            f"{e.split:12}{e.count:8,}{e.loss:9.4f}{100 * e.accuracy:9.2f} %   {interval:18}"
            f"{100 * e.top_2:8.2f} %"
        )
    shares = evaluations[-1].per_class
    classes = {name: share for name, share in shares.items() if share is not None}
    worst = sorted(classes, key=classes.__getitem__)[:3]
    pairs = ", ".join(f"{a}/{b} ({times})" for a, b, times in evaluations[-1].confused)
    if pairs:
        lines += [
            "",
            f"most often taken for each other in {evaluations[-1].split}: {pairs}",
            "least accurate classes: "
            + ", ".join(f"{name} ({100 * classes[name]:.1f} %)" for name in worst),
        ]
    return "\n".join(lines)
