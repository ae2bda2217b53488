"""What a run says on its way: the bar, the lines, and the announcement."""

import sys
import time
from typing import Any

import jax.numpy as jnp
import pytest
from helpers import Terminal

import jaxdigits as jd
from jaxdigits.runs.inputs import InputPipeline
from jaxdigits.runs.loop import ProgressBar, announcement, metrics_line, train_loop
from jaxdigits.runs.resume import CheckpointHook
from jaxdigits.training.state import Metrics
from jaxdigits.training.trainer import make_trainer


def line(epoch: int) -> dict:
    return {
        "epoch": epoch,
        "train_loss": 0.25,
        "train_accuracy": 0.5,
        "validation_loss": 0.5,
        "validation_accuracy": 0.875,
        "seconds": 1.26,
    }


WORDS = "loss 0.2500, validation accuracy 87.50%"


def test_a_bar_in_a_terminal(monkeypatch):
    """How much is done, of how many, and the last metrics; at the end nothing is left of it."""
    terminal = Terminal()
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    with ProgressBar(8, "part", show=True) as bar:
        bar.reach(2)
        bar.begin("batch 1", "3 networks")
        bar.reach(3)
        bar.end_epoch(line(1), 4)
    shown = terminal.getvalue().split("\r")
    assert any("0/8 [00:00<?, ?part/s]" in text for text in shown)
    assert any("batch 1:" in text and "2/8" in text for text in shown)
    assert any("3/8" in text and WORDS in text for text in shown)
    assert "3 networks" not in terminal.getvalue()
    assert "\n" not in terminal.getvalue()
    assert shown[-1] == ""
    assert shown[-2].strip() == ""


def test_nothing_is_shown_where_it_is_not_asked_for(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with ProgressBar(8, "epoch", show=False) as bar:
        bar.begin("batch 1", "3 networks")
        bar.say("training")
        bar.reach(3)
        bar.end_epoch(line(1), 4)
    assert terminal.getvalue() == ""


def test_lines_where_there_is_no_terminal(capsys):
    with ProgressBar(2, "epoch", show=True) as bar:
        bar.begin("batch 1", "3 networks")
        bar.end_epoch(line(1), 2)
        bar.part = "batch 1, "
        bar.end_epoch(line(2), 2)
    assert capsys.readouterr() == (
        "",
        f"batch 1: 3 networks\nepoch 1 of 2: {WORDS}, 1.3 s\n"
        f"batch 1, epoch 2 of 2: {WORDS}, 1.3 s\n",
    )


@pytest.mark.parametrize(
    ("epochs", "step", "expected"),
    [
        (100, 0.0, list(range(1, 101))),
        (101, 0.0, [1, 101]),
        (101, 0.25, [*range(1, 101, 4), 101]),
        (101, 1.0, list(range(1, 102))),
        (101, 0.75, [*range(1, 102, 2)]),
    ],
)
def test_of_many_epochs_not_each_has_a_line(monkeypatch, capsys, epochs, step, expected):
    """At most one a second, and the last."""
    now = [5.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with ProgressBar(epochs, "epoch", show=True) as bar:
        for epoch in range(1, epochs + 1):
            bar.end_epoch(line(epoch), epochs)
            now[0] += step
    lines = capsys.readouterr().err.splitlines()
    assert [int(text.split()[1]) for text in lines] == expected


def test_a_reader_that_has_left(monkeypatch):
    """It ends no training; nor does a program without a standard error."""
    with monkeypatch.context() as patched, ProgressBar(2, "epoch", show=True) as bar:
        patched.setattr(sys, "stderr", None)
        bar.say("nobody hears")
    for error in (BrokenPipeError, ValueError):

        class Closed(Terminal):
            def write(self, text: str) -> int:
                raise error  # noqa: B023

        with monkeypatch.context() as patched, ProgressBar(2, "epoch", show=True) as bar:
            patched.setattr(sys, "stderr", Closed())
            bar.say("nobody hears")


def test_metrics_of_one_and_of_many(capsys):
    """Of members the accuracies from the worst to the best; a loss that is no number is nan."""
    with ProgressBar(1, "epoch", show=True) as bar:
        bar.end_epoch({**line(1), "train_loss": None}, 1)
        bar.end_epoch({**line(1), "validation_accuracy": [0.5, 0.25, 0.75]}, 1)
        bar.end_epoch({**line(1), "validation_accuracy": [0.5], "train_loss": [0.125]}, 1)
    assert [text.partition(": ")[2] for text in capsys.readouterr().err.splitlines()] == [
        "loss nan, validation accuracy 87.50%, 1.3 s",
        "validation accuracy 25.00% to 75.00%, 1.3 s",
        "loss 0.1250, validation accuracy 50.00%, 1.3 s",
    ]


def test_metrics_as_plain_values():
    train = Metrics(jnp.array([0.5, jnp.inf, jnp.nan]), jnp.ones(3))
    validation = Metrics(jnp.float32(jnp.inf), jnp.float32(0.25))
    assert metrics_line(train, validation) == {
        "train_loss": [0.5, None, None], "train_accuracy": [1, 1, 1],
        "validation_loss": None, "validation_accuracy": 0.25,
    }  # fmt: skip
    assert metrics_line() == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 1}, "1 epoch of 11 steps, on 1 device (cpu)"),
        ({"epochs": 20}, "20 epochs of 11 steps, on 1 device (cpu)"),
        ({"epochs": 0}, "no epochs, on 1 device (cpu)"),
        ({"precision": "float32"}, "2 epochs of 11 steps, on 1 device (cpu), in float32"),
        (
            {"precision": "bfloat16"},
            "2 epochs of 11 steps, on 1 device (cpu), in bfloat16, which is slower than float32 on "
            "a CPU",
        ),
    ],
)
def test_the_announcement(digits, changes, words):
    """784 * 8 + 8 + 8 * 10 + 10 parameters."""
    config = jd.TrainConfig(model="mlp", hidden=(8,), batch_size=128, epochs=2).replace(**changes)
    found = announcement(make_trainer(config, digits), "digits")
    assert found == f"training mlp with 6,370 parameters on digits: 1,317 images, {words}"


