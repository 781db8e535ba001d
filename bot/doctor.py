"""What `backchat doctor` looks at: settings, disk, database, device, checkpoint, sign-ins, and whether Twitch answers.

Only looks: it changes nothing, but for a token that is too old, which it refreshes as the companion would.
"""

import asyncio
import email.utils
import os
import shutil
import stat
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from bot.auth import (
    BROADCASTER_SCOPES,
    COMPANION_SCOPES,
    Account,
    TokenFile,
    TokenKeeper,
    missing_scopes,
    open_keeper,
)
from bot.settings import ALL_TABLES, BotTable
from corpus.errors import BackchatError
from corpus.settings import PathsTable, Settings, TwitchTable, load_settings
from trainer.settings import TrainerTable

PATIENCE_S = 10.0
LITTLE_DISK = 1 << 30
NO_DISK = 200 << 20
SKEW_S = 5.0
SKEW_BAD_S = 60.0


class Severity(IntEnum):
    """How bad a finding is; `backchat doctor` ends with exit code 1 where something is BROKEN."""

    GOOD = 0
    MISSING = 1
    BROKEN = 2


MARKS = {Severity.GOOD: ("✓", "green"), Severity.MISSING: ("–", "yellow"), Severity.BROKEN: ("✗", "red")}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what was found, and how to mend it."""

    severity: Severity
    what: str
    found: str
    remedy: str = ""


def shown(finding: Finding) -> str:
    mark, colour = MARKS[finding.severity]
    remedy = f" → {finding.remedy}" if finding.remedy else ""
    text = f"{finding.found}{remedy}".replace("[", "\\[")  # a [table] is no markup
    return f"[{colour}]{mark}[/] {finding.what:<10} {text}"


def diagnose() -> Iterator[Finding]:
    """Every finding as it is made, the quick ones first."""
    try:
        settings = load_settings(ALL_TABLES)
    except BackchatError as error:
        yield Finding(Severity.BROKEN, "settings", str(error))
        return
    channels = settings[TwitchTable].channels
    where = ", ".join(f"#{name.lstrip('#').lower()}" for name in channels) or "no channel, so the local room"
    yield Finding(Severity.GOOD, "settings", f"{settings.source}: {where}")
    yield disk(settings[PathsTable])
    yield database(settings[PathsTable])
    yield device(settings[TrainerTable])
    yield checkpoint(settings[PathsTable])
    yield from asyncio.run(twitch_findings(settings))


def disk(paths: PathsTable) -> Finding:
    folder = next(place for place in (paths.data, *paths.data.resolve().parents) if place.exists())
    free = shutil.disk_usage(folder).free
    found = f"{free / (1 << 30):.1f} GiB free where {paths.data.name}/ is"
    if not os.access(folder, os.W_OK):
        return Finding(
            Severity.BROKEN, "disk", f"{folder} cannot be written", "mend its permissions, or set [paths] data"
        )
    if free < NO_DISK:
        return Finding(Severity.BROKEN, "disk", found, "make room: chat and checkpoints will not be kept")
    if free < LITTLE_DISK:
        return Finding(Severity.MISSING, "disk", found, "make room soon; `backchat clean` and fewer checkpoints help")
    return Finding(Severity.GOOD, "disk", found)


def database(paths: PathsTable) -> Finding:
    from corpus.store import Corpus

    if not paths.database.exists():
        return Finding(
            Severity.MISSING, "database", "no chat kept yet", "`backchat run` collects, `backchat import` reads logs"
        )
    try:
        with Corpus.open(paths.database, read_only=True) as corpus:
            count = corpus.count()
    except BackchatError as error:
        return Finding(Severity.BROKEN, "database", str(error))
    size_mib = paths.database.stat().st_size / (1 << 20)
    return Finding(Severity.GOOD, "database", f"{count:,} messages to learn from, {size_mib:.1f} MiB")


def device(trainer: TrainerTable) -> Finding:
    try:
        from trainer.device import choose_device

        chosen = choose_device(trainer.device)
    except BackchatError as error:
        return Finding(Severity.BROKEN, "device", str(error))
    except (ImportError, OSError) as error:
        return Finding(Severity.BROKEN, "device", f"PyTorch does not load ({error})", "see docs/install.md")
    return Finding(Severity.GOOD, "device", f"trains on {chosen} ([trainer] device = {trainer.device})")


def checkpoint(paths: PathsTable) -> Finding:
    from trainer.checkpoint import latest, load

    try:
        folder = latest(paths.checkpoints)
        if folder is None:
            return Finding(
                Severity.MISSING,
                "checkpoint",
                "none yet; the companion speaks from word counts",
                "`backchat run` trains one",
            )
        loaded = load(folder)
    except BackchatError as error:
        return Finding(Severity.BROKEN, "checkpoint", str(error))
    return Finding(Severity.GOOD, "checkpoint", f"{loaded.name} loads")


async def twitch_findings(settings: Settings) -> list[Finding]:
    """Sign-ins, IRC, EventSub and the clock, at the same time."""
    twitch = settings[TwitchTable]
    tokens = TokenFile(settings[PathsTable].tokens)
    conduit = settings[BotTable].scale == "conduit"
    looks: list[Callable[[], Awaitable[list[Finding]]]] = [lambda: sign_ins(twitch, tokens, conduit=conduit)]
    if twitch.channels:
        looks += [lambda: irc(twitch), lambda: eventsub(twitch), lambda: clock(twitch)]
    found = await asyncio.gather(*(look() for look in looks))
    return [finding for some in found for finding in some]


async def sign_ins(twitch: TwitchTable, tokens: TokenFile, *, conduit: bool = False) -> list[Finding]:
    """Who is signed in and may what, and whether the channels exist."""
    try:
        signed_in = tokens.read()
    except BackchatError as error:
        return [Finding(Severity.BROKEN, "sign-in", str(error))]
    channels = {channel.lstrip("#").lower() for channel in twitch.channels}
    if not signed_in.accounts:
        if not channels:
            return [Finding(Severity.GOOD, "sign-in", "none, and the local room needs none")]
        remedy = "`backchat login`" if twitch.client_id else "docs/twitch.md, then `backchat login`"
        return [Finding(Severity.MISSING, "sign-in", "nobody: it reads chat, but cannot speak", remedy)]
    found = []
    if sys.platform != "win32" and stat.S_IMODE(tokens.path.stat().st_mode) & 0o077:
        found.append(
            Finding(Severity.BROKEN, "sign-in", f"{tokens.path.name} can be read by others", f"chmod 600 {tokens.path}")
        )
    if twitch.client_id and twitch.client_id != signed_in.client_id:
        said = "config.toml names another client_id than the one that was signed in to"
        found.append(Finding(Severity.BROKEN, "sign-in", said, "`backchat login`"))
    keeper = open_keeper(
        tokens,
        client_id=signed_in.client_id,
        api_url=twitch.api_url,
        auth_url=twitch.auth_url,
        now_ms=_now_ms,
    )
    try:
        for account in signed_in.accounts.values():
            found.append(
                await _sign_in(keeper, account, speaks=account.user_id == signed_in.companion, channels=channels)
            )
        if signed_in.client_secret:
            found.append(await _secret(keeper))
        elif conduit:
            said = "none, and [bot] scale = conduit needs it"
            found.append(Finding(Severity.BROKEN, "secret", said, "`backchat login --client-secret`"))
        # Only who is known to Twitch may ask it for others.
        speaks = keeper.signed_in.account(signed_in.companion)
        if channels and speaks is not None and not any(one.severity is Severity.BROKEN for one in found):
            found += await _channels(twitch, keeper, speaks, channels)
    finally:
        await keeper.close()
    if signed_in.account(signed_in.companion) is None:
        said = "no companion: it reads chat, but cannot speak"
        found.append(Finding(Severity.MISSING, "sign-in", said, "`backchat login`"))
    return found


async def _channels(twitch: TwitchTable, keeper: TokenKeeper, asking: Account, channels: set[str]) -> list[Finding]:
    from bot.twitch_http import Helix

    helix = Helix(
        keeper, client_id=keeper.signed_in.client_id, api_url=twitch.api_url, auth_url=twitch.auth_url, now_ms=_now_ms
    )
    try:
        answer = await helix.get_users(logins=sorted(channels)[:100], token_for=asking.user_id)
    except BackchatError as error:
        return [Finding(Severity.BROKEN, "channels", str(error), "check the connection, or [twitch] api_url")]
    finally:
        await helix.close()
    known = {user["login"].lower() for user in answer["data"]}
    found = []
    for channel in sorted(channels)[:100]:
        if channel not in known:
            remedy = "mend [twitch] channels in config.toml"
            found.append(Finding(Severity.BROKEN, "channels", f"Twitch knows no #{channel}", remedy))
        elif keeper.signed_in.by_login(channel) is None:
            said = f"#{channel}: its streamer is not signed in, so no follows and channel points"
            found.append(Finding(Severity.MISSING, "channels", said, "`backchat login --broadcaster`"))
    return found


def _now_ms() -> int:
    return int(time.time() * 1000)


async def _sign_in(keeper: TokenKeeper, account: Account, *, speaks: bool, channels: set[str]) -> Finding:
    try:
        account = await keeper.validate(account.user_id)
    except BackchatError as error:
        return Finding(Severity.BROKEN, "sign-in", str(error))
    streams = account.login in channels
    lacking = missing_scopes(account, COMPANION_SCOPES) if speaks else []
    wanted = missing_scopes(account, BROADCASTER_SCOPES) if streams else []
    who = f"{account.login} ({' and '.join([*['speaks'] * speaks, *['streams'] * streams]) or 'not used'})"
    if lacking:
        return Finding(Severity.BROKEN, "sign-in", f"{who} lacks {', '.join(lacking)}", "`backchat login`")
    if wanted:
        return Finding(
            Severity.MISSING, "sign-in", f"{who} lacks {', '.join(wanted)}", "`backchat login --broadcaster`"
        )
    return Finding(Severity.GOOD, "sign-in", f"{who}: {', '.join(sorted(account.scopes))}")


async def _secret(keeper: TokenKeeper) -> Finding:
    try:
        await keeper.app_token()
    except BackchatError as error:
        return Finding(Severity.BROKEN, "secret", str(error), "`backchat login --client-secret`")
    return Finding(Severity.GOOD, "secret", "Twitch knows it: lines carry the bot badge")


async def irc(twitch: TwitchTable) -> list[Finding]:
    """Whether the port from which chat is read takes an anonymous reader in."""
    address = f"{twitch.irc_host}:{twitch.irc_port}"
    remedy = "check the connection and a firewall, or [twitch] irc_host, irc_port, irc_tls"
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(twitch.irc_host, twitch.irc_port, ssl=twitch.irc_tls or None)
            try:
                writer.write(b"NICK justinfan12345\r\n")
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        return [Finding(Severity.BROKEN, "IRC", f"{address} does not answer ({type(error).__name__})", remedy)]
    if b" 001 " not in line:
        return [Finding(Severity.BROKEN, "IRC", f"{address} answers, but not like Twitch chat", remedy)]
    return [Finding(Severity.GOOD, "IRC", f"{address} takes readers in")]


async def eventsub(twitch: TwitchTable) -> list[Finding]:
    """Whether EventSub welcomes a websocket."""
    import aiohttp

    remedy = "check the connection, a firewall or proxy, or [twitch] eventsub_url"
    try:
        async with (
            asyncio.timeout(PATIENCE_S),
            aiohttp.ClientSession() as http,
            http.ws_connect(twitch.eventsub_url) as socket,
        ):
            message = await socket.receive()
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        said = f"{twitch.eventsub_url} does not answer ({type(error).__name__})"
        return [Finding(Severity.BROKEN, "EventSub", said, remedy)]
    if message.type is not aiohttp.WSMsgType.TEXT or "session_welcome" not in message.data:
        return [Finding(Severity.BROKEN, "EventSub", f"{twitch.eventsub_url} answers without a welcome", remedy)]
    return [Finding(Severity.GOOD, "EventSub", "welcomes a listener")]


async def clock(twitch: TwitchTable, *, now_s: Callable[[], float] = time.time) -> list[Finding]:
    """How far this computer's clock is from Twitch's: the age of messages and tokens depends on it."""
    import aiohttp

    try:
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(f"{twitch.auth_url}/oauth2/validate") as answer,
        ):
            dated = answer.headers.get("Date", "")
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        said = f"{twitch.auth_url} does not answer ({type(error).__name__})"
        return [Finding(Severity.BROKEN, "Twitch", said, "check the connection, or [twitch] auth_url")]
    try:
        skew_s = now_s() - email.utils.parsedate_to_datetime(dated).timestamp()
    except ValueError:
        return [Finding(Severity.MISSING, "clock", "Twitch's answer carries no date")]
    said = f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} Twitch"
    if abs(skew_s) <= SKEW_S:
        return [Finding(Severity.GOOD, "clock", "agrees with Twitch")]
    severity = Severity.BROKEN if abs(skew_s) > SKEW_BAD_S else Severity.MISSING
    return [Finding(severity, "clock", said, "let the system set its time over the network")]
