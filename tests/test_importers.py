"""Every log format is known by its content, read whole, and adds nothing the second time."""

import csv
import gzip
import io
import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.errors import BackchatError, ImportFileError
from corpus.importers.importing import Summary, import_file
from corpus.importers.made import IdMaker
from corpus.importers.registry import IMPORTERS, files_of, importer_of
from corpus.importers.screen import import_all
from corpus.importers.source import Options, Record, Skipped, Source
from corpus.message import ChatMessage
from corpus.store import Corpus

NOON = 1_704_110_400_000  # 2024-01-01 12:00:00 UTC

DOWNLOADED = {
    "FileInfo": {"Version": {"Major": 1, "Minor": 3, "Patch": 1}},
    "streamer": {"name": "Den", "login": "den", "id": 1},
    "video": {"title": "a stream", "id": "9", "start": 0, "end": 60},
    "comments": [
        {
            "_id": "c1",
            "created_at": "2024-01-01T12:00:00.5Z",
            "content_offset_seconds": 1,
            "commenter": {"display_name": "Ann", "_id": "77", "name": "ann"},
            "message": {
                "body": "hi LUL",
                "fragments": [
                    {"text": "hi ", "emoticon": None},
                    {"text": "LUL", "emoticon": {"emoticon_id": "425618"}},
                ],
                "user_badges": [{"_id": "moderator", "version": "1"}],
            },
        },
        {
            "_id": "c2",
            "created_at": "2024-01-01T12:00:01Z",
            "content_offset_seconds": 2,
            "commenter": {"display_name": "Bob", "_id": "78", "name": "bob"},
            "message": {"body": None, "fragments": [{"text": "only fragments", "emoticon": None}], "user_badges": None},
        },
        {"_id": "c3", "created_at": "2024-01-01T12:00:02Z", "commenter": None, "message": {"body": "who?"}},
    ],
}