def test_the_announcement_of_an_own_network(digits):
    linear = jd.models.linear
    model = jd.Model(lambda key: linear.init(key, 10), linear.apply)
    config = jd.TrainConfig(batch_size=2000, epochs=3)
    found = announcement(make_trainer(config, digits, model=model), "mine")
    assert found.startswith(
        "training own network with 7,850 parameters on mine: 1,317 images, 3 ep"
    )
    assert "3 epochs of 1 steps" in found


def test_the_bar_of_a_run(monkeypatch):
    """Of its epochs, or of their parts where images stream; it begins where the run does."""
    monkeypatch.setattr("jaxdigits.runs.session.draw", lambda *_: None)
    monkeypatch.setattr("jaxdigits.runs.inputs.CHUNK_IMAGES", 512)
    monkeypatch.delenv("COLUMNS", raising=False)
    config = jd.TrainConfig(dataset="digits", model="linear", batch_size=128, epochs=2)
    for stream, total, unit in ((False, 2, "epoch"), (True, 6, "part")):
        options: dict[str, Any] = {"folder": unit, "stream": stream, "progress": True}
        shown = []
        for resume in (False, True):
            terminal = Terminal()
            with monkeypatch.context() as patched:
                patched.setattr(sys, "stderr", terminal)
                for epoch in jd.epochs(config, resume=resume, **options):
                    if not resume and epoch.number == 1:
                        break
            shown.append(next(text for text in terminal.getvalue().split("\r") if "loss" in text))
            assert f"0/{total} [00:00<?, ?{unit}/s]" in terminal.getvalue()
            assert "training linear with 7,850 parameters on digits" in terminal.getvalue()
        # The metrics of an epoch are shown before its last part is counted.
        assert f" {total // 2 - 1}/{total} " in shown[0]
        assert f" {total - 1}/{total} " in shown[1]


def test_an_epoch_takes_until_its_results_are_there(monkeypatch):
    """Programs run on while Python goes ahead: what they leave is waited for."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    class Late:
        def block_until_ready(self) -> "Late":
            now[0] += 4
            return self

    class Inputs(InputPipeline):
        num_epochs, chunks_per_epoch = 2, 2

        def shapes(self) -> Any:
            pytest.fail("there is no checkpoint")

        place = state = lambda self, progress: progress

        def start(self) -> int:
            return 0

        def compile(self, progress: Any) -> None:
            now[0] += 7

        def evaluate(self, progress: Any) -> Metrics:
            return Metrics(jnp.float32(0.5), jnp.float32(0.25))

        def train(self, progress: Any, chunk: int) -> Any:
            assert (progress, chunk) == (0, 0)
            for number in range(1, 5):
                now[0] += 1
                yield Late(), None if number % 2 else self.evaluate(None)

    seen, progress = [], None
    with CheckpointHook() as hook:
        for progress in train_loop(Inputs(), hook):
            now[0] += 50  # of the loop's body: not of training
            seen.append((progress.chunks, progress.seconds))
    assert seen == [
        (0, {"compile": 7, "train": 0}),
        (2, {"compile": 7, "train": 10}),
        (4, {"compile": 7, "train": 20}),
    ]
    assert progress is not None
    assert [line.get("seconds") for line in progress.history] == [None, 10, 10]
    assert [line["epoch"] for line in progress.history] == [0, 1, 2]
