"""The README's programs run, its commands exist, and its figures are those of the results."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from jaxdigits.cli import COMMANDS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
SHOWN = sorted(set(re.findall(r"(?:[`$] ?|^|&& )jaxdigits ([a-z][^`\n]*)", TEXT, re.MULTILINE)))
"""The commands that it shows, without their first word."""


@pytest.fixture(scope="module")
def names(tmp_path_factory) -> dict:
    """What the programs define, run one after the other in an empty folder."""
    defined: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("readme"))
        for program in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
            exec(program, defined)
    return defined


def test_fit_and_load(names):
    labels = names["digits"].labels
    assert (names["labels"] == labels).mean() == names["run"].results["test"]["accuracy"] > 0.85
    assert (names["probabilities"].argmax(axis=1) == labels).mean() > 0.95


def test_early_stopping(names):
    assert names["epoch"].number < 50
    assert names["stopped"].results["validation"]["accuracy"] > 0.9


def test_parts_and_data_of_your_own(names):
    assert names["colors"].own == ("loss", "optimizer")
    assert names["colors"].image_shape == (32, 32, 3)
    assert names["colors"].class_names == ("even", "odd")


def test_fine_tuning(names):
    assert names["tuned"].config.model == "convnet"
    assert names["tuned"].results["test"]["accuracy"] > 0.95


def test_a_network_of_your_own(names):
    assert names["own"].own == ("model",)
    assert (names["own"].predict(names["digits"].images) == names["digits"].labels).mean() > 0.8


def test_many_runs_in_one_program(names):
    assert names["accuracies"].shape == (2, 3)
    assert (names["accuracies"] > 0.8).all()


def test_the_results_are_up_to_date(python):
    done = python(str(ROOT / "experiments" / "readme_table.py"), "--check")
    assert done.returncode == 0, done.stderr


def test_the_commands_to_begin_with():
    assert "pip install -e . && jaxdigits train" in TEXT
    assert "pip install -e '.[test]' && pytest" in TEXT
    assert sys.version_info >= (3, 11)


@pytest.mark.parametrize("line", SHOWN)
def test_the_commands_it_shows_are_there(cli, line):
    words = shlex.split(line)
    name = next(name for name in (" ".join(words[:2]), words[0]) if name in COMMANDS)
    if f"{name} run" in COMMANDS:
        name = f"{name} run"
    code, text, _ = cli(*name.split(), "--help")
    assert code == 0
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"{option}(?![\w-])", text), f"jaxdigits {name} has no {option}"


def test_its_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", TEXT) if "://" not in link]
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []
