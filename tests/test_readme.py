"""The README's map of modules says what the modules say of themselves. Run as a script, writes it (`make map`)."""

import ast
from pathlib import Path

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


if __name__ == "__main__":
    write_map()
