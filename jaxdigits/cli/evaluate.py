"""`jaxdigits evaluate`: measure a trained network again."""

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from jaxdigits.cli.options import DataOptions, File, Json

if TYPE_CHECKING:
    from jaxdigits.evaluation.robustness import Robustness
    from jaxdigits.runs.evaluation import RunReport


def evaluate(
    run: Path,
    data: DataOptions,
    dataset: Annotated[str | None, {"metavar": "NAME-or-FOLDER"}] = None,
    jittered: bool = False,
    robustness: bool = False,
    out: File = None,
    json: Json = False,
) -> None:
    """Measure a trained network again, from the files of its run folder.

    Args:
        run: a run folder; or digits, letters, or characters (both), which come with the package.
        dataset: measure it on another dataset of the same classes. Default: the one that it was
            trained on.
        jittered: also measure it on jittered test images ("slightly moved" in post C), ten draws.
        robustness: also measure and draw accuracy on changed test images, and calibration.
        out: the picture of --robustness. Default: RUN-robustness.png.
    """
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits import plots
    from jaxdigits.cli.output import report
    from jaxdigits.runs.evaluation import evaluate_run
    from jaxdigits.runs.folder import load

    found = evaluate_run(
        load(run), dataset, jittered=jittered, robustness=robustness, **data.folders
    )
    texts = [summary(found)]
    if found.robustness:
        path = out or Path(f"{run.expanduser().resolve().name}-robustness.png")
        texts.append(robustness_table(found.robustness))
        with plots.optional():
            plots.save(plots.robustness(*found.robustness), path)
            texts.append(f"written to {path}")
    report("\n\n".join(texts), {"run": str(run), **found.as_dict()}, as_json=json)


def summary(found: "RunReport") -> str:
    """What was measured, in words."""
    from jaxdigits.cli.output import results_table
    from jaxdigits.evaluation.metrics import accuracy_interval

    run, members = found.run, found.members
    texts = [f"{run.network_name} on {found.fingerprint}", results_table(found.results)]
    if members:
        texts.append(
            f"the ensemble of {len(members)} members, whose test accuracies are {min(members):.2%} "
            f"to {max(members):.2%}, mean {sum(members) / len(members):.2%}"
        )
    reason = "; ".join(found.changes) or "versions and device are the same: a file was changed"
    if found.same is None:
        texts.append(f"trained on {run.fingerprint}")
    elif found.same:
        texts.append("the same figures as at the end of training")
    else:
        texts.append(f"NOT the figures that were recorded at the end of training ({reason})")
    if found.jittered:
        mean, low, high = accuracy_interval(found.jittered)
        texts.append(
            "test images shifted by up to 2 pixels, 5 pixels inverted:\n"
            f"{mean:.2%} (mean of {len(found.jittered)} draws, 95% interval {low:.2%} to "
            f"{high:.2%})"
        )
    return "\n\n".join(texts)


def robustness_table(found: "Robustness") -> str:
    """A line per kind of change, its strengths side by side; the mean; the calibration."""
    lines = ["accuracy on changed test images, %:"]
    for kind in dict.fromkeys(condition.kind for condition in found.conditions):
        mine = [condition for condition in found.conditions if condition.kind == kind]
        figures = "  ".join(f"{100 * condition.accuracy:5.1f}" for condition in mine)
        strengths = ", ".join(condition.strength for condition in mine if condition.strength)
        line = f"{kind:11}{figures}" + f"  ({strengths})" * bool(strengths)
        lines.append(textwrap.fill(line, 79, subsequent_indent=" " * 13))
    return "\n".join(
        [
            *lines,
            f"{'mean':11}{100 * found.mean:5.1f}  of all changes",
            "",
            f"expected calibration error {found.uncalibrated.error:.2%}; "
            f"{found.calibrated.error:.2%} at temperature {found.temperature:.2f}, fitted on "
            "validation",
        ]
    )
