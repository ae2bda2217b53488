"""The command line as a user runs it: most tests in this process, some in one of their own."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import notes

from jaxdigits import TrainConfig
from jaxdigits.cli import COMMANDS
from jaxdigits.runs.folder import PICTURES, RUN_FILES

COMMAND = [sys.executable, "-m", "jaxdigits"]


def train_digits(cli, out: Path, *more: object) -> tuple[int, str, str]:
    settings = ("--dataset", "digits", "--model", "mlp", "--epochs", "2", "--out", out)
    return cli("train", *settings, *more)


def test_help_imports_nothing_heavy(python):
    """Of any command; the main help does not even need what parses arguments."""
    code = (
        "import sys; from jaxdigits.cli import COMMANDS, main\n"
        "main(['--help'])\n"
        "assert 'argparse' not in sys.modules\n"
        "for name in COMMANDS:\n"
        "    try: main([*name.split(), '--help'])\n"
        "    except SystemExit: pass\n"
        "print([m for m in ('jax', 'numpy', 'matplotlib', 'sklearn') if m in sys.modules])"
    )
    done = python("-c", code)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert done.stderr == ""
    assert done.stdout.count("usage: jaxdigits ") == len(COMMANDS)


def test_the_help_of_training_tells_every_setting(cli, monkeypatch):
    """With its default, in groups, as wide as the terminal."""
    monkeypatch.setenv("COLUMNS", "70")
    code, out, err = cli("train", "--help")
    assert (code, err) == (0, "")
    assert out.startswith("usage: jaxdigits train [options]\n")
    assert 60 < max(map(len, out.splitlines())) <= 70
    words = " ".join(out.split())
    for field in dataclasses.fields(TrainConfig):
        assert re.search(rf"^  --{field.name.replace('_', '-')} ", out, re.MULTILINE)
    assert "--batch-size N examples per step; the last batch of an epoch may be smaller. " in words
    assert "(default: 64)" in words
    assert re.findall(r"^(\w.*):$", out, re.MULTILINE) == [
        "options",
        *(f"{name} options" for name in ("common", "saving", "checkpoint", "data", "network")),
        *(f"{name} options" for name in ("training", "run", "several hosts", "profiling")),
    ]


def test_the_main_help_tells_every_command(cli):
    code, out, err = cli("--help")
    assert (code, err) == (0, "")
    assert cli() == cli("-h") == (0, out, "")
    for name, (_, told) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(told)}$", out, re.MULTILINE)
    code, group, _ = cli("data", "--help")
    assert code == 0
    assert "data export" in group
    assert "  sweep" not in group
    assert cli("data") == (2, group, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "there is no command 'trian'; did you mean `jaxdigits train`?"),
        (["data", "lst"], "there is no command 'data lst'; did you mean `jaxdigits data list`?"),
        (["bench", "time"], "did you mean `jaxdigits bench time-to`?"),
        (["xyz", "--epochs", "3"], "there is no command 'xyz'; see `jaxdigits --help`"),
    ],
)
def test_a_mistyped_command(cli, words, message):
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    assert err.startswith("jaxdigits: ")
    assert err.endswith(f"{message}\n")


def test_the_main_job(python):
    """`jaxdigits train` without MNIST: says so in one line, and trains on what is inside.

    (`.ci/run` runs it with all its epochs.)
    """
    done = python("-m", "jaxdigits", "train", "--epochs", "2")
    assert done.returncode == 0, done.stderr
    reason, trained, *epochs = done.stderr.strip().splitlines()
    assert reason.startswith(
        "MNIST is not prepared, and the proxy on the way to storage.googleapis"
    )
    assert "--manual-dir" in reason
    about = "training convnet with 135,114 parameters on digits: 1,317 images, 2 epochs of 21 steps"
    assert re.fullmatch(rf"{about}, on \d+ devices? \(cpu\)", trained)
    line = r"epoch {} of 2: loss \d\.\d{{4}}, validation accuracy \d+\.\d\d%, \d+\.\d s"
    assert len(epochs) == 2
    for number, words in enumerate(epochs, start=1):
        assert re.fullmatch(line.format(number), words)
    assert re.search(r"^test +360 .*[0-9]%$", done.stdout, re.MULTILINE)
    assert Path("runs/digits-convnet/run.json").is_file()


def test_tensorflow_is_not_imported(python):
    code = (
        "import sys; from jaxdigits.cli import main;"
        "main(['train', '--model', 'linear', '--epochs', '1']);"
        "assert 'tensorflow' not in sys.modules"
    )
    assert python("-c", code).returncode == 0


def test_evaluate_gives_the_figures_again(cli, tmp_path):
    code, out, err = train_digits(cli, tmp_path / "run", "--json")
    assert (code, notes(err)) == (0, "")
    trained = json.loads(out)
    code, out, err = cli("evaluate", tmp_path / "run", "--json")
    assert (code, err) == (0, "")
    again = json.loads(out)
    assert again["same_as_recorded"] is True
    assert again["results"] == trained["results"]
    code, out, _ = cli("evaluate", tmp_path / "run")
    assert code == 0
    assert "the same figures as at the end of training" in out
    assert f"{trained['results']['test']['accuracy']:.2%}" in out


@pytest.mark.parametrize(("value", "drawn"), [("0", ()), ("1", PICTURES)])
def test_pictures_are_drawn_unless_omitted(cli, monkeypatch, value, drawn):
    """What is said to be written is."""
    monkeypatch.setenv("JAXDIGITS_PICTURES", value)
    code, out, _ = train_digits(cli, Path("run"))
    names = [name for name in RUN_FILES if name not in PICTURES] + list(drawn)
    assert code == 0
    assert out.endswith(f"run: {', '.join(names)}\n")
    assert {path.name for path in Path("run").iterdir()} == set(names)


def test_json_is_one_object_and_nothing_else(python, emnist_files):
    commands = (
        ("train", "--dataset", "digits", "--model", "mlp", "--epochs", "1", "--out", "run"),
        ("evaluate", "run"),
        ("data", "list"),
        ("data", "prepare", "emnist/letters", "--manual-dir", str(emnist_files)),
        ("data", "show", "digits"),
    )
    code = (
        "from jaxdigits.cli import main\n"
        f"for command in {commands}:\n"
        "    assert main([*command, '--json']) == 0\n"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [type(json.loads(line)) for line in lines] == [dict] * len(commands)


def test_a_taken_folder_is_kept(cli, tmp_path):
    train_digits(cli, tmp_path / "run")
    before = (tmp_path / "run" / "run.json").read_bytes()
    code, out, err = train_digits(cli, tmp_path / "run")
    assert (code, out) == (2, "")
    assert "is taken; choose another --out, or give --overwrite" in err
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    code, _, _ = train_digits(cli, tmp_path / "run", "--overwrite", "--seed", "1")
    assert code == 0
    assert (tmp_path / "run" / "run.json").read_bytes() != before


def test_a_folder_with_other_files_is_kept(cli, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    code, _, err = train_digits(cli, folder, "--overwrite")
    assert code == 2
    assert "holds other files, such as" in err
    assert (folder / "thesis.txt").read_text() == "years of work"
    folder.rename(tmp_path / "run.unfinished")
    code, _, err = train_digits(cli, tmp_path / "run")
    assert code == 2
    assert "holds other files, such as thesis.txt" in err


def test_overwrite_loses_nothing_when_the_data_are_missing(cli, tmp_path):
    train_digits(cli, tmp_path / "run")
    before = (tmp_path / "run" / "run.json").read_bytes()
    code, _, err = cli("train", "--dataset", "mnist", "--out", tmp_path / "run", "--overwrite")
    assert code == 2
    assert "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609" in err
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_a_folder_without_write_permission(cli, read_only):
    code, out, err = train_digits(cli, read_only)
    assert (code, out) == (2, "")
    assert "cannot write" in err
    assert "Permission denied; choose another place" in err
    code, _, err = train_digits(cli, read_only / "deeper" / "run")
    assert code == 2
    assert "Permission denied" in err
    code, _, err = cli("data", "show", "digits", "--out", read_only / "digits.png")
    assert code == 2
    assert "Permission denied; choose another place" in err


def test_out_is_a_file(cli, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = train_digits(cli, tmp_path / "file")
    assert code == 2
    assert "holds other files" in err or "cannot write" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--epochs", "-1"], "jaxdigits: epochs must be 0 to 1000000, not -1"),
        (
            ["train", "--hidden", "0"],
            "hidden must be widths of 1 to 1000000000000, not (0,)",
        ),
        (["train", "--epochs", "many"], "jaxdigits: epochs must be a whole number, not 'many'"),
        (["train", "--model", "transformer"], "pixel, not 'transformer'"),
        (["train", "--no-such-flag"], "there is no option --no-such-flag; see `jaxdigits train -"),
        (["train", "--bacth-size=3"], "--bacth-size (did you mean --batch-size?); see `jaxdigits"),
        (["train", "--batch", "3"], "there is no option --batch"),
        (["train", "--batch_size", "0"], "batch_size must be 1 or more, not 0"),
        (["train", "--seeds", "x"], "argument --seeds: invalid int value: 'x'; see `jaxdigits tr"),
        (["train", "--out"], "argument --out: expected one argument; see `jaxdigits train --help`"),
        (["train", "--no-stream"], "there is no option --no-stream"),
        (["train", "--stream", "no"], "unexpected argument 'no'; see `jaxdigits train --help`"),
        (["evaluate"], "the following arguments are required: RUN; see `jaxdigits evaluate --he"),
        (["classify", "a_b", "--json", "--", "c.png"], "there is no run in a_b"),
        (["--print-completion"], "--print-completion takes the name of a shell, one of bash, zsh"),
        (["train", "--dataset", "minst"], "jaxdigits: there is no dataset 'minst'"),
        (["train", "--dataset", "kmnist"], "jaxdigits: kmnist is not prepared"),
        (["train", "--manual-dir", "nowhere"], "nowhere is not a folder"),
        (["evaluate", "nowhere"], "jaxdigits: there is no run in nowhere"),
        (["data", "prepare", "minst"], "there is no dataset 'minst'"),
        (["data", "show", "digits", "--count", "0"], "count must be 1 to 1000, not 0"),
        (["data", "show", "digits", "--split", "tset"], "--split"),
        (["train", "--hidden", "8"], "hidden applies to model mlp only, not to convnet; omit it"),
        (["train", "--momentum", "0.9"], "momentum applies to optimizer sgd only, not to adamw"),
        (["train", "--optimizer", "momentum"], "optimizer must be one of sgd, adam, adamw"),
        (["train", "--epochs", "3,4"], "--epochs has several values: `jaxdigits sweep` takes list"),
    ],
)
def test_wrong_input(cli, arguments, message):
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not Path("runs").exists()


def test_wrong_input_makes_no_folder(cli, tmp_path):
    assert cli("train", "--dataset", "minst", "--out", tmp_path / "a" / "b")[0] == 2
    assert not (tmp_path / "a").exists()


def test_a_named_folder_without_mnist_is_an_error_and_no_fallback(cli, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = cli("train", "--manual-dir", tmp_path / "empty")
    assert code == 2
    assert "train-images-idx3-ubyte.gz" in err


def test_evaluate_refuses_other_data(cli, tmp_path, emnist_files):
    from helpers import emnist_arrays, write_emnist

    out = tmp_path / "run"
    files = ("--manual-dir", emnist_files)
    code, _, err = cli(
        "train",
        "--dataset",
        "emnist/letters",
        "--model",
        "mlp",
        "--epochs",
        "1",
        "--out",
        out,
        *files,
    )
    assert code == 0, err
    write_emnist(tmp_path / "other", train_images=emnist_arrays()["train-images"][::-1])
    places = ("--data-dir", tmp_path / "elsewhere", "--manual-dir", tmp_path / "other")
    code, stdout, err = cli("evaluate", out, *places)
    assert (code, stdout) == (2, "")
    assert "the run was trained on emnist/letters" in err


def test_a_diverged_run_says_so(cli, tmp_path):
    code, out, err = train_digits(
        cli, tmp_path / "run", "--optimizer", "sgd", "--schedule", "constant",
        "--learning-rate", "1e20", "--json",
    )  # fmt: skip
    assert code == 0
    assert "training diverged; try a smaller --learning-rate" in err
    assert json.loads(out)["results"]["test"]["loss"] is None
    assert cli("evaluate", tmp_path / "run")[0] == 0


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists()


LONG = ["train", "--dataset", "digits", "--model", "mlp", "--epochs", "100000", "--out", "run"]


def test_progress_is_shown_on_a_terminal():
    """Elsewhere there is a line for each epoch: see `test_the_main_job`."""
    pty = pytest.importorskip("pty")
    import fcntl
    import struct
    import termios

    settings = ["--dataset", "digits", "--model", "linear", "--epochs", "3"]
    arguments = ["-m", "jaxdigits", "train", *settings]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 110, 0, 0))
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        done = subprocess.run(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=theirs, check=True
        )
        os.close(theirs)
        shown = terminal.read(65536)
    assert re.search(rb"/3 .*loss \d\.\d+, validation accuracy \d", shown)
    assert b"accuracy" in done.stdout


@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_interrupted(cli, delay):
    """Twice: at once and without a word too many, whatever it is doing; the older run stays."""
    train_digits(cli, Path("run"))
    before = Path("run/run.json").read_bytes()
    command = [*COMMAND, *LONG, "--overwrite"]
    # What other tests kill leaves half of a compiled program behind, of which jax would warn.
    alone = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=alone) as process:
        wait_for(Path("run.unfinished/metrics.jsonl"))
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        lines = (line for line in process.stderr if notes(line))
        assert [next(lines), next(lines)] == [
            "\n",
            "jaxdigits: finishing this epoch and saving; press again to stop now\n",
        ]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert "".join(lines) == "\njaxdigits: stopped\n"
    assert Path("run/run.json").read_bytes() == before


def test_killed(cli):
    process = subprocess.Popen([*COMMAND, *LONG])
    wait_for(Path("run.unfinished/metrics.jsonl"))
    process.kill()
    process.wait()
    Path("run.unfinished/.curves-abc.png").touch()  # as if killed while drawing
    assert not Path("run").exists()
    code, _, err = cli("evaluate", "run")
    assert code == 2
    assert "there is no run in run" in err
    assert train_digits(cli, Path("run"))[0] == 0
    assert cli("evaluate", "run")[0] == 0
    assert not Path("run.unfinished").exists()


def test_two_runs_into_one_folder(cli):
    process = subprocess.Popen([*COMMAND, *LONG])
    wait_for(Path("run.unfinished/metrics.jsonl"))
    code, _, err = train_digits(cli, Path("run"))
    process.kill()
    process.wait()
    assert code == 2
    assert "another process is writing to" in err


def test_runs_without_a_folder_are_numbered(cli):
    for _ in range(2):
        assert cli("train", "--dataset", "digits", "--model", "mlp", "--epochs", "1")[0] == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["digits-mlp", "digits-mlp-2"]
    again = ("--model", "mlp", "--epochs", "1", "--overwrite")
    assert cli("train", "--dataset", "digits", *again)[0] == 0
    assert len(list(Path("runs").iterdir())) == 2


def test_a_reader_that_has_seen_enough(python):
    for command in (["data", "list"], ["train", "--help"]):
        line = f"{sys.executable} -m jaxdigits {' '.join(command)} | head -c 10"
        done = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        assert len(done.stdout) == 10


def test_too_large_for_the_memory(cli, tmp_path):
    code, _, err = train_digits(cli, tmp_path / "run", "--hidden", "100000000000")
    assert code == 2
    assert "does not fit into memory" in err
    assert not (tmp_path / "run").exists()
    # Larger than the data is not too large: a batch is then all of them.
    assert train_digits(cli, tmp_path / "run", "--batch-size", "1000000000000")[0] == 0


def test_figures_that_are_not_the_recorded_ones(cli):
    train_digits(cli, Path("run"))
    document = json.loads(Path("run/run.json").read_text())
    document["results"]["test"]["loss"] += 1e-7
    document["versions"]["jax"] = "0.0.1"
    Path("run/run.json").write_text(json.dumps(document))
    code, out, _ = cli("evaluate", "run")
    assert code == 0
    assert "NOT the figures that were recorded" in out
    assert "jax 0.0.1, now" in out


def test_paths_from_home(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert train_digits(cli, Path("~/run"))[0] == 0
    assert (tmp_path / "run" / "run.json").is_file()
    assert cli("evaluate", "~/run")[0] == 0


def test_data_list(cli, emnist_files):
    cli("data", "prepare", "emnist/letters", "--manual-dir", emnist_files)
    code, out, _ = cli("data", "list")
    assert code == 0
    assert max(map(len, out.splitlines())) < 80
    lines = {line.split()[0]: line for line in out.splitlines()[1::2]}
    assert len(lines) == 10
    assert "always there" in lines["digits"]
    assert "not prepared" in lines["mnist"]
    assert "55,000/5,000/10,000" in lines["mnist"]
    assert "238/22/52" in lines["emnist/letters"]


def test_a_damaged_data_set_does_not_hide_the_others(cli, emnist_files):
    cli("data", "prepare", "emnist/letters", "--manual-dir", emnist_files)
    for index in Path("datasets").rglob("arrays.json"):
        index.write_text("{")
    code, out, err = cli("data", "list")
    assert code == 0
    assert re.search(r"emnist/letters .* damaged", out)
    assert "delete that folder and prepare again" in err


def test_data_prepare_says_when_the_counts_are_not_official(cli, emnist_files):
    code, out, err = cli("data", "prepare", "emnist/letters", "--manual-dir", emnist_files)
    assert code == 0
    assert "238/22/52 images" in out
    assert "is not the official one of 124,800 training and 20,800 test images" in err


def test_data_show(cli, tmp_path):
    from PIL import Image

    code, out, _ = cli("data", "show", "digits", "--split", "test", "--count", "20")
    assert code == 0
    assert "drawn to digits-test.png" in out
    with Image.open("digits-test.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 500
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits-test.png"]


def test_version(cli):
    assert cli("--version")[:2] == (0, "jaxdigits 0.1.0\n")


def test_completion_in_bash(cli):
    """Of commands, options, choices, and files."""
    code, script, err = cli("--print-completion", "bash")
    assert (code, err) == (0, "")
    Path("completion.bash").write_text(script)
    Path("mine").mkdir()

    def complete(*words: str) -> list[str]:
        code = 'source ./completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        code += '_shtab_jaxdigits jaxdigits "${@: -1}"; printf \'%s\\n\' "${COMPREPLY[@]}"'
        line = ["bash", "-c", code, "bash", "jaxdigits", *words]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()

    assert {"train", "sweep", "reproduce", "data", "bench"} < set(complete(""))
    assert complete("data", "") == ["list", "prepare", "show", "export"]
    assert complete("bench", "t") == ["time-to"]
    assert complete("train", "--le") == ["--learning-rate"]
    assert complete("data", "show", "--split", "") == ["train", "validation", "test"]
    assert complete("evaluate", "m") == ["mine"]


def test_evaluate_on_jittered_images(cli, tmp_path):
    """Post C row C5: ten draws, their mean and its interval; the usual figures stay."""
    train_digits(cli, tmp_path / "run")
    code, out, err = cli("evaluate", tmp_path / "run", "--jittered", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["same_as_recorded"] is True
    jittered = document["jittered"]
    low, high = jittered["interval_95"]
    assert len(jittered["draws"]) == 10
    assert jittered["accuracy"] == pytest.approx(sum(jittered["draws"]) / 10)
    assert min(jittered["draws"]) < low < jittered["accuracy"] < high < max(jittered["draws"])
    assert high < document["results"]["test"]["accuracy"]
    code, out, _ = cli("evaluate", tmp_path / "run", "--jittered")
    assert code == 0
    assert "the same figures as at the end of training" in out
    assert f"{jittered['accuracy']:.2%} (mean of 10 draws, 95% interval" in out
    assert "jittered" not in json.loads(cli("evaluate", tmp_path / "run", "--json")[1])


def test_augmentation_and_devices_as_given(cli):
    """Names joined by + are kept as two; the epochs of the run are kept where none are given.

    The batch is shared by the two devices that there are.
    """
    code, out, err = cli(
        "train", "--dataset", "digits", "--model", "linear", "--augment", "shift+rotate",
        "--devices", "2", "--out", "run", "--json",
    )  # fmt: skip
    assert (code, notes(err)) == (0, "")
    config = json.loads(Path("run/run.json").read_text())["config"]
    assert config["augment"] == ["shift", "rotate"]
    assert config["epochs"] == 10
    assert len(Path("run/metrics.jsonl").read_text().splitlines()) == 11
    assert json.loads(out)["results"]["test"]["accuracy"] > 0.7
    assert json.loads(cli("evaluate", "run", "--json")[1])["same_as_recorded"] is True


def test_settings_as_the_posts_write_them(cli):
    """Two hidden layers, plain SGD with momentum, and a moving average."""
    code, _, err = cli(
        "train", "--dataset", "digits", "--model", "mlp", "--hidden", "64x32", "--epochs", "1",
        "--optimizer", "sgd", "--momentum", "0.9", "--ema-decay", "0.99", "--out", "run",
    )  # fmt: skip
    assert (code, notes(err)) == (0, "")
    config = json.loads(Path("run/run.json").read_text())["config"]
    assert config["hidden"] == [64, 32]
    assert (config["optimizer"], config["momentum"], config["ema_decay"]) == ("sgd", 0.9, 0.99)


def test_augmentation_that_suits_the_model(cli):
    code, _, _ = cli(
        "train", "--dataset", "digits", "--model", "linear", "--epochs", "0", "--out", "run"
    )
    assert code == 0
    assert json.loads(Path("run/run.json").read_text())["config"]["augment"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--devices", "3"], "jaxdigits: devices must be 1 to 2, as many as jax has here, not 3"),
        (["--devices", "0", "--model", "mlp"], "devices must be 1 to 2"),
        (["--augment", "flip"], "contrast, noise, erase, not 'flip'"),
        (["--augment", "shift+flip"], "contrast, noise, erase, not 'flip'"),
        (["--dropout", "1"], "jaxdigits: dropout must be at least 0 and below 1, not 1.0"),
        (
            ["--label-smoothing", "0.1", "--loss", "softmax_mse"],
            "jaxdigits: label_smoothing is for loss cross_entropy, not for softmax_mse",
        ),
        (["--stem", "5x5"], "stem must be one of 7x7, 3x3, not '5x5'"),
        (["--augment", "shift,rotate"], "--augment has several values: `jaxdigits sweep` takes"),
    ],
)
def test_wrong_settings_of_training(cli, arguments, message):
    code, out, err = cli("train", "--dataset", "digits", *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert not Path("runs").exists()


def test_compiled_programs_are_kept(python, tmp_path):
    """The next process finds them, says nothing about it, and computes the same."""
    settings = ("--model", "linear", "--dataset", "digits", "--epochs", "1", "--out", "run")
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "kept"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    train = ("-m", "jaxdigits", "train", *settings)
    first = python(*train, env=environment)
    assert (first.returncode, notes(first.stderr)) == (0, "")
    params = Path("run/params.safetensors").read_bytes()
    kept = sorted((tmp_path / "kept").iterdir())
    assert any("train_epoch" in path.name for path in kept)
    # On some processors jaxlib refuses what it kept itself (jax issue 38445).
    count = (
        "import collections, sys, jax; found = collections.Counter();"
        "jax.monitoring.register_event_listener(lambda name, **_: found.update([name]));"
        "from jaxdigits.cli import main; main(sys.argv[1:]);"
        "print(*(found[f'/jax/compilation_cache/cache_{one}'] for one in ('hits', 'misses')))"
    )
    prepare = "from jaxdigits.environment import prepare_jax; prepare_jax();"
    again = python("-c", prepare + count, *train[2:], "--overwrite", env=environment)
    assert (again.returncode, notes(again.stderr)) == (0, "")
    hits, misses = map(int, again.stdout.splitlines()[-1].split())
    assert (hits > 5, misses) == (True, 0)
    assert sorted((tmp_path / "kept").iterdir()) == kept
    assert Path("run/params.safetensors").read_bytes() == params
    environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "none")
    for enabled in ("false", "true"):
        environment["JAX_ENABLE_COMPILATION_CACHE"] = enabled
        code = (
            "from jaxdigits.environment import prepare_jax; prepare_jax(); import jax;"
            "jax.jit(lambda x: x + 1)(1)"
        )
        assert python("-c", code, env=environment).returncode == 0
        assert any((tmp_path / "none").glob("*")) == (enabled == "true")


def test_settings_of_jax(monkeypatch):
    """A device for each core, and the user's cache folder, where the user did not say otherwise."""
    from platformdirs import user_cache_path

    from jaxdigits.environment import prepare_jax, usable_cores

    names = "JAX_NUM_CPU_DEVICES", "JAX_COMPILATION_CACHE_DIR"
    for given in ("", "7"):
        for name in names:
            monkeypatch.setenv(name, given)
        prepare_jax()
        defaults = str(usable_cores()), str(user_cache_path("jaxdigits") / "compiled")
        expected = (given, given) if given else defaults
        assert tuple(os.environ[name] for name in names) == expected