# format: file name, content, the messages (login, text, milliseconds after noon or None), rows not readable
FORMATS: dict[str, tuple[str, str, list[tuple[str, str, int | None]], int]] = {
    "TwitchDownloader JSON": (
        "vod.json",
        json.dumps(DOWNLOADED),
        [("ann", "hi LUL", 500), ("bob", "only fragments", 1000)],
        1,
    ),
    "TwitchDownloader text": (
        "vod.txt",
        "[2024-01-01 12:00:12 UTC] Bob: LUL\n[2024-01-01 12:00:13 UTC] Ann: a: b\nnot of it\n",
        [("bob", "LUL", 12_000), ("ann", "a: b", 13_000)],
        1,
    ),
    "Chatterino": (
        "den-2024-01-01.log",
        "# Start logging at 2024-01-01 12:00:00 Coordinated Universal Time\n"
        "[12:00:01] ann: hello there\n"
        "[12:00:02]  bob: older files have two spaces\n"
        "[12:00:03] 名前 namae: localised\n"
        "[12:00:04] ann subscribed with Prime.\n"
        "# Start logging at 2024-01-01 12:10:00 Coordinated Universal Time\n"
        "[12:10:05] cat: gone soon\n"
        "[12:10:06] dan: me too\n"
        "[12:10:07] mod: mod timed out cat for 7d.\n"
        "[12:10:08] dan has been permanently banned.\n"
        "[12:10:09] mod deleted message from bob saying: older files have two spaces\n"
        "[12:10:10] cat: back again\n"
        "torn li\n",
        [("ann", "hello there", 1000), ("namae", "localised", 3000), ("cat", "back again", 610_000)],
        1,
    ),
    "Chatty": (
        "#den.log",
        "# Log started: 2024-01-01 14:00:00 +0200\n"
        "[2024-01-01 14:00:01] <@%John> hello\n"
        "[14:00:02] <ann>* waves\n"
        "[14:00:03] <~bob> gone soon\n"
        "[14:00:04] <+cat> a slip\n"
        "[14:00:05] BAN: bob (30s) [spam]\n"
        "[14:00:06] DELETED: cat (a slip)\n"
        "[14:00:07] JOIN: eve\n"
        "torn\n",
        [("john", "hello", 1000), ("ann", "\x01ACTION waves\x01", 2000)],
        1,
    ),
    "tcd": (
        "v1.txt",
        "[0:00:01] <ann> hi\n[0:00:02] <%bob> hello\n[10:00:03] <cat> late\nnothing\n",
        [("ann", "hi", None), ("bob", "hello", None), ("cat", "late", None)],
        1,
    ),
    "raw IRC (justlog)": (
        "channel.txt",
        f"@badges=moderator/1;display-name=Ann;emotes=25:0-4;id=i1;room-id=1;tmi-sent-ts={NOON + 5};user-id=7 "
        ":ann!ann@ann.tmi.twitch.tv PRIVMSG #den :Kappa hi\n"
        f"@display-name=Bob;id=i2;tmi-sent-ts={NOON + 6} :bob!bob@bob.tmi.twitch.tv PRIVMSG #den :rude\n"
        f"@msg-id=sub;tmi-sent-ts={NOON + 7} :tmi.twitch.tv USERNOTICE #den :thanks\n"
        f"@ban-duration=5;tmi-sent-ts={NOON + 8} :tmi.twitch.tv CLEARCHAT #den :bob\n"
        f"@id=i3;room-id=1;source-room-id=2;tmi-sent-ts={NOON + 9} :eve!eve@eve PRIVMSG #den :elsewhere\n"
        "what is this\n",
        [("ann", "Kappa hi", 5)],
        1,
    ),
    "rustlog text": (
        "den.txt",
        "[2024-01-1 12:00:01] #den ann: hi\n[2024-01-01 12:00:02] #den bob: rude\n"
        "[2024-01-01 12:00:03] #den bob has been timed out for 600 seconds\n"
        "[2024-01-01 12:00:04] #den ann subscribed\ntorn\n",
        [("ann", "hi", 1000)],
        1,
    ),
    "rustlog NDJSON": (
        "den.ndjson",
        json.dumps(
            {
                "text": "hi",
                "displayName": "Ann",
                "timestamp": "2024-01-01T12:00:00.250Z",
                "id": "n1",
                "tags": {},
                "username": "ann",
                "channel": "den",
                "raw": "",
                "type": 1,
            }
        )
        + "\n"
        + json.dumps(
            {
                "text": "Kappa",
                "username": "bob",
                "channel": "den",
                "timestamp": "x",
                "type": 1,
                "raw": f"@id=n2;tmi-sent-ts={NOON + 900} :bob!bob@bob PRIVMSG #den :Kappa",
            }
        )
        + "\n{torn\n",
        [("ann", "hi", 250), ("bob", "Kappa", 900)],
        1,
    ),
    "JSONL": (
        "chat.jsonl",
        '{"ts": "2024-01-01T13:00:00.0000001+01:00", "channel": "#Den", "user": "Ann", "text": "hi"}\n'
        '{"ts": 1704110401, "channel": "den", "user": "bob", "text": "half a pair: \\ud83d"}\n'
        '{"ts": null, "channel": "den", "user": "cat", "text": "timeless"}\n'
        '\n{"ts": "yesterday", "channel": "den", "user": "cat", "text": "when?"}\n[1]\nno\n',
        [("cat", "timeless", None), ("ann", "hi", 0), ("bob", "half a pair: ?", 1000)],
        3,
    ),
    "CSV": (
        "chat.csv",
        'time,channel,username,message\n2024-01-01 12:00:01,den,Ann,"hi, you"\n'
        '2024-01-01 12:00:02,den,bob,"two\nlines"\n'
        "2024-01-01 12:00:03,den,,nobody\n",
        [("ann", "hi, you", 1000), ("bob", "two\nlines", 2000)],
        1,
    ),
    "plain text": (
        "paste.txt",
        "ann: hi\nbob: hello: you\ncat: third\ndan: fourth\nfive without\n",
        [("ann", "hi", None), ("bob", "hello: you", None), ("cat", "third", None), ("dan", "fourth", None)],
        1,
    ),
}


