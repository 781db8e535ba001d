"""The README's map says what the modules say of themselves, and no link leads nowhere. As a script: `make map`."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
START = "<!-- map: written by `make map` from the modules' first lines -->\n"
END = "<!-- end of map -->"


def module_map() -> str:
    """One table a package: module and the first sentence of its docstring."""
    parts = []
    for package in ("corpus", "trainer", "bot"):
        rows = ["| module | is |", "|---|---|"]
        for file in sorted((ROOT / package).rglob("*.py")):
            docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
            assert docstring, f"{file.relative_to(ROOT)}: every module opens with a docstring"
            first = docstring.splitlines()[0]
            name = file.relative_to(ROOT).as_posix()
            name = name.removesuffix("/__init__.py") + "/" if file.name == "__init__.py" else name
            rows.append(f"| `{name}` | {first.replace('|', '/')} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def write_map() -> None:
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(START)
    README.write_text(before + START + module_map() + END + rest.split(END)[1], encoding="utf-8")


def test_the_map_in_the_readme_is_what_the_modules_say_of_themselves() -> None:
    written = README.read_text(encoding="utf-8").split(START)[1].split(END)[0]
    assert written == module_map(), "run `make map`"


@pytest.mark.parametrize(
    "page", [README, *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_every_relative_link_leads_to_a_file_and_every_anchor_to_a_heading(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), f"{page.relative_to(ROOT)} links {target}, which does not exist"
        if anchor:
            assert anchor in headings(linked), f"{page.relative_to(ROOT)} links {target}: no such heading"


def headings(page: Path) -> set[str]:
    """The anchors of a page, as code hosts make them from its headings."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


if __name__ == "__main__":
    write_map()
