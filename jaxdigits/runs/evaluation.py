"""Measure a run again, from the files of its folder."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxdigits import data
from jaxdigits.data import Fingerprint
from jaxdigits.environment import changes_since
from jaxdigits.errors import DataError
from jaxdigits.evaluation import robustness as robust
from jaxdigits.evaluation.calibration import calibrate
from jaxdigits.evaluation.metrics import Evaluation, accuracy_interval
from jaxdigits.evaluation.robustness import Robustness
from jaxdigits.files import StrPath
from jaxdigits.runs.run import Run


@dataclass(frozen=True)
class RunReport:
    """What `evaluate_run` gives.

    Attributes:
        run: the run.
        fingerprint: of the data that it was measured on.
        evaluations: of the validation and the test split.
        same: whether all is as it was recorded at the end of training; None on other data.
        changes: what differs from then in versions and device.
        members: of an ensemble, the test accuracy of each member, 0..1.
        jittered: the accuracy on jittered test images, once per draw, if measured.
        robustness: on changed test images, if measured.
    """

    run: Run
    fingerprint: Fingerprint
    evaluations: Sequence[Evaluation]
    same: bool | None
    changes: Sequence[str]
    members: Sequence[float]
    jittered: Sequence[float]
    robustness: Robustness | None

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """The evaluations by split, as in `run.json`."""
        return {evaluation.split: evaluation.as_dict() for evaluation in self.evaluations}

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        document: dict[str, Any] = {
            "data": self.fingerprint.as_dict(),
            "results": self.results,
        }
        if self.same is not None:
            document["same_as_recorded"] = self.same
        if self.members:
            document["members"] = {"test_accuracy": list(self.members)}
        if self.jittered:
            mean, low, high = accuracy_interval(self.jittered)
            document["jittered"] = {
                "accuracy": mean,
                "interval_95": [low, high],
                "draws": list(self.jittered),
            }
        return document | (self.robustness.as_dict() if self.robustness else {})


def evaluate_run(
    run: Run,
    dataset: StrPath | None = None,
    *,
    jittered: bool = False,
    robustness: bool = False,
    data_dir: StrPath | None = None,
    manual_dir: StrPath | None = None,
) -> RunReport:
    """Measure a run on the validation and the test split, and compare with what was recorded.

    Args:
        run: the run.
        dataset: another dataset of the same classes to measure it on, by name or folder.
        jittered: whether to measure it on jittered test images too.
        robustness: whether to measure its robustness and calibration too.
        data_dir: where prepared datasets are.
        manual_dir: a folder with files downloaded by hand.

    Raises:
        DataError: the data are not those that the run was trained on, or, of another dataset, the
            classes differ.

    Example:
        >>> import jaxdigits as jd
        >>> run = jd.fit(jd.TrainConfig(dataset="digits", model="linear", epochs=1))
        >>> evaluate_run(run).same
        True
    """
    name = os.fspath(dataset or run.config.dataset)
    validation, test = data.load_splits(
        name, ("validation", "test"), data_dir=data_dir, manual_dir=manual_dir
    )
    if dataset is None:
        check_same_data(run, test.fingerprint)
    logits = [run.predict_logits(split.images) for split in (validation, test)]
    evaluations = [run.score(logits[0], validation), run.score(logits[1], test)]
    calibration = run.calibration or calibrate(logits[0], validation.labels)
    return RunReport(
        run,
        test.fingerprint,
        evaluations,
        _same(run.results, evaluations) if test.fingerprint == run.fingerprint else None,
        changes_since(run.environment),
        [member.evaluate(test).accuracy for member in run.members],
        run.accuracies_jittered(test) if jittered else (),
        robust.measure(run.predict, test.images, test.labels, logits[1], calibration)
        if robustness
        else None,
    )


def check_same_data(run: Run, found: Fingerprint) -> None:
    """Raise DataError if data are not those that a run was trained on."""
    if found == run.fingerprint:
        return
    remedy = "give the folder of the same data with --data-dir"
    if data.find_folder(run.config.dataset):
        remedy = f"put the same images into {run.config.dataset}, or train again"
    raise DataError(f"the run was trained on {run.fingerprint}, but here is {found}; {remedy}")


def _same(recorded: Mapping[str, Mapping[str, Any]], evaluations: Sequence[Evaluation]) -> bool:
    """Compare with what was recorded; what an older version did not measure is left out."""
    now = {evaluation.split: evaluation.as_dict() for evaluation in evaluations}
    return all(
        now[split].get(measure) == value
        for split, then in recorded.items()
        for measure, value in then.items()
    )
