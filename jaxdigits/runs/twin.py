"""Train a run again, and find where the two begin to differ.

`twin` trains from the run's folder alone, on whatever is here. `compare` trains under two
circumstances (another jax, other flags or devices) in two processes side by side, and looks closer
and closer: at the epoch, the step, and the operation.
"""

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdigits import data
from jaxdigits.environment import changes_since, environment
from jaxdigits.errors import ConfigError, RunError
from jaxdigits.files import StrPath
from jaxdigits.runs.evaluation import check_same_data
from jaxdigits.runs.fit import epochs
from jaxdigits.runs.run import Run
from jaxdigits.runs.session import IN_MEMORY
from jaxdigits.runs.sides import Side, ask

_LOOKED_AT = 16  # results that are fetched at a time where their digests do not tell


class Twin(NamedTuple):
    """A run that was trained again.

    Attributes:
        run: as it is in its folder.
        params_equal: whether the trained parameters are equal to the bit.
        differs: in which epoch a metric first differs, its name, what it was, and what it is now;
            None if none does.
        by: the largest difference of a parameter.
        changes: what is different here, in words.
    """

    run: Run
    params_equal: bool
    differs: tuple[int, str, float | None, float | None] | None
    by: float
    changes: Sequence[str]

    @property
    def equal(self) -> bool:
        """Whether all is as it was."""
        return self.params_equal and self.differs is None


class Operation(NamedTuple):
    """The first operation whose result differs.

    Attributes:
        name: the primitive's.
        place: the function that asked for it, its file, and its line.
        shape: of the result.
        dtypes: of the result, on either side.
        by: the largest difference.
        largest: the largest value on the first side.
        only: operations that its input comes from, since all was equal, and one side lacks.
    """

    name: str
    place: str
    shape: tuple[int, ...]
    dtypes: tuple[str, str]
    by: float
    largest: float
    only: Sequence[str]


class Comparison(NamedTuple):
    """Where two trainings of a run begin to differ.

    Attributes:
        changes: how the circumstances of the second differ from those of the first, in words.
        epoch: the first whose end differs, from 1; 0 for the start; None if none does.
        step: of that epoch, from 1; 0 where step by step nothing differs.
        arrays: of the state, which differ first.
        operation: the first that differs; None where each by itself gives the same.
    """

    changes: Sequence[str]
    epoch: int | None = None
    step: int = 0
    arrays: Sequence[str] = ()
    operation: Operation | None = None


def twin(run: Run, *, data_dir: StrPath | None = None, manual_dir: StrPath | None = None) -> Twin:
    """Train a run again, from its folder alone, and compare.

    Args:
        run: with its history, as `jaxdigits.load` gives it.
        data_dir, manual_dir: see `jaxdigits.data.load`.

    Raises:
        ConfigError: parts of your own, or a run in memory, are not in the folder.
        DataError: the data are not those that it was trained on, or not to be had.

    Example:
        >>> import jaxdigits as jd
        >>> run = jd.fit(jd.TrainConfig(dataset="digits", model="linear", epochs=2))
        >>> twin(run).equal
        True
    """
    _check(run)
    (held_out,) = data.load_splits(
        run.config.dataset, ("validation",), data_dir=data_dir, manual_dir=manual_dir
    )
    check_same_data(run, held_out.fingerprint)
    devices = min(run.devices, len(jax.devices()))
    last = None
    for last in epochs(
        run.config,
        init_from=run.init_from,
        devices=devices,
        stream=run.stream,
        data_dir=data_dir,
        manual_dir=manual_dir,
    ):
        if last.number == len(run.history) - 1:
            break
    assert last is not None
    again = last.run()
    here = {**environment(), "devices": devices}
    changes = changes_since({**run.environment, "devices": run.devices}, here)
    pairs = list(zip(jax.tree.leaves(run.params), jax.tree.leaves(again.params), strict=True))
    return Twin(
        run,
        all(np.array_equal(then, now, equal_nan=True) for then, now in pairs),
        _first_difference(run.history, again.history),
        max((_distance(then, now) for then, now in pairs), default=0.0),
        changes,
    )


