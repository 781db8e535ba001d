"""`backchat login`, `backchat logout`, `backchat doctor`: the commands around Twitch."""

import asyncio
import io
import time
from typing import Annotated

import typer

from bot.settings import ALL_TABLES
from corpus.errors import SignInError
from corpus.settings import PathsTable, Settings, TwitchTable, load_settings

NO_CLIENT_ID = (
    "config.toml: [twitch] client_id is empty; register an application in Twitch's developer console "
    "(docs/twitch.md shows how) and put its client id there"
)

WHAT_SCOPES_ALLOW = {
    "user:read:chat": "read chat",
    "user:write:chat": "speak",
    "user:bot": "speak as the application",
    "channel:bot": "let the application into its channel",
    "channel:read:redemptions": "see channel points redeemed",
    "moderator:read:followers": "see who follows",
}


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
    try:
        asyncio.run(_login(settings, broadcaster=broadcaster, secret=secret))
    except KeyboardInterrupt:
        raise SignInError("given up; nobody was signed in") from None


async def _login(settings: Settings, *, broadcaster: bool, secret: str | None) -> None:
    from bot.auth import BROADCASTER_SCOPES, COMPANION_SCOPES, TokenFile, TokenKeeper, missing_scopes
    from bot.device_code import sign_in_by_device
    from bot.twitch_http import TwitchOAuth

    twitch, tokens = settings[TwitchTable], TokenFile(settings[PathsTable].tokens)
    before = tokens.read()
    client_id = twitch.client_id or before.client_id
    channels = [channel.lstrip("#").lower() for channel in twitch.channels]
    if not client_id:
        raise SignInError(NO_CLIENT_ID)
    if broadcaster and not channels:
        raise SignInError("config.toml: [twitch] channels is empty; name your channel there before you sign in to it")
    oauth = TwitchOAuth(
        client_id=client_id,
        client_secret=secret or (before.client_secret if before.client_id == client_id else None),
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
        both = before.account(before.companion)
        if both is not None and both.login in channels:  # one account has one token, which keeps what it may already
            scopes = tuple(dict.fromkeys((*COMPANION_SCOPES, *scopes, *both.scopes)))
        granted = await sign_in_by_device(oauth, scopes, lambda code: _show(code.code, code.url, who))
        account = await keeper.identify(granted.access_token, granted.refresh_token)
        if broadcaster and account.login not in channels:
            # Keeping it would take the companion's own sign-in away, whose account the browser is usually in.
            await keeper.give_back(account)
            raise SignInError(
                f"that was {account.login}, whose channel is not in [twitch] channels ({', '.join(channels)}); "
                "run this again and open the address where the streamer's account is signed in"
            )
        await keeper.keep(account, client_id=client_id, companion=not broadcaster)
    finally:
        await keeper.close()
    known = [*(scope for scope in WHAT_SCOPES_ALLOW if scope in account.scopes), *account.scopes]
    may = [WHAT_SCOPES_ALLOW.get(scope, scope) for scope in dict.fromkeys(known)]
    typer.echo(f"Signed in as {account.login}; it may {', '.join(may)}.")
    if account.login in channels and not broadcaster and both is None:
        typer.echo(
            "It will speak as the streamer. For a name of its own, run this again where another account is signed in."
        )
    was = before.account(account.user_id)
    left_out = missing_scopes(account, was.scopes) if was is not None else []
    if left_out:
        typer.echo(
            f"Left out is {', '.join(left_out)}, which it had before: `backchat login --broadcaster` asks again."
        )
    if not channels:
        typer.echo('Now name your channel in config.toml, [twitch] channels = ["yourchannel"], and run `backchat run`.')


def _show(code: str, url: str, who: str) -> None:
    """The code as text, and as a picture for a telephone where the terminal has room for it."""
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal and (picture := _picture(url, console.width, console.encoding)):
        # Whatever the terminal's own colours: not every camera reads white on black the wrong way round.
        console.print(picture, style="bright_white on black", markup=False)
    console.print(f"Open {url}", markup=False, soft_wrap=True)
    console.print(
        f"in a browser where {who} is signed in, check the code {code}, and say yes. Ctrl-C gives up.",
        markup=False,
        soft_wrap=not console.is_terminal,
    )


def _picture(url: str, columns: int, encoding: str) -> str:
    """A QR code of half blocks; empty where lines would be broken or the terminal cannot write it."""
    import segno

    drawn = io.StringIO()
    segno.make(url, micro=False, error="L", boost_error=False).terminal(drawn, border=2, compact=True)
    picture = drawn.getvalue().rstrip("\n")
    try:
        picture.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ""
    return picture if max(map(len, picture.splitlines())) <= columns else ""


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
    before = tokens.read()
    leaving = [one for one in before.accounts.values() if login in ("", one.login)]
    if not leaving and (login or not before.client_secret):
        raise SignInError(f"{login or 'nobody'} is {'not ' if login else ''}signed in; there is nothing to do")
    try:
        for one in leaving:
            await keeper.revoke(one.user_id)
            typer.echo(f"Signed out {one.login}.")
        if not login and before.client_secret:
            await keeper.keep_client_secret(before.client_id, None)
            typer.echo("Forgot the client secret.")
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
