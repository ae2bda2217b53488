"""What is made while the site is built: reference, report, drawing pages; and a check of links."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import jaxdigits as jd
from jaxdigits.runs.export import make_page

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
PACKAGE = ROOT / "jaxdigits"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made, not written."""
    reference = next(item["Reference"] for item in config.nav or [] if "Reference" in item)
    for path in reference[1:]:  # after the table of names
        room = Path(path).stem
        modules = "\n\n".join(f"::: {name}" for name in _modules(room))
        text = f"# jaxdigits.{room}\n\n{modules}\n"
        files.append(File.generated(config, path, content=text))
    for path in sorted((RESULTS / "posts").iterdir()):
        if path.suffix in (".png", ".md"):
            made = File.generated(config, f"posts/{path.name}", abs_src_path=str(path))
            files.append(made)
    drawn = ("mistakes", "handwriting", "peers", "scaling", "soak")
    for name in (*drawn, "records", "records-minute-left"):
        source = str(RESULTS / f"{name}.png")
        files.append(File.generated(config, f"pictures/{name}.png", abs_src_path=source))
    for name in ("digits", "letters", "characters"):
        page = make_page(jd.load(name))
        files.append(File.generated(config, f"draw/{name}.html", content=page))
    return files


def _modules(room: str) -> list[str]:
    """The modules of a room, itself first."""
    folder = PACKAGE / room
    if not folder.is_dir():
        return [f"jaxdigits.{room}"]
    paths = sorted(path for path in folder.rglob("*.py") if path.stem != "__main__")
    rows = [path for path in paths if not re.fullmatch(r"[abc]\d+", path.stem)]  # of the posts
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in rows]
    return sorted(name.removesuffix(".__init__") for name in names)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let the links of a notebook, which are to sources, lead to pages."""
    del config, files
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    return re.sub(r'href="([^":]+)\.(?:md|ipynb)"', r'href="\1.html"', html)


def on_post_build(config: MkDocsConfig) -> None:
    """Check that every link leads somewhere, and that no page fetches anything from elsewhere.

    Raises:
        PluginError: one does not.
    """
    site = Path(config.site_dir)
    wrong = []
    for page in sorted(site.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        text = re.sub(r'<link[^>]*rel="canonical"[^>]*>', "", text)
        for tag, _, address in re.findall(r'<(\w+)[^>]*?\s(href|src)="([^"]*)"', text):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if tag != "a" and parts.scheme != "data":
                    wrong.append(f"{page.relative_to(site)} fetches {address}")
            elif parts.path and not address.startswith("{"):
                target = (page.parent / unquote(parts.path)).resolve()
                if page.name != "404.html" and not target.exists():
                    wrong.append(f"{page.relative_to(site)} links to {address}")
    if wrong:
        raise PluginError("\n".join(wrong[:20]))