def compare(
    folder: StrPath,
    commands: tuple[str, str],
    num_epochs: int | None = None,
    *,
    settings: Mapping[str, str] | None = None,
    data_dir: StrPath | None = None,
    manual_dir: StrPath | None = None,
) -> Comparison:
    """Train a run in two processes side by side, and find where they begin to differ.

    Args:
        folder: the run's.
        commands: that start Python on either side, such as `("python", "other/bin/python")` or
            `("env JAX_NUM_CPU_DEVICES=1 python", ...)`.
        num_epochs: to train at most; default: as many as the run has.
        settings: other ones of the second side, as on the command line of `jaxdigits train`, such
            as `{"precision": "bfloat16"}`.
        data_dir, manual_dir: see `jaxdigits.data.load`.

    Raises:
        ConfigError: a command cannot be run, a setting is impossible, or the run cannot be trained
            from its folder alone.
        RunError: a process ended.
    """
    from jaxdigits.runs.folder import load

    run = load(folder)
    _check(run)
    most = len(run.history) - 1
    count = most if num_epochs is None else num_epochs
    if not 1 <= count <= most:
        raise ConfigError(f"epochs must be 1 to {most}, as many as the run has, not {count}")
    where = {"run": str(folder), "data_dir": data_dir, "manual_dir": manual_dir}
    where = {name: None if value is None else str(value) for name, value in where.items()}
    with ExitStack() as stack:
        sides = [stack.enter_context(Side(command)) for command in commands]
        more = {"settings": dict(settings)} if settings else {}  # which older versions don't know
        for side, other in zip(sides, ({}, more), strict=True):
            side.tell({"run": {**where, **other}})
        first, second = [side.hear() for side in sides]
        changes = changes_since(first, second, "there")
        changes += [
            f"{name} {getattr(run.config, name)}, there {value}"
            for name, value in (settings or {}).items()
        ]
        if first["arrays"] != second["arrays"]:
            raise ConfigError(
                "their states have other arrays: their networks, or versions of optax, differ"
            )
        ends = ask(sides, "epochs", count=count)
        epoch = next(
            (n for n, pair in enumerate(zip(*ends, strict=True)) if pair[0] != pair[1]), None
        )
        if epoch is None:
            return Comparison(changes)
        step, states = 0, [end[epoch] for end in ends]
        if epoch:
            steps = ask(sides, "steps", epoch=epoch)
            pairs = enumerate(zip(*steps, strict=True), 1)
            step, states = next(
                ((n, list(pair)) for n, pair in pairs if pair[0] != pair[1]), (0, states)
            )
        arrays = [
            name for name, one, other in zip(first["arrays"], *states, strict=True) if one != other
        ]
        operation = None if epoch and not step else _first_operation(sides, epoch, step)
        return Comparison(changes, epoch, step, arrays, operation)


def _check(run: Run) -> None:
    """Raise ConfigError if a run cannot be trained from its folder alone."""
    if run.members:
        raise ConfigError("an ensemble has no training to repeat: name one of its members")
    if run.own:
        raise ConfigError(
            f"the run was trained with {', '.join(run.own)} of your own, which its folder does not "
            "hold"
        )
    if run.init_from == IN_MEMORY:
        raise ConfigError("the run was begun from a run in memory, which its folder does not hold")
    if len(run.history) < 2:
        raise ConfigError("the run's folder holds no metrics of epochs to compare")
    known = [line.get("epoch") for line in run.history]
    if known != list(range(len(known))) or len(known) > (run.config.epochs or 0) + 1:
        raise RunError("the metrics of the run are damaged: they are not those of its epochs")


def _first_difference(
    then: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]
) -> tuple[int, str, float | None, float | None] | None:
    for before, after in zip(then, now, strict=True):
        for name, value in before.items():
            if name != "seconds" and after.get(name) != value:
                return before["epoch"], name, value, after.get(name)
    return None


def _distance(one: Any, other: Any) -> float:
    one, other = (np.asarray(array).astype(np.float64) for array in (one, other))
    return float(np.max(np.abs(one - other), initial=0.0))


