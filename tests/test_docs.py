"""What README and documentation show: programs run, commands exist, figures are those measured."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from jaxdigits.cli import COMMANDS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
HANDWRITING = (ROOT / "docs" / "guides" / "handwriting.md").read_text()
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = {
    str(page.relative_to(ROOT)): re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    for page in PAGES
}
TEXTS = [page.read_text() for page in PAGES]
for notebook in sorted((ROOT / "docs").rglob("*.ipynb")):
    cells = json.loads(notebook.read_text())["cells"]
    TEXTS += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
COMMAND = re.compile(r"(?:[`$] ?|^|&& )jaxdigits ([a-z][^`\n#]*)", re.MULTILINE)
SHOWN = sorted({line.strip() for text in TEXTS for line in COMMAND.findall(text)})
"""The commands that the pages show, without their first word."""


@pytest.mark.parametrize("page", [name for name, programs in PROGRAMS.items() if programs])
def test_the_programs_of_a_page_run(page, monkeypatch, tmp_path):
    """One after the other, in an empty folder; what they show they assert."""
    monkeypatch.chdir(tmp_path)
    defined: dict = {}
    for program in PROGRAMS[page]:
        if "onnxruntime" in program:
            pytest.importorskip("onnxruntime")
        exec(program, defined)
    if page == "README.md":
        labels = defined["jd"].data.load("digits", "test").labels
        assert (defined["labels"] == labels).mean() > 0.85
    if page.endswith("getting-started.md"):
        labels = defined["digits"].labels
        recorded = defined["run"].results["test"]["accuracy"]
        assert (defined["labels"] == labels).mean() == recorded > 0.85
        assert (defined["probabilities"].argmax(axis=1) == labels).mean() > 0.95
        assert defined["epoch"].number < 50
        assert defined["stopped"].results["validation"]["accuracy"] > 0.9


def test_the_results_are_up_to_date(python):
    done = python(str(ROOT / "experiments" / "tables.py"), "--check")
    assert done.returncode == 0, done.stderr


def words_of(page):
    """All words of a page, or of a notebook's text, with single spaces."""
    path = ROOT / page
    text = path.read_text()
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = " ".join(line for cell in cells for line in cell["source"])
    return " ".join(text.split())


def result(name):
    return json.loads((ROOT / "experiments" / "results" / name).read_text())


def figure(row, what):
    """A figure of the report: what is posted, and ours in words."""
    rows = {entry["row"]: entry["figures"] for entry in result("posts/report.json")["rows"]}
    found = next(found for found in rows[row] if found["what"] == what)
    (mean, *_), posted = found["ours"], found["posted"]
    if "interval_95" not in found:
        return posted, f"{mean:.2%}"
    low, high = found["interval_95"]
    seeds = f"mean of {found['seeds']} seeds, 95% interval {low:.4f} to {high:.4f}"
    return posted, f"{mean:.4f} ({seeds})"


def test_figures_in_sentences_are_those_measured():
    posted, ours = figure("A9", "after 40 epochs")
    words = words_of("docs/tutorials/from-scratch.ipynb")
    assert f"Post A's figure is {posted} on MNIST after 40 epochs; ours is {ours}" in words
    words = words_of("docs/tutorials/pixels-to-resnet.ipynb")
    posted, ours = figure("B7", "epoch 4")
    assert f"four epochs end at {ours}; the post has {posted}" in words
    absolute, squared = (figure(row, "mean over the classes")[1] for row in ("B1", "B2"))
    assert f"the post's {absolute} and {squared}, mean over the digits" in words
    slowdown = result("worth_of_tricks.json")["rows"]
    slowest = max(row["value"] for row in slowdown.values())
    assert f"trains {slowest:.0f} times as long" in words_of("docs/explanations/convolutions.md")
    accuracy, seconds = result("mnist-train.json")["mean"], result("launch.json")["rows"]["mnist"]
    assert f"to {accuracy:.1%} in about a minute" in words_of("README.md")
    assert f"to {accuracy:.1%} in about a minute" in words_of("docs/getting-started.md")
    assert 40 < seconds["whole_process"] < 80


def test_what_predict_prints(cli):
    """The block in the guide."""
    block = re.search(r"```\n\$ jaxdigits (predict \S+).*?\n(.*?)```", HANDWRITING, re.DOTALL)
    assert block is not None
    code, out, _ = cli("predict", ROOT / block[1].split()[1])
    assert (code, out) == (0, block[2])


def test_the_readme_is_one_screen():
    text = README.read_text()
    assert len(text) < 5_000
    assert "pip install -e . && jaxdigits train" in text
    assert "pip install -e '.[test]' && pytest" in text
    assert sys.version_info >= (3, 11)


@pytest.mark.parametrize("line", SHOWN)
def test_the_commands_they_show_are_there(cli, line):
    words = shlex.split(line)
    name = next(name for name in (" ".join(words[:2]), words[0]) if name in COMMANDS)
    if f"{name} run" in COMMANDS:
        name = f"{name} run"
    code, text, _ = cli(*name.split(), "--help")
    assert code == 0
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"{option}(?![\w-])", text), f"jaxdigits {name} has no {option}"


def test_the_links_of_the_readme_lead_somewhere():
    """Those of the site are checked when it is built."""
    links = [
        link for link in re.findall(r"\]\(([^)#]+)\)", README.read_text()) if "://" not in link
    ]
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_options_of_the_pages_are_there(cli):
    """Options that stand alone in a sentence are those of some command."""
    known = set()
    for name in COMMANDS:
        known |= set(re.findall(r"--[a-z][\w-]*", cli(*name.split(), "--help")[1]))
    others = {"--xla_cpu_use_fusion_emitters", "--strict", "--seed", "--check", "--upgrade"}
    for page in PAGES:
        shown = set(re.findall(r"`(--[a-z][\w-]*)", page.read_text()))
        assert shown - known - others == set(), page


def test_every_page_is_in_the_table_of_contents():
    listed = (ROOT / "mkdocs.yml").read_text()
    for page in sorted((ROOT / "docs").rglob("*")):
        if page.suffix in (".md", ".ipynb"):
            assert str(page.relative_to(ROOT / "docs")) in listed