def written(tmp_path: Path, name: str) -> Path:
    file = tmp_path / FORMATS[name][0]
    file.write_text(FORMATS[name][1], encoding="utf-8", newline="")
    return file


def imported(corpus: Corpus, file: Path, channel: str | None = "den") -> Summary:
    source = Source.of(file)
    return import_file(corpus, source, importer_of(source), Options(channel, UTC))


def kept(corpus: Corpus) -> list[tuple[str, str, int | None]]:
    messages = [stored.message for stored in corpus.messages()]
    return [(one.login, one.text, None if one.sent_ms is None else one.sent_ms - NOON) for one in messages]


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_known_by_its_content_read_whole_and_adds_nothing_twice(tmp_path: Path, name: str) -> None:
    file = written(tmp_path, name)
    nameless = file.rename(tmp_path / "log") if name != "Chatterino" else file
    assert importer_of(Source.of(nameless)).name == name
    with Corpus.open(tmp_path / "chat.db") as corpus:
        summary = imported(corpus, nameless)
        assert kept(corpus) == FORMATS[name][2]
        assert summary.skipped.total() == FORMATS[name][3]
        again = imported(corpus, nameless)
        assert again.appended.kept == 0
        assert kept(corpus) == FORMATS[name][2]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig", "utf-16-le", "gzip"])
def test_encodings_and_packing_do_not_matter(tmp_path: Path, name: str, encoding: str) -> None:
    plain = written(tmp_path, name)
    file = tmp_path / "other" / plain.name
    file.parent.mkdir()
    text = FORMATS[name][1]
    file.write_bytes(gzip.compress(text.encode()) if encoding == "gzip" else text.encode(encoding))
    with Corpus.open(tmp_path / "chat.db") as corpus:
        imported(corpus, file)
        assert kept(corpus) == FORMATS[name][2]
        assert imported(corpus, plain).appended.kept == 0


