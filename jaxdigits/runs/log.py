"""The metrics of each epoch in files, written as they come."""

import csv
import importlib.util
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from jaxdigits.errors import ConfigError

METRICS_FILE = "metrics.jsonl"
CSV_FILE = "metrics.csv"
TENSORBOARD = "tensorboard"

COLUMNS = (
    *("epoch", "train_loss", "train_accuracy"),
    *("validation_loss", "validation_accuracy", "seconds"),
)


class MetricsLog:
    """Writes a line for each epoch: JSON, CSV, and events for TensorBoard if asked for.

    A loss that is not a number is null in JSON, empty in CSV and left out for TensorBoard.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with MetricsLog(folder) as log:
        ...     log.write({"epoch": 0, "validation_loss": 2.5, "validation_accuracy": 0.125})
        >>> print((folder / "metrics.csv").read_text().strip())
        epoch,train_loss,train_accuracy,validation_loss,validation_accuracy,seconds
        0,,,2.5,0.125,
    """

    def __init__(
        self, folder: Path, history: Sequence[Mapping[str, Any]] = (), *, tensorboard: bool = False
    ) -> None:
        """Start the files anew.

        Args:
            folder: where to.
            history: lines that are there already, of a run that is resumed.
            tensorboard: whether to write events as well, in a folder of that name: see
                `check_tensorboard`.
        """
        self._json = (folder / METRICS_FILE).open("w")
        self._csv = (folder / CSV_FILE).open("w", newline="")
        self._rows = csv.DictWriter(self._csv, COLUMNS, lineterminator="\n")
        self._rows.writeheader()
        self._events = None
        if tensorboard:
            from tensorboardX import SummaryWriter

            shutil.rmtree(folder / TENSORBOARD, ignore_errors=True)
            self._events = SummaryWriter(str(folder / TENSORBOARD))
        for line in history:
            self.write(line)

    def write(self, line: Mapping[str, Any]) -> None:
        """Add the metrics of an epoch: values of `COLUMNS`, as far as there are any."""
        self._json.write(json.dumps(dict(line), allow_nan=False) + "\n")
        self._json.flush()
        self._rows.writerow(line)
        self._csv.flush()
        if self._events is not None:
            for name in COLUMNS[1:5]:
                if line.get(name) is not None:
                    part, quantity = name.split("_")
                    self._events.add_scalar(f"{quantity}/{part}", line[name], line["epoch"])
            self._events.flush()

    def __enter__(self) -> "MetricsLog":
        """The log itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files."""
        self._json.close()
        self._csv.close()
        if self._events is not None:
            self._events.close()


def check_tensorboard() -> None:
    """Raise ConfigError where the package that writes events is not installed."""
    if importlib.util.find_spec("tensorboardX") is None:
        raise ConfigError(
            "--tensorboard needs the package tensorboardX: pip install 'jaxdigits[tensorboard]'"
        )
