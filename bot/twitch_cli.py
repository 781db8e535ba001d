"""`backchat login`, `backchat logout`, `backchat doctor`: the commands around Twitch."""

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from bot.settings import ALL_TABLES
from corpus.errors import SignInError
from corpus.settings import PathsTable, Settings, TwitchTable, load_settings

if TYPE_CHECKING:
    from bot.auth import Account, SignedIn

NO_CLIENT_ID = (
    "config.toml: [twitch] client_id is empty; register an application in Twitch's developer console "
    "(docs/twitch.md shows how) and put its client id there"
)


def register(app: typer.Typer) -> None:
    app.command()(login)
    app.command()(logout)
    app.command()(doctor)


def login(
    broadcaster: Annotated[
        bool, typer.Option("--broadcaster", help="Sign in the streamer, for follows and channel points.")
    ] = False,
    client_secret: Annotated[
        bool, typer.Option("--client-secret", help="Ask for the client secret, for the bot badge and conduits.")
    ] = False,
) -> None:
    """Sign the companion in to Twitch: shows a code to enter on any device."""
    settings = load_settings(ALL_TABLES)
    secret = typer.prompt("Client secret (not shown)", hide_input=True).strip() if client_secret else None
    asyncio.run(_login(settings, broadcaster=broadcaster, secret=secret))


async def _login(settings: Settings, *, broadcaster: bool, secret: str | None) -> None:
    from bot.auth import BROADCASTER_SCOPES, COMPANION_SCOPES, TokenFile, TokenKeeper
    from bot.device_code import sign_in_by_device
    from bot.twitch_http import TwitchOAuth

    twitch, tokens = settings[TwitchTable], TokenFile(settings[PathsTable].tokens)
    client_id = twitch.client_id or tokens.read().client_id
    if not client_id:
        raise SignInError(NO_CLIENT_ID)
    oauth = TwitchOAuth(
        client_id=client_id,
        client_secret=secret or tokens.read().client_secret,
        api_url=twitch.api_url,
        auth_url=twitch.auth_url,
        now_ms=_now_ms,
    )
    keeper = TokenKeeper(tokens, oauth, now_ms=_now_ms)
    try:
        if secret:
            await oauth.client_credentials_token()  # a wrong secret is told now, not in the middle of a stream
            await keeper.keep_client_secret(client_id, secret)
        who = "the streamer's account" if broadcaster else "the account that shall be the companion"
        scopes: tuple[str, ...] = BROADCASTER_SCOPES if broadcaster else COMPANION_SCOPES
        both = _streams_and_speaks(tokens.read(), twitch)
        if both is not None:  # one account has one token, which keeps what it may already
            scopes = tuple(dict.fromkeys((*scopes, *COMPANION_SCOPES, *both.scopes)))
        granted = await sign_in_by_device(oauth, scopes, lambda code: _show(code.code, code.url, who))
        account = await keeper.add(
            granted.access_token, granted.refresh_token, client_id=client_id, companion=not broadcaster
        )
    finally:
        await keeper.close()
    typer.echo(f"Signed in as {account.login}; it may {', '.join(account.scopes)}.")
    if not twitch.channels:
        typer.echo('Now name your channel in config.toml, [twitch] channels = ["yourchannel"], and run `backchat run`.')


def _streams_and_speaks(signed_in: "SignedIn", twitch: TwitchTable) -> "Account | None":
    """The companion's account, where it is also a configured channel's."""
    account = signed_in.account(signed_in.companion)
    channels = {channel.lstrip("#").lower() for channel in twitch.channels}
    return account if account is not None and account.login in channels else None


def _show(code: str, url: str, who: str) -> None:
    """The code as text, and as a picture for a telephone where the output is a terminal."""
    if sys.stdout.isatty():
        import segno

        segno.make(url, micro=False).terminal(compact=True)
    typer.echo(f"Open {url}")
    typer.echo(f"in a browser where {who} is signed in, check the code {code}, and say yes.")


def logout(
    account: Annotated[str, typer.Argument(help="Login of one account; all of them unless given.")] = "",
) -> None:
    """Sign out: the tokens are revoked at Twitch and forgotten here."""
    asyncio.run(_logout(load_settings(ALL_TABLES), account.lower()))


async def _logout(settings: Settings, login: str) -> None:
    from bot.auth import TokenFile, open_keeper

    twitch, tokens = settings[TwitchTable], TokenFile(settings[PathsTable].tokens)
    keeper = open_keeper(
        tokens, client_id=twitch.client_id, api_url=twitch.api_url, auth_url=twitch.auth_url, now_ms=_now_ms
    )
    leaving = [one for one in tokens.read().accounts.values() if login in ("", one.login)]
    if not leaving:
        raise SignInError(f"{login or 'nobody'} is {'not ' if login else ''}signed in; there is nothing to do")
    try:
        for one in leaving:
            await keeper.revoke(one.user_id)
            typer.echo(f"Signed out {one.login}.")
    finally:
        await keeper.close()


def doctor() -> None:
    """Check everything Backchat needs, one line each, with the way to mend what is wrong."""
    from rich.console import Console

    from bot.doctor import diagnose, shown

    console = Console()
    worst = 0
    for finding in diagnose():
        console.print(shown(finding), highlight=False, soft_wrap=True)
        worst = max(worst, finding.severity)
    if worst > 1:
        raise typer.Exit(1)


def _now_ms() -> int:
    return int(time.time() * 1000)