def test_the_details_of_a_vod_are_kept(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        imported(corpus, written(tmp_path, "TwitchDownloader JSON"), channel=None)
        first = next(corpus.messages()).message
        assert (first.id, first.channel, first.user_id, first.display_name) == ("c1", "den", "77", "Ann")
        assert first.badges == ("moderator",)
        assert [first.text[emote.start : emote.end] for emote in first.emotes] == ["LUL"]


def test_the_same_chat_from_two_tools_is_kept_once(tmp_path: Path) -> None:
    vod = tmp_path / "vod.txt"
    vod.write_text("[2024-01-01 12:00:00 UTC] Ann: hi LUL\n[2024-01-01 12:00:01 UTC] Bob: only fragments\n")
    log = tmp_path / "den-2024-01-01.log"
    log.write_text("# Start logging at 2024-01-01 12:00:00 UTC\n[12:00:01] ann: hi LUL\n[12:00:01] ann: hi LUL\n")
    with Corpus.open(tmp_path / "chat.db") as corpus:
        assert imported(corpus, written(tmp_path, "TwitchDownloader JSON")).appended.kept == 2
        assert imported(corpus, vod).appended.duplicates == 2
        again = imported(corpus, log).appended
        assert (again.kept, again.duplicates) == (1, 1)  # she said it twice, and the VOD knew of one


def test_what_a_moderator_deleted_does_not_come_back_from_another_log(tmp_path: Path) -> None:
    vod = tmp_path / "vod.txt"
    vod.write_text("[2024-01-01 12:00:00 UTC] Ann: hi LUL\n[2024-01-01 12:10:06 UTC] Dan: me too\n")
    with Corpus.open(tmp_path / "chat.db") as corpus:
        imported(corpus, written(tmp_path, "TwitchDownloader JSON"))
        corpus.delete_message("c1")
        imported(corpus, written(tmp_path, "Chatterino"))
        assert imported(corpus, vod).appended.refused == 2
        assert "hi LUL" not in [text for _, text, _ in kept(corpus)]


def test_a_folder_is_taken_whole_and_files_that_are_no_logs_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = tmp_path / "logs" / "1" / "2024"
    logs.mkdir(parents=True)
    (logs / "channel.txt.gz").write_bytes(gzip.compress(FORMATS["raw IRC (justlog)"][1].encode()))
    (logs / "den.txt").write_text(FORMATS["rustlog text"][1])
    (logs / "picture.png").write_bytes(bytes(range(256)))
    with Corpus.open(tmp_path / "chat.db") as corpus:
        summaries = import_all([str(tmp_path / "logs")], corpus)
        assert sorted(summary.format for summary in summaries) == ["raw IRC (justlog)", "rustlog text"]
        assert corpus.count() == 2
    assert "picture.png: no log format" in capsys.readouterr().out
    assert [file.name for file in files_of([str(logs / "*.txt")])] == ["den.txt"]


def test_an_unknown_format_is_refused_with_what_is_understood(tmp_path: Path) -> None:
    (tmp_path / "poem").write_text("roses are red\nviolets are blue\n")
    with pytest.raises(ImportFileError) as caught:
        importer_of(Source.of(tmp_path / "poem"))
    for importer in IMPORTERS:
        assert importer.name in str(caught.value)


def test_strict_names_the_line_it_refuses(tmp_path: Path) -> None:
    file = written(tmp_path, "JSONL")
    source = Source.of(file)
    with (
        Corpus.open(tmp_path / "chat.db") as corpus,
        pytest.raises(ImportFileError, match=r"chat\.jsonl:5: unreadable time"),
    ):
        import_file(corpus, source, importer_of(source), Options(None, UTC), strict=True)


def test_a_dry_run_stores_nothing_and_counts_the_same(tmp_path: Path) -> None:
    source = Source.of(written(tmp_path, "JSONL"))
    summary = import_file(None, source, importer_of(source), Options(None, UTC))
    assert (summary.appended.kept, summary.skipped.total()) == (3, 3)


def test_a_log_that_names_no_channel_asks_for_one(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus, pytest.raises(ImportFileError, match="--channel"):
        imported(corpus, written(tmp_path, "plain text"), channel=None)


def test_a_gzip_that_breaks_off_keeps_what_came_before_and_says_so(tmp_path: Path) -> None:
    rows = "".join(
        f'{{"ts": {NOON + number}, "channel": "den", "user": "u{number}", "text": "line {number}"}}\n'
        for number in range(20_000)
    )
    file = tmp_path / "torn.jsonl.gz"
    file.write_bytes(gzip.compress(rows.encode())[:-5_000])
    with Corpus.open(tmp_path / "chat.db") as corpus:
        summary = imported(corpus, file)
        assert 10_000 < corpus.count() < 20_000
        assert summary.skipped.total() == 1
        assert "breaks off" in summary.examples[0].why


def test_local_times_are_taken_in_the_zone_the_operator_names(tmp_path: Path) -> None:
    from zoneinfo import ZoneInfo

    file = tmp_path / "den-2024-07-01.log"
    file.write_text("# Start logging at 2024-07-01 00:21:25 Mitteleuropäische Sommerzeit\n[01:00:00] ann: hi\n")
    source = Source.of(file)
    (record,) = importer_of(source).read(source, Options(None, ZoneInfo("Europe/Berlin")))
    assert isinstance(record, ChatMessage)
    assert record.sent_ms == 1_719_788_400_000  # 2024-06-30 23:00 UTC


def test_a_large_file_is_read_by_a_second_process_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corpus.importers.importing.PARALLEL_BYTES", 0)
    for name in ("Chatterino", "JSONL"):
        with Corpus.open(tmp_path / f"{name}.db") as corpus:
            summary = imported(corpus, written(tmp_path, name))
            assert kept(corpus) == FORMATS[name][2]
            assert summary.skipped.total() == FORMATS[name][3]


# ---- properties ------------------------------------------------------------------------------------------------------

_lines = st.lists(
    st.one_of(
        st.text(max_size=60), st.sampled_from([line for _, text, _, _ in FORMATS.values() for line in text.split("\n")])
    ),
    max_size=12,
)


@pytest.mark.parametrize("importer", IMPORTERS, ids=lambda importer: importer.name)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    junk=st.one_of(st.binary(max_size=300), _lines.map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")))
)
def test_no_bytes_at_all_make_an_importer_raise_anything_but_our_own_error(
    tmp_path: Path, importer: object, junk: bytes
) -> None:
    file = tmp_path / "junk"
    file.write_bytes(junk)
    chosen = next(one for one in IMPORTERS if one is importer)
    try:
        source = Source.of(file)
        chosen.recognises(source)
        records: list[Record] = list(chosen.read(source, Options("den", UTC)))
    except BackchatError:
        return
    for record in records:
        if isinstance(record, ChatMessage):
            assert record.text and record.login and record.channel and record.id
            record.text.encode(), record.login.encode(), record.id.encode()
            assert record.sent_ms is None or record.sent_ms >= 0
        elif isinstance(record, Skipped):
            assert record.line >= 0 and record.why


_name = st.from_regex(r"[a-z][a-z0-9_]{2,15}", fullmatch=True)
_text = (
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=50)
    .map(lambda text: " ".join(text.split()))
    .filter(bool)
)
_said = st.lists(st.tuples(_name, _text, st.integers(0, 86_399)), min_size=1, max_size=8).map(
    lambda said: sorted(said, key=lambda one: one[2])
)
Said = list[tuple[str, str, int]]
MIDNIGHT = NOON - 12 * 3600 * 1000


def clock(second: int) -> str:
    return f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"


def iso(second: int) -> str:
    return f"2024-01-01T{clock(second)}Z"


def table(said: Said) -> str:
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(["time", "channel", "user", "text"])
    writer.writerows([iso(second), "den", user, text] for user, text, second in said)
    return rows.getvalue()


# How each tool writes down who said what, when (seconds into the day).
WRITERS: dict[str, Callable[[Said], str]] = {
    "TwitchDownloader JSON": lambda said: json.dumps(
        {
            "streamer": {"login": "den"},
            "comments": [
                {
                    "_id": f"c{number}",
                    "created_at": iso(second),
                    "content_offset_seconds": second,
                    "commenter": {"name": user, "display_name": user.title(), "_id": "1"},
                    "message": {"body": text, "fragments": [{"text": text, "emoticon": None}]},
                }
                for number, (user, text, second) in enumerate(said)
            ],
        },
        ensure_ascii=False,
    ),
    "rustlog NDJSON": lambda said: "".join(
        json.dumps(
            {
                "text": text,
                "displayName": user.title(),
                "timestamp": iso(second),
                "id": f"n{number}",
                "tags": {},
                "username": user,
                "channel": "den",
                "raw": "",
                "type": 1,
            }
        )
        + "\n"
        for number, (user, text, second) in enumerate(said)
    ),
    "JSONL": lambda said: "".join(
        json.dumps({"ts": MIDNIGHT + second * 1000, "channel": "den", "user": user, "text": text}) + "\n"
        for user, text, second in said
    ),
    "raw IRC (justlog)": lambda said: "".join(
        f"@id={number};tmi-sent-ts={MIDNIGHT + second * 1000} :{user}!{user}@{user} PRIVMSG #den :{text}\n"
        for number, (user, text, second) in enumerate(said)
    ),
    "rustlog text": lambda said: "".join(
        f"[2024-01-01 {clock(second)}] #den {user}: {text}\n" for user, text, second in said
    ),
    "Chatterino": lambda said: (
        "# Start logging at 2024-01-01 00:00:00 Coordinated Universal Time\n"
        + "".join(f"[{clock(second)}] {user}: {text}\n" for user, text, second in said)
    ),
    "tcd": lambda said: "".join(
        f"[{second // 3600}:{second // 60 % 60:02}:{second % 60:02}] <{user}> {text}\n" for user, text, second in said
    ),
    "Chatty": lambda said: (
        "# Log started: 2024-01-01 00:00:00 +0000\n"
        + "".join(f"[2024-01-01 {clock(second)}] <@%{user}> {text}\n" for user, text, second in said)
    ),
    "TwitchDownloader text": lambda said: "".join(
        f"[2024-01-01 {clock(second)} UTC] {user}: {text}\n" for user, text, second in said
    ),
    "CSV": table,
    "plain text": lambda said: "".join(f"{user}: {text}\n" for user, text, _ in said),
}
TIMELESS = {"tcd", "plain text"}


def test_every_importer_has_a_writer_and_a_fixture() -> None:
    names = {importer.name for importer in IMPORTERS}
    assert set(WRITERS) == names
    assert set(FORMATS) == names


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=_said)
def test_what_a_tool_wrote_is_what_is_read(tmp_path: Path, name: str, said: Said) -> None:
    file = tmp_path / "log"
    file.write_text(WRITERS[name](said), encoding="utf-8", newline="")
    source = Source.of(file)
    chosen = next(one for one in IMPORTERS if one.name == name)
    read = [one for one in chosen.read(source, Options("den", UTC)) if isinstance(one, ChatMessage)]
    assert [(one.login, one.text) for one in read] == [(user, text) for user, text, _ in said]
    times = [None if name in TIMELESS else MIDNIGHT + second * 1000 for _, _, second in said]
    assert [one.sent_ms for one in read] == times
    assert len({one.id for one in read}) == len(read)