def test_a_cache_folder_that_cannot_be_written(monkeypatch, tmp_path):
    """Then programs are compiled each time, without a word."""
    from jaxdigits.environment import prepare_jax

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    prepare_jax()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


def test_a_compiled_program_that_is_half_written(monkeypatch, tmp_path, python):
    """A process killed while it wrote one must not keep others from writing theirs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    code = (
        "from jaxdigits.environment import prepare_jax; prepare_jax(); import jax, platformdirs;"
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0);"
        "jax.jit(lambda x: x + 1)(1); print(platformdirs.user_cache_path('jaxdigits'))"
    )
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    cache = Path(done.stdout.strip()) / "compiled"
    whole = {path.name for path in cache.glob("*-cache")}
    assert whole
    (cache / "half-cache").write_bytes(b"written by a process that was ki")
    done = python("-c", code.replace("x + 1", "x * 3 - 2"))
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in cache.glob("*-cache")} > whole
    assert not (cache / "half-cache").exists()


def test_nobody_reads_the_progress(tmp_path):
    """A closed pipe on standard error ends no training."""
    command = [*COMMAND, "train", "--dataset", "digits", "--model", "linear", "--epochs", "3"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*command, "--out", "unread"], stdout=subprocess.PIPE, stderr=write, check=False
    )
    os.close(write)
    assert done.returncode == 0
    assert Path("unread/run.json").is_file()
