"""Pictures for docs/ladder.md, taken from a ladder's own report.html by a headless Chromium.

    backchat ladder --data FILE … && python benchmarks/ladder_pictures.py checkpoints/<run> docs/images/ladder-<name>

One file a section of the report, named after it. Pictures in the repository come from public texts, never from chat.
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

SECTIONS = ("table", "curves", "followers", "range", "embedding", "attention", "samples")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the folder of a ladder, or a report")
    parser.add_argument("prefix", type=Path, help="where the pictures go, and how their names begin")
    parser.add_argument("--sections", nargs="+", default=SECTIONS, choices=SECTIONS)
    parser.add_argument("--scheme", default="light", choices=("light", "dark"))
    given = parser.parse_args()
    report = given.run if given.run.suffix == ".html" else given.run / "report.html"
    given.prefix.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 900}, color_scheme=given.scheme)
        page.goto(report.resolve().as_uri())
        page.wait_for_function("[...document.querySelectorAll('.chart')].every(chart => chart.querySelector('svg'))")
        for name in given.sections:
            section = page.locator(f"section:has(#{name}), section#{name}")
            if section.count():
                picture = given.prefix.with_name(f"{given.prefix.name}-{name}.png")
                section.first.screenshot(path=picture)
                print(picture)
        browser.close()


if __name__ == "__main__":
    main()
