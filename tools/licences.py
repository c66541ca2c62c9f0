"""The licences of everything in the lock, and of torch: read from what is installed, written as a table.

    python tools/licences.py              # writes requirements/LICENCES.md
    python tools/licences.py --print

A package says its licence in one of three places, looked up in this order: the SPDX expression of its metadata, its
free text where that is one known name, its classifier. A text that is none of the names below stops with the name of
the package, so that a person reads the licence before it is listed.
"""

import re
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements" / "lock.txt"
TABLE = ROOT / "requirements" / "LICENCES.md"
COMMAND = "python tools/licences.py"

NAMES = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd license": "BSD",
    "isc license (iscl)": "ISC",
    "mit licence": "MIT",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
}
"""SPDX names of what packages write instead; "BSD" where a package does not say which of the two."""

KNOWN = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "BSD",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CNRI-Python",
        "ISC",
        "MIT",
        "MIT-CMU",
        "MPL-2.0",
        "PSF-2.0",
        "Zlib",
    }
)
"""Licences that let code under Apache-2.0 depend on the package and be passed on beside it. MPL-2.0 asks for the
source of its own files where those are passed on changed; nothing here changes or bundles them. No GPL, LGPL or AGPL
is among them: a package under one has to be dropped, or its entry here reasoned."""

HEAD = f"""# Licences of the dependencies

Written by `{COMMAND}` from the packages in `requirements/lock.txt` as installed, and torch. None of
them is part of circuitune's own files: they are installed beside it, each under its own licence. circuitune itself is
under Apache-2.0. What the report's page bundles is in `src/circuitune/report/assets/THIRD_PARTY.txt`.

No package is under the GPL, LGPL or AGPL. Those under MPL-2.0 are used unchanged, which asks for nothing.

| package | version | licence | needed by |
|---|---|---|---|
"""


class Package(NamedTuple):
    """A row of the table; ``needed_by`` are the packages that ask for it, "circuitune" among them."""

    name: str
    version: str
    licence: str
    needed_by: str


def main() -> None:
    """Write the table, or print it."""
    packages = locked()
    text = table(packages)
    if "--print" in sys.argv[1:]:
        print(text, end="")
        return
    TABLE.write_text(text, encoding="utf-8")
    print(f"{TABLE.relative_to(ROOT)}: {len(packages)} packages")


def locked() -> list[Package]:
    """Every package of the lock, and torch, which the lock leaves to the machine."""
    text = LOCK.read_text(encoding="utf-8")
    found = re.findall(r"^([\w.-]+)==(\S+)((?:.*\n[ ]+.*)*)", text, re.MULTILINE)
    packages = [Package(name, version, licence(name), _needed_by(rest)) for name, version, rest in found]
    torch = metadata("torch")["Version"].partition("+")[0]  # without which build it is
    return sorted([*packages, Package("torch", torch, licence("torch"), "circuitune")])


def licence(name: str) -> str:
    """The package's licence as an SPDX expression.

    Raises:
        SystemExit: it is not installed, or says nothing that is known here.
    """
    try:
        about = metadata(name)
    except PackageNotFoundError:
        raise SystemExit(f"{name} is in the lock but not installed; install requirements/lock.txt first.") from None
    if expression := about.get("License-Expression"):
        return expression
    classifiers = [value for value in about.get_all("Classifier") or () if value.startswith("License :: OSI")]
    said = [about.get("License") or "", *(value.rpartition(" :: ")[2] for value in classifiers)]
    names = [NAMES.get(text.strip().lower(), text.strip()) for text in said]
    for text in names:
        if parts(text) and set(parts(text)) <= KNOWN:
            return text
    raise SystemExit(f"{name} says its licence as {said}; read it, and add its SPDX name to NAMES in {__file__}.")


def parts(expression: str) -> list[str]:
    """The licences that an SPDX expression is made of."""
    return [part.strip(" ()") for part in re.split(r" AND | OR ", expression) if part.strip(" ()")]


def table(packages: Iterable[Package]) -> str:
    """The document."""
    return HEAD + "".join(f"| {' | '.join(package)} |\n" for package in packages)


def _needed_by(comments: str) -> str:
    """Who asks for a package, from the lock's comments after "via"."""
    said = re.sub(r"--hash=\S+|\\", "", comments).replace("#", " ").partition("via")[2]
    return ", ".join(re.sub(r"\(.*?\)", "", said).split())


if __name__ == "__main__":
    main()
