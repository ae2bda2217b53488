"""The README's programs run, and its figures are those of the results."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_programs_run():
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(programs) == 3
    names: dict = {}
    for program in programs:
        exec(program, names)
    assert (names["labels"] == names["digits"].labels).mean() > 0.85
    assert names["results"].history.validation.accuracy.shape == (5, 5)
    assert names["result"].history.validation.accuracy[-1] > 0.9


def test_the_results_are_up_to_date(python):
    done = python(str(ROOT / "experiments" / "readme_table.py"), "--check")
    assert done.returncode == 0, done.stderr


def test_the_command_it_shows_is_the_one_there_is():
    text = (ROOT / "README.md").read_text()
    assert "pip install -e . && jaxdigits train" in text
    assert "pip install -e '.[test]' && pytest" in text
    assert sys.version_info >= (3, 11)