# ---- odd and hostile logs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nulled", ["body", "fragments", "user_badges", "created_at", "_id", "commenter", "message"])
def test_a_null_in_a_vod_costs_at_most_its_own_row(tmp_path: Path, nulled: str) -> None:
    log = json.loads(json.dumps(DOWNLOADED))
    first = log["comments"][0]
    (first["message"] if nulled in first["message"] else first)[nulled] = None
    del log["FileInfo"], log["comments"][2]
    file = tmp_path / "vod.json"
    file.write_text(json.dumps(log))
    with Corpus.open(tmp_path / "chat.db") as corpus:
        summary = imported(corpus, file)
        assert summary.appended.kept + summary.skipped.total() == 2
        assert ("bob", "only fragments", 1000) in kept(corpus)
        assert imported(corpus, file).appended.kept == 0


def test_an_older_export_without_a_streamer_is_a_bare_list(tmp_path: Path) -> None:
    file = tmp_path / "vod.json"
    file.write_text(json.dumps([{**one, "channel_id": "55"} for one in DOWNLOADED["comments"]], indent=2))  # type: ignore[index]
    with Corpus.open(tmp_path / "chat.db") as corpus:
        assert imported(corpus, file, channel=None).appended.kept == 2
        assert corpus.channels() == ["channel-55"]