def _first_operation(sides: Sequence[Side], epoch: int, step: int) -> Operation | None:
    """The first of the operations that both have whose result differs."""
    listed = ask(sides, "operations", epoch=epoch, step=step)
    names = [[(one["name"], one["place"].partition(" ")[0]) for one in side] for side in listed]
    matcher = difflib.SequenceMatcher(None, *names, autojunk=False)
    pairs = [
        (first + at, second + at)
        for first, second, size in matcher.get_matching_blocks()
        for at in range(size)
    ]
    equal: list[set[int]] = [set(), set()]
    for numbers, same, values in _compared(sides, listed, pairs):
        if same is None:
            continue
        if same:
            for known, number in zip(equal, numbers, strict=True):
                known.add(number)
            continue
        found = [side[number] for side, number in zip(listed, numbers, strict=True)]
        between = zip(listed, numbers, equal, zip(*pairs, strict=True), strict=True)
        only = [told for side in between for told in _unpaired_before(*side)]
        return Operation(
            found[0]["name"],
            found[0]["place"],
            tuple(values[0].shape),
            (found[0]["dtype"], found[1]["dtype"]),
            _distance(*values),
            float(np.max(np.abs(values[0].astype(np.float64)), initial=0.0)),
            list(dict.fromkeys(only)),
        )
    return None


def _unpaired_before(
    listed: Sequence[Mapping[str, Any]], number: int, equal: set[int], paired: Sequence[int]
) -> list[str]:
    """What an operation's input comes from since all was equal, and that the other side lacks."""
    waiting, before = [number], set()
    while waiting:
        more = set(listed[waiting.pop()]["inputs"]) - equal - before
        before |= more
        waiting += more
    return [
        f"{listed[one]['name']} in {listed[one]['place']}" for one in sorted(before - set(paired))
    ]


def _compared(
    sides: Sequence[Side], listed: Sequence[Sequence[Any]], pairs: Sequence[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], bool | None, list[np.ndarray]]]:
    """Pairs of operations, whether their results are equal, and the results if not.

    None where they cannot be compared, as those of shares of a batch that do not make a whole.
    """
    for start in range(0, len(pairs), _LOOKED_AT):
        few = pairs[start : start + _LOOKED_AT]
        told = [
            all(one[name] == other[name] for name in ("shape", "dtype", "devices", "digest"))
            for one, other in ((listed[0][a], listed[1][b]) for a, b in few)
        ]
        if all(told):
            yield from ((pair, True, []) for pair in few)
            continue
        values = [
            _values(side, [pair[at] for pair in few], [listed[at][pair[at]] for pair in few])
            for at, side in enumerate(sides)
        ]
        for pair, same, one, other in zip(few, told, *values, strict=True):
            both = None if same else _comparable(one, other)
            if both is None:
                yield pair, same or None, []
            else:
                one, other = both
                yield pair, np.array_equal(one, other.astype(one.dtype), equal_nan=True), both


def _values(side: Side, numbers: Sequence[int], about: Sequence[Any]) -> list[np.ndarray]:
    """Results, each with an axis of devices in front."""
    side.tell({"values": {"numbers": numbers}})
    path = Path(side.hear())
    try:
        with np.load(path, allow_pickle=False) as file:
            found = [file[str(number)] for number in numbers]
    finally:
        os.unlink(path)
    return [x if one["devices"] > 1 else x[None] for x, one in zip(found, about, strict=True)]


def _comparable(one: np.ndarray, other: np.ndarray) -> list[np.ndarray] | None:
    """Results of different numbers of devices: what all have alike, or shares that make a whole."""
    whole = [np.asarray(x[0]) if (x == x[:1]).all() else None for x in (one, other)]
    joined = [x.reshape(-1, *x.shape[2:]) if x.ndim > 1 else None for x in (one, other)]
    for left in (whole[0], joined[0]):
        for right in (whole[1], joined[1]):
            if left is not None and right is not None and left.shape == right.shape:
                return [left, right]
    return None
