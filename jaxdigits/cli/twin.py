"""`jaxdigits twin`: train a run again, and find where it begins to differ."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from jaxdigits.cli.options import DataOptions, Json
from jaxdigits.errors import ConfigError

if TYPE_CHECKING:
    from jaxdigits.runs.twin import Comparison, Twin


def twin(
    run: Path,
    data: DataOptions,
    against: Annotated[str | None, {"metavar": "COMMAND"}] = None,
    with_: Annotated[str | None, {"metavar": "NAME=VALUE,..."}] = None,
    epochs: int | None = None,
    json: Json = False,
) -> None:
    """Train a run again, from its folder alone, and say whether it is equal to the bit.

    If it is not, name the first epoch that differs, and what is different here. With --against or
    --with it is trained in two ways side by side, and the step and the operation are named too.
    The exit code is 1 if there is a difference.

    Args:
        run: a run folder.
        against: a Python with other circumstances, such as "other/bin/python", or
            "env JAX_NUM_CPU_DEVICES=1 python".
        with_: other settings on that side, such as precision=bfloat16.
        epochs: to train at most with --against or --with. Default: as many as the run has.
    """
    from jaxdigits.environment import prepare_jax

    prepare_jax()
    from jaxdigits.cli.output import report
    from jaxdigits.runs import twin as twins
    from jaxdigits.runs.folder import load
    from jaxdigits.runs.sides import this_python

    side_by_side = against is not None or with_ is not None
    if not side_by_side and epochs is not None:
        raise ConfigError("--epochs needs --against or --with")
    if not side_by_side:
        found = twins.twin(load(run), **data.folders)
        differs, text = not found.equal, _of_twin(found)
        document = {**found._asdict(), "run": str(run)}
    else:
        here = this_python()
        settings = {} if with_ is None else _pairs(with_)
        commands = here, against or here
        compared = twins.compare(run, commands, epochs, settings=settings, **data.folders)
        differs, text = compared.epoch is not None, _of_comparison(compared)
        operation = compared.operation and compared.operation._asdict()
        document = {**compared._asdict(), "operation": operation, "run": str(run)}
    report(text, document, as_json=json)
    if differs:
        sys.exit(1)


def _pairs(text: str) -> dict[str, str]:
    """The settings in such as `precision=bfloat16,batch_size=32`."""
    pairs = [word.partition("=") for word in text.split(",")]
    if any(not name.strip() or not value.strip() for name, _, value in pairs):
        raise ConfigError(f"--with takes NAME=VALUE, such as precision=bfloat16, not {text!r}")
    return {name.strip().replace("-", "_"): value.strip() for name, _, value in pairs}


def _of_twin(found: "Twin") -> str:
    lines = []
    if found.equal:
        lines.append("equal to the bit: metrics of all epochs, and parameters")
    elif found.differs is None:
        lines.append(f"the metrics are equal; parameters differ by up to {found.by:.2g}")
    else:
        epoch, name, then, now = found.differs
        where = f"in epoch {epoch}" if epoch else "before the first epoch"
        lines.append(
            f"differs {where}: {name.replace('_', ' ')} {then}, now {now}; in the end parameters "
            f"differ by up to {found.by:.2g}"
        )
    if found.changes:
        lines.append("different here: " + "; ".join(found.changes))
    elif not found.equal:
        lines.append("versions, device, processor, and flags are the same")
    if not found.equal:
        lines.append("to find the step and the operation, give a Python as it was then: --against")
    return "\n".join(lines)


def _of_comparison(found: "Comparison") -> str:
    lines = ["different there: " + "; ".join(found.changes)] if found.changes else []
    if found.epoch is None:
        return "\n".join([*lines, "equal to the bit after each epoch"])
    if found.epoch == 0:
        lines.append("differs before the first epoch")
    elif found.step:
        lines.append(f"differs in epoch {found.epoch}, step {found.step}")
    else:
        lines.append(
            f"differs after epoch {found.epoch}, but not if its steps are looked at one by one: "
            "XLA compiles the epoch as a whole in another way"
        )
    most = 6
    more = f", and {len(found.arrays) - most} more" if len(found.arrays) > most else ""
    lines.append("arrays that differ first: " + ", ".join(found.arrays[:most]) + more)
    if (operation := found.operation) is not None:
        first, second = operation.dtypes
        kind = first if first == second else f"{first} and {second}"
        shape = "x".join(map(str, operation.shape)) or "one number"
        lines.append(
            f"the first operation: {operation.name} in {operation.place}, {shape}, {kind}, by up "
            f"to {operation.by:.2g} of {operation.largest:.2g}"
        )
        if operation.only:
            lines.append("before it, on one side only: " + "; ".join(operation.only))
    elif found.step or found.epoch == 0:
        lines.append("each operation gives the same by itself: XLA joins them in another way")
    return "\n".join(lines)