def test_a_day_goes_on_after_midnight_and_a_header_in_the_middle_begins_another(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    file.write_text(
        "# Start logging at 2024-01-01 23:59:00 CET\n[23:59:59] ann: old year\n[00:00:01] ann: next day\n"
        "# Start logging at 2024-01-05 12:00:00 CET\n[12:00:00] ann: later\n"
    )
    with Corpus.open(tmp_path / "chat.db") as corpus:
        imported(corpus, file, channel="den")
        assert [(text, (at_ms or 0) // 1000) for _, text, at_ms in kept(corpus)] == [
            ("old year", 11 * 3600 + 59 * 60 + 59),
            ("next day", 12 * 3600 + 1),
            ("later", 4 * 86_400),
        ]


def test_a_colon_in_a_text_is_no_second_speaker(tmp_path: Path) -> None:
    for name in ("Chatterino", "rustlog text", "TwitchDownloader text", "plain text"):
        file = tmp_path / "log"
        file.write_text(WRITERS[name]([("ann", "well: that is it", 5), ("ann", "x y: z", 6)]))
        read = next(one for one in IMPORTERS if one.name == name).read(Source.of(file), Options("den", UTC))
        assert [(one.login, one.text) for one in read if isinstance(one, ChatMessage)] == [
            ("ann", "well: that is it"),
            ("ann", "x y: z"),
        ]


@pytest.mark.parametrize(
    "text",
    [
        "Ann subscribed at Tier 1. They've subscribed for 16 months!",
        "ann subscribed with Prime.",
        "ann is gifting 20 Tier 1 Subs to den's community!",
        "ann gifted a Tier 1 sub to bob!",
        "ann converted from a Prime sub to a Tier 1 sub!",
    ],
)
def test_a_notice_that_a_log_shows_as_a_line_of_its_chatter_is_no_chat(tmp_path: Path, text: str) -> None:
    file = tmp_path / "log"
    file.write_text(WRITERS["JSONL"]([("ann", text, 1), ("bob", text, 2), ("ann", "ann subscribed? no way", 3)]))
    with Corpus.open(tmp_path / "chat.db") as corpus:
        summary = imported(corpus, file)
        assert [login for login, _, _ in kept(corpus)] == ["bob", "ann"]
        assert (summary.no_chat, summary.skipped.total()) == (1, 0)


def test_strict_stores_nothing_of_a_file_that_it_refuses(tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    rows = [("ann", f"line {number}", number) for number in range(25_000)]
    file.write_text(WRITERS["JSONL"](rows) + "torn\n")
    source = Source.of(file)
    with Corpus.open(tmp_path / "chat.db") as corpus:
        with pytest.raises(ImportFileError, match=r"chat\.jsonl:25001: not a JSON object"):
            import_file(corpus, source, importer_of(source), Options(None, UTC), strict=True)
        assert corpus.count() == 0


def test_an_empty_file_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ImportFileError, match="the file is empty"):
        importer_of(Source.of(tmp_path / "empty"))


def packed(file: Path, *parts: bytes) -> Path:
    with gzip.open(file, "wb", compresslevel=1) as opened:
        for part in parts:
            opened.write(part)
    return file


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


GOOD = WRITERS["JSONL"]([("ann", "hi", 1)]).encode()


def test_a_line_without_an_end_is_passed_over_in_little_memory(tmp_path: Path) -> None:
    file = packed(tmp_path / "bomb.gz", GOOD, *[b"x" * 1_000_000] * 100, b"\n", GOOD.replace(b"hi", b"after"))
    assert file.stat().st_size < 1_000_000
    with Corpus.open(tmp_path / "chat.db") as corpus:
        summaries: list[Summary] = []
        assert peak_bytes(lambda: summaries.append(imported(corpus, file))) < 20_000_000
        assert dict(summaries[0].skipped) == {"longer than 64 KiB": 1}
        assert summaries[0].examples[0].line == 2
        assert [text for _, text, _ in kept(corpus)] == ["hi", "after"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_file_that_never_ends_its_line_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr("corpus.importers.source.LONGEST_SKIPPED", 1_000_000)
    file = packed(tmp_path / "bomb.gz", (GOOD.decode() + "x" * 3_000_000).encode(encoding))
    with Corpus.open(tmp_path / "chat.db") as corpus:
        summary = imported(corpus, file)
        assert [text for _, text, _ in kept(corpus)] == ["hi"]
        assert "has no end" in summary.examples[0].why


def test_a_comment_without_an_end_is_given_up_in_little_memory(tmp_path: Path) -> None:
    start = json.dumps({"streamer": {"login": "den"}, "comments": DOWNLOADED["comments"]}).removesuffix("]}")
    file = packed(tmp_path / "bomb.gz", start.encode(), b', {"message": {"body": "', *[b"x" * 1_000_000] * 60, b'"}}]}')
    with Corpus.open(tmp_path / "chat.db") as corpus:
        summaries: list[Summary] = []
        assert peak_bytes(lambda: summaries.append(imported(corpus, file))) < 60_000_000
        assert corpus.count() == 2
        assert any("the rest cannot be read" in why for why in summaries[0].skipped)


@pytest.mark.parametrize("deep", ["[" * 30_000, '{"a":' * 10_000, '{"text": ' + "[" * 30_000])
def test_deep_json_is_a_row_that_cannot_be_read(tmp_path: Path, deep: str) -> None:
    (tmp_path / "log.jsonl").write_bytes(GOOD + deep.encode() + b"\n" + GOOD.replace(b"hi", b"after"))
    (tmp_path / "log.ndjson").write_text(FORMATS["rustlog NDJSON"][1] + deep + "\n")
    (tmp_path / "vod.json").write_text(json.dumps(DOWNLOADED).replace('{"_id": "c3"', deep + '{"_id": "c3"'))
    for name, count in (("log.jsonl", 2), ("log.ndjson", 2), ("vod.json", 2)):
        with Corpus.open(tmp_path / f"{name}.db") as corpus:
            summary = imported(corpus, tmp_path / name)
            assert (corpus.count(), summary.skipped.total() > 0) == (count, True), name


@pytest.mark.parametrize("digits", ["9" * 17, "9" * 30, "9" * 5_000, "-1", "1e308", "NaN"])
def test_numbers_that_mean_nothing_end_no_import(tmp_path: Path, digits: str) -> None:
    (tmp_path / "log.txt").write_text(
        f"@id=a;emotes=25:0-{digits};tmi-sent-ts={digits} :ann!ann@ann PRIVMSG #den :hi\n"
        f"@ban-duration={digits};tmi-sent-ts=1 :tmi CLEARCHAT #den :bob\n"
        f"@id=b;tmi-sent-ts={NOON} :ann!ann@ann PRIVMSG #den :there\n"
    )
    (tmp_path / "log.jsonl").write_text(
        f'{{"ts": {digits}, "channel": "den", "user": "ann", "text": "hi"}}\n'
        f'{{"ts": "{digits}", "channel": "den", "user": "ann", "text": "hi"}}\n' + GOOD.decode()
    )
    (tmp_path / "log.csv").write_text(f"time,channel,user,text\n{digits},den,ann,hi\n{NOON},den,ann,there\n")
    for name in ("log.txt", "log.jsonl", "log.csv"):
        with Corpus.open(tmp_path / f"{name}.db") as corpus:
            imported(corpus, tmp_path / name)
            assert corpus.count() >= 1, name
            assert corpus.days("den"), name


def test_a_flood_of_one_line_in_one_instant_takes_no_longer_than_others() -> None:
    ids = IdMaker()
    made = {ids.made("den", "ann", "same", NOON) for _ in range(100_000)}
    assert len(made) == 100_000


def test_a_log_of_ever_new_channels_is_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corpus.store.CHANNELS_KEPT", 10)
    monkeypatch.setattr("corpus.store.CHUNK", 7)
    log = tmp_path / "log.jsonl"
    log.write_text(
        "".join(
            json.dumps({"ts": None, "channel": f"room{number % 40}", "user": "ann", "text": f"line {number}"}) + "\n"
            for number in range(400)
        )
    )
    with Corpus.open(tmp_path / "chat.db") as corpus:
        assert imported(corpus, log, channel=None).appended.kept == 400
        assert len(corpus._channels) <= 10 + 7
        assert {one.messages for one in corpus.summaries()} == {10}
        assert set(corpus._db.execute("SELECT timeless FROM channel").fetchall()) == {(10,)}


@pytest.mark.shared_data
def test_the_real_logs_beside_the_checkout_are_read(tmp_path: Path) -> None:
    shared = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not shared.is_dir():
        shared = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not (shared / "vod_chat_v5.json").is_file():
        pytest.skip("no real chat beside this checkout")
    expected = {"vod_chat_v5.json": 356, "twitch_irc_lines.txt": 8}
    for name, least in expected.items():
        with Corpus.open(tmp_path / f"{name}.db") as corpus:
            summary = imported(corpus, shared / name, channel=None)
            assert summary.appended.kept >= least
            assert imported(corpus, shared / name, channel=None).appended.kept == 0
