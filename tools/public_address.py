"""Write the repository's public address wherever it belongs, from the one place that holds it.

That place is `public_address` under `[tool.buarl]` in pyproject.toml, empty for as long as there is
none. From it follow `[project.urls]` there, `repository-code` in CITATION.cff, `url` of the entry
`buarl` in docs/references.bib, and in Markdown files what stands between the comments
`<!-- badges -->` and `<!-- end of badges -->`. The book reads the same key.

python tools/public_address.py --set https://example.org/NAME/buarl
python tools/public_address.py --check        ends with 1 if a file says something else
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEY = re.compile(r'^public_address = ".*"$', re.M)
PAPER = "https://arxiv.org/abs/2502.07457"
BADGES = re.compile(r"(<!-- badges -->\n)(.*?)(<!-- end of badges -->)", re.S)


def public_address(root: Path = ROOT) -> str:
    """The address without a slash at its end; empty where there is none yet."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["tool"]["buarl"]["public_address"].rstrip("/")


def with_urls(text: str, address: str) -> str:
    """pyproject.toml with the `[project.urls]` of an address."""
    pages = {"Source": "", "Issues": "/issues", "Changelog": "/blob/main/CHANGELOG.md"}
    urls = {name: f"{address}{page}" for name, page in pages.items()} if address else {}
    block = "".join(f'{name} = "{url}"\n' for name, url in {**urls, "Paper": PAPER}.items())
    return re.sub(r"(\[project\.urls\].*\n)(?:.+\n)+", lambda found: f"{found[1]}{block}", text)


def with_repository(text: str, address: str) -> str:
    """CITATION.cff with the address behind the license, or without one."""
    text = re.sub(r"^repository-code: .*\n", "", text, flags=re.M)
    line = f"repository-code: {address}\n" if address else ""
    return re.sub(r"^license: .*\n", lambda found: found[0] + line, text, flags=re.M)


def with_url(text: str, address: str) -> str:
    """references.bib with the address in the entry of this repository, or without one."""
    head, mark, entry = text.partition("@software{buarl,\n")
    entry, end, rest = entry.partition("\n}")
    entry = re.sub(r"\n  url = .*", "", entry)
    line = f"\n  url = {{{address}}}," if address else ""
    return f"{head}{mark}{entry}{line}{end}{rest}"


def with_badges(text: str, address: str) -> str:
    """Markdown with the badges of an address where it has room for them."""
    ci = f"{address}/actions/workflows/ci.yml"
    line = f"[![tests]({ci}/badge.svg)]({ci})\n" if address else ""
    return BADGES.sub(lambda found: f"{found[1]}{line}{found[3]}", text)


def derived(root: Path, address: str) -> Iterator[tuple[Path, str, str]]:
    """Every file that holds the address: what it says, and what it should say."""
    writers = {
        "pyproject.toml": with_urls,
        "CITATION.cff": with_repository,
        "docs/references.bib": with_url,
    }
    pages = [*root.glob("*.md"), *root.glob("docs/*.md")]
    writers |= {path.relative_to(root).as_posix(): with_badges for path in pages}
    for name, write in writers.items():
        text = (root / name).read_text(encoding="utf-8")
        yield root / name, text, write(text, address)


def main(argv: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", metavar="URL", help='the new address; "" takes it away')
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a file differs")
    options = parser.parse_args(argv)
    if options.set is not None:
        if options.set and not re.fullmatch(r"https://[^\s\"{}]+", options.set):
            parser.error(f"an address begins with https://, got {options.set!r}")
        settings = root / "pyproject.toml"
        text = KEY.sub(f'public_address = "{options.set}"', settings.read_text(encoding="utf-8"))
        settings.write_text(text, encoding="utf-8")
    differ = [(path, new) for path, old, new in derived(root, public_address(root)) if new != old]
    for path, new in differ:
        print(f"{path.relative_to(root)}: {'differs' if options.check else 'written'}")
        if not options.check:
            path.write_text(new, encoding="utf-8")
    return int(options.check and bool(differ))


if __name__ == "__main__":
    sys.exit(main())
