"""report.html: everything it should show, nothing fetched, and nothing that chat said is obeyed."""

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.cli import app
from corpus.errors import TrainingError
from trainer import charts
from trainer.metrics import Evaluated, Loss, MetricsLog, RunFinished, RunStarted, StepTaken
from trainer.report import CurvePoint, Report, Row, page
from trainer.run_report import find_run, run_report, write_report

NASTY = "</script><img src=x onerror=alert(1)> & <b>bold</b>"
CURVE = (CurvePoint(0, 0.0, None, 4.0), CurvePoint(10, 1.0, 3.5, 3.0), CurvePoint(20, 2.0, 2.5, 2.2))
PICTURES = {
    "followers": {"labels": ["a", "<end>", "␣"], "chances": [[0.1, 0.2, 0.7], [0.5, 0.25, 0.25], [0.9, 0.0, 0.1]]},
    "range_test": {
        "rates": [1e-4, 1e-3, 1e-2], "losses": [4, 3, 5], "smoothed": [4, 3, 5], "lowest_at": 1e-3, "suggestion": 3e-4,
    },
    "embedding": {
        "labels": ["a", "b"], "kinds": ["vowels", "consonants"], "x": [0, 1], "y": [1, 0], "variance_shown": 0.5,
        "dimensions": 24,
    },
    "attention": {"labels": ["h", "i"], "weights": [[1.0, 0.0], [0.4, 0.6]], "layer": 2, "head": 1, "heads": 8},
}  # fmt: skip
REPORT = Report(
    title="The ladder",
    lead=f"{NASTY}: every rung",
    rows=(
        Row("Bigram", "counts", 2.5, 3.6, samples=("hello there",)),
        Row(
            "MLP", NASTY, 2.1, 3.0, train=2.0, test=2.12, parameters=66_000, seconds=9.5, samples=(NASTY,), curve=CURVE
        ),
    ),
    figures=(("2.100", "the best"),),
    pictures=PICTURES,
)  # fmt: skip


def charts_of(text: str) -> list[dict[str, object]]:
    found = re.search(r"const CHARTS = (\[.*?\]);\n", text)
    assert found
    return json.loads(found[1])  # type: ignore[no-any-return]


def visible(text: str) -> str:
    """The page without plotly's own code."""
    return re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)


def test_the_page_shows_every_picture_the_table_and_the_samples() -> None:
    text = page(REPORT)
    assert [chart["id"] for chart in charts_of(text)] == ["curves", "followers", "range", "embedding", "attention"]
    for chart in charts_of(text):
        assert f"id='{chart['id']}'" in text
    assert "66,000" in text and "2.120" in text and "hello there" in text


def test_nothing_is_fetched_from_anywhere() -> None:
    text = page(REPORT)
    assert "default-src 'none'" in text
    assert not re.search(r"<(link|script|img|iframe)[^>]+(src|href)=", visible(text))


def test_what_chat_said_is_shown_and_not_obeyed() -> None:
    nasty = replace(REPORT, pictures={**PICTURES, "attention": {**PICTURES["attention"], "labels": [NASTY, "i"]}})
    text = page(nasty)
    assert "<img" not in visible(text)
    assert text.count("</script>") == page(REPORT).count("</script>") == 2
    assert "&lt;img src=x" in json.dumps(charts_of(text)), "plotly reads tags in labels, so they are escaped for it too"


def test_labels_of_a_crowded_map_do_not_lie_on_each_other_and_no_token_is_lost() -> None:
    drawn = random.Random(1)
    tokens = [f"token{number}" for number in range(200)]
    picture = {
        "labels": tokens, "kinds": ["vowels", "consonants"] * 100, "variance_shown": 0.2, "dimensions": 64,
        "x": [drawn.gauss(0, 1) ** 3 for _ in tokens], "y": [drawn.gauss(0, 1) for _ in tokens],
    }  # fmt: skip
    data = charts.embedding("map", picture)["data"]
    labelled = [series for series in data if series["mode"] == "text"]
    dots = [series for series in data if series["mode"] == "markers" and series["x"] != [None]]
    assert sorted(name for series in labelled + dots for name in series["text"]) == sorted(tokens)
    assert "token0" in labelled[0]["text"], "the most frequent keeps its label"
    assert 20 < sum(len(series["text"]) for series in labelled) < 200


def test_what_is_missing_is_left_out() -> None:
    text = page(replace(REPORT, pictures={}, rows=REPORT.rows[:1]))
    assert charts_of(text) == []
    assert "How fast may it learn" not in text


def diary(folder: Path) -> Path:
    with MetricsLog(folder) as log:
        log.write(RunStarted("20260101-000000", 1000, "cpu", 1_000_000, 512, 800, 200, 9000, 100, "a plan"))
        for step in range(0, 101, 10):
            log.write(StepTaken(step, 1000 + 100 * step, 6.0 - step / 30, 1.0, 5000.0))
            losses = {"gpt": Loss(6.0 - step / 40, 3.0), "ngram": Loss(4.0, 2.5), "mixture": Loss(5.0 - step / 40, 2.0)}
            log.write(Evaluated(step, 1001 + 100 * step, 0.1, losses, f"{NASTY} {step}"))
        log.write(RunFinished(100, 12_000, 11.0, "the plan is done", 100, {}))
    return folder


def test_any_run_has_a_report(tmp_path: Path) -> None:
    report = run_report(diary(tmp_path / "20260101-000000"), {})
    assert [row.title for row in report.rows] == ["n-gram", "GPT", "GPT and n-gram together"]
    assert len(report.samples) == 8 and report.samples[-1][0] == "step 100"
    text = page(report)
    assert charts_of(text)[0]["id"] == "curves"
    assert "<img" not in visible(text)


def test_the_command_writes_the_page_of_the_latest_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    diary(tmp_path / "checkpoints" / "20260101-000000")
    folder = diary(tmp_path / "checkpoints" / "20260102-000000")
    result = CliRunner().invoke(app, ["report"])
    assert result.exit_code == 0, result.output
    assert (folder / "report.html").stat().st_size > 1_000_000, "plotly is inside"


def test_a_run_that_does_not_exist_names_those_that_do(tmp_path: Path) -> None:
    diary(tmp_path / "20260101-000000")
    with pytest.raises(TrainingError, match="the newest are: 20260101-000000"):
        find_run(tmp_path, "20260101-00000")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "metrics.jsonl").touch()
    with pytest.raises(TrainingError, match="tells of no run"):
        write_report(tmp_path / "empty")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_every_chart_without_a_complaint(tmp_path: Path, scheme: str) -> None:
    import shutil

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here")
    from playwright.sync_api import sync_playwright

    file = tmp_path / "report.html"
    file.write_text(page(REPORT), encoding="utf-8")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        screen = browser.new_page(viewport={"width": 420, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
        complaints: list[str] = []
        screen.on("pageerror", lambda error: complaints.append(str(error)))
        screen.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        screen.goto(file.as_uri())
        screen.wait_for_function("document.querySelectorAll('.chart .main-svg').length >= 10")
        assert screen.locator(".chart:empty").count() == 0
        screen.click("#theme")
        screen.check("[data-training]")
        assert complaints == []
        assert screen.evaluate("document.documentElement.scrollWidth") <= 420, "nothing sticks out on a phone"
        browser.close()
