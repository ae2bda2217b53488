"""List the license of each package of this environment; fail where one is not permissive.

    python experiments/licenses.py      # where only the package and what it needs is installed

MPL-2.0 is allowed: it binds changes of its own files, and none is changed here.
"""

import re
from importlib.metadata import distributions
from typing import Any

ALLOWED = re.compile(
    r"(?!.*GPL).*\b(0BSD|AFL|Apache|BSD|CC0|ISC|MIT|MPL|Mozilla|PSF|Python Soft|Zlib)"
)


def licenses(package: dict[str, Any]) -> list[str]:
    """The licenses in a package's metadata, of which `license` may hold a whole text."""
    names = [name.split(" :: ") for name in package.get("classifier", [])]
    said = ", ".join(name[-1] for name in names if name[0] == "License")
    said = package.get("license_expression") or said or package.get("license") or "none named"
    return re.split(" AND | OR |, ", said.strip().split("\n")[0])


def main(packages: list[dict[str, Any]]) -> None:
    """Print each package with its licenses; exit with those that are not allowed."""
    for package in sorted(packages, key=lambda package: package["name"].lower()):
        print(f"{package['name']} {package['version']}: {', '.join(licenses(package))}")
    wrong = [package for package in packages if not all(map(ALLOWED.match, licenses(package)))]
    if wrong:
        raise SystemExit(f"not permissive: {', '.join(package['name'] for package in wrong)}")


if __name__ == "__main__":
    main([package.metadata.json for package in distributions()])
