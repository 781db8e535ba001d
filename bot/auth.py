"""Who Backchat is on Twitch: one token file only you can read, refreshed one at a time, saved the moment it changes.

A public client's refresh token works once, so a lost answer or two refreshes at a time would mean signing in again.
Nothing here prints a token: accounts mask themselves, and errors name accounts and commands.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from bot.twitch_http import TwitchError, TwitchOAuth
from corpus.errors import SignInError

COMPANION_SCOPES = ("user:read:chat", "user:write:chat", "user:bot")
BROADCASTER_SCOPES = ("channel:bot", "channel:read:redemptions", "moderator:read:followers")
EXPIRES_SOON_MS = 60_000
STALE_LOCK_S = 30.0
LOCK_POLL_S = 0.05


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """One Twitch account that signed in."""

    user_id: str
    login: str
    access_token: str
    refresh_token: str
    scopes: tuple[str, ...] = ()
    expires_ms: int = 0

    def __repr__(self) -> str:
        return f"Account(login={self.login!r}, scopes={' '.join(self.scopes)!r}, tokens='***')"


@dataclass(frozen=True, slots=True, repr=False)
class SignedIn:
    """All that the token file holds. `companion` is the user id of the account that speaks."""

    client_id: str = ""
    client_secret: str | None = None
    companion: str | None = None
    accounts: Mapping[str, Account] = field(default_factory=lambda: MappingProxyType({}))

    def __repr__(self) -> str:
        return f"SignedIn({', '.join(account.login for account in self.accounts.values()) or 'nobody'})"

    def account(self, user_id: str | None) -> Account | None:
        return self.accounts.get(user_id or "")

    def by_login(self, login: str) -> Account | None:
        return next((account for account in self.accounts.values() if account.login == login), None)

    def with_account(self, account: Account, *, companion: bool = False) -> "SignedIn":
        accounts = {**self.accounts, account.user_id: account}
        return replace(self, accounts=accounts, companion=account.user_id if companion else self.companion)

    def without_account(self, user_id: str) -> "SignedIn":
        accounts = {other: account for other, account in self.accounts.items() if other != user_id}
        return replace(self, accounts=accounts, companion=None if self.companion == user_id else self.companion)


class TokenFile:
    """data/tokens.json: mode 0600, replaced as a whole, noticed when another program (`backchat login`) replaced it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None
        self._read = SignedIn()

    def read(self) -> SignedIn:
        """What is there now; nobody where there is no file. Raises `SignInError` for one that cannot be understood."""
        try:
            status = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._seen, self._read = None, SignedIn()
            return self._read
        except OSError as error:
            raise SignInError(f"{self.path}: cannot be read ({error.strerror}); mend its permissions") from None
        if self._seen == (status.st_mtime_ns, status.st_ino):
            return self._read
        try:
            self._read = _decode(json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SignInError(
                f"{self.path.name}: cannot be read as Backchat's tokens ({type(error).__name__}); "
                "move it away and run `backchat login`"
            ) from None
        self._seen = (status.st_mtime_ns, status.st_ino)
        return self._read

    def write(self, signed_in: SignedIn) -> None:
        """Replace the file; a crash leaves the old one or the new one, readable by its owner alone."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(_encode(signed_in), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)
        self._seen = None

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Keep other processes from refreshing meanwhile: two bots, or a bot and `backchat doctor`, share this file."""
        lock = self.path.with_name(f".{self.path.name}.lock")
        try:
            while not _take(lock):  # noqa: ASYNC110 - another process holds it, so no event of ours can tell
                await asyncio.sleep(LOCK_POLL_S)
        except OSError as error:
            raise SignInError(
                f"{self.path.parent}: tokens cannot be written there ({error.strerror}); mend its permissions, "
                "or set [paths] data"
            ) from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _take(lock: Path) -> bool:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if time.time() - lock.stat().st_mtime > STALE_LOCK_S:  # its owner died
            lock.unlink(missing_ok=True)
    try:
        os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def _encode(signed_in: SignedIn) -> dict[str, Any]:
    return {
        "client_id": signed_in.client_id,
        "client_secret": signed_in.client_secret,
        "companion": signed_in.companion,
        "accounts": [
            {name: getattr(account, name) for name in Account.__slots__} for account in signed_in.accounts.values()
        ],
    }


def _decode(stored: dict[str, Any]) -> SignedIn:
    accounts = [Account(**{**account, "scopes": tuple(account["scopes"])}) for account in stored["accounts"]]
    return SignedIn(
        client_id=stored["client_id"],
        client_secret=stored.get("client_secret"),
        companion=stored.get("companion"),
        accounts=MappingProxyType({account.user_id: account for account in accounts}),
    )


class OAuthCalls(Protocol):
    """The calls of bot/twitch_http.py's TwitchOAuth that keeping tokens takes."""

    client_secret: str | None

    def use_client(self, client_id: str, client_secret: str | None = None) -> None: ...
    async def refresh_token(self, refresh_token: str, /) -> Any: ...
    async def validate_token(self, token: str, /) -> Any: ...
    async def revoke_token(self, token: str, /) -> None: ...
    async def client_credentials_token(self) -> Any: ...
    async def close(self) -> None: ...


class TokenKeeper:
    """Hands out tokens that work, and says which command to run when one cannot be made to."""

    def __init__(self, file: TokenFile, oauth: OAuthCalls, *, now_ms: Callable[[], int]) -> None:
        self._file = file
        self._oauth = oauth
        self._now_ms = now_ms
        self._lock = asyncio.Lock()
        self._app_lock = asyncio.Lock()
        self._app_token: str | None = None
        self._unsaved: SignedIn | None = None

    @property
    def signed_in(self) -> SignedIn:
        return self._unsaved or self._file.read()

    @property
    def has_client_secret(self) -> bool:
        return bool(self.signed_in.client_secret)

    async def close(self) -> None:
        await self._oauth.close()

    def account(self, user_id: str) -> Account:
        account = self.signed_in.account(user_id)
        if account is None:
            raise SignInError("Twitch: this account is not signed in (any more); run `backchat login`")
        return account

    async def access(self, user_id: str) -> str:
        """The account's access token, refreshed first when it is about to end."""
        account = self.account(user_id)
        if account.expires_ms and account.expires_ms - self._now_ms() < EXPIRES_SOON_MS:
            return await self.refresh(user_id, account.access_token)
        return account.access_token

    async def refresh(self, user_id: str, stale: str) -> str:
        """A token other than `stale`. However many ask at once, Twitch is asked once: its refresh token works once.

        Raises `SignInError` when the sign-in is dead, `TwitchError` when Twitch cannot be asked now.
        """
        async with self._lock, self._file.locked():
            account = self.account(user_id)
            if account.access_token != stale:
                return account.access_token
            self._oauth.use_client(self.signed_in.client_id, self.signed_in.client_secret)
            try:
                fresh = await self._oauth.refresh_token(account.refresh_token)
            except TwitchError as error:
                if error.passing:
                    raise
                if "client secret" in error.reason.lower():  # it was changed in the console, or is wanted and absent
                    raise SignInError(
                        f"Twitch: the application's client secret is not the right one ({error.reason}); "
                        "run `backchat login --client-secret`"
                    ) from None
                raise dead(account, companion=user_id == self.signed_in.companion) from None
            account = replace(
                account,
                access_token=fresh.access_token,
                refresh_token=fresh.refresh_token,
                expires_ms=self._now_ms() + int(fresh.expires_in * 1000),
            )
            self._save(self.signed_in.with_account(account))
            return account.access_token

    async def app_token(self, stale: str | None = None) -> str:
        """A token of the application itself, for the bot badge and conduits. Needs the client secret."""
        async with self._app_lock:
            if self._app_token is None or self._app_token == stale:
                self._oauth.use_client(self.signed_in.client_id, self.signed_in.client_secret)
                if not self._oauth.client_secret:
                    raise SignInError("Twitch: this needs the client secret; run `backchat login --client-secret`")
                self._app_token = (await self._oauth.client_credentials_token()).access_token
            return self._app_token

    async def validate(self, user_id: str) -> Account:
        """Ask Twitch whether the token still holds, as Twitch wants it at start and every hour; refresh it if not.

        Returns the account with the scopes it really has. Raises as `refresh` does.
        """
        token = await self.access(user_id)
        try:
            valid = await self._oauth.validate_token(token)
        except TwitchError as error:
            if error.status != 401:
                raise
            token = await self.refresh(user_id, token)
            valid = await self._oauth.validate_token(token)

        def known() -> Account:
            account = self.account(user_id)
            return replace(account, scopes=tuple(valid.scopes), login=valid.login or account.login)

        if known() != self.account(user_id):
            async with self._lock, self._file.locked():  # another program may be saving a refreshed token
                self._save(self.signed_in.with_account(known()))
        return known()

    async def identify(self, access_token: str, refresh_token: str) -> Account:
        """Whose tokens these are, which somebody has just been granted; Twitch says it. Keeps nothing."""
        valid = await self._oauth.validate_token(access_token)
        if not valid.user_id or not valid.login:
            raise SignInError("Twitch: that was no user's token; run `backchat login` again")
        return Account(
            valid.user_id,
            valid.login,
            access_token,
            refresh_token,
            tuple(valid.scopes),
            self._now_ms() + valid.expires_in * 1000,
        )

    async def keep(self, account: Account, *, client_id: str, companion: bool) -> None:
        async with self._lock, self._file.locked():
            self._save(self._of_application(client_id).with_account(account, companion=companion))

    async def keep_client_secret(self, client_id: str, secret: str | None) -> None:
        async with self._lock, self._file.locked():
            self._save(replace(self._of_application(client_id), client_secret=secret))

    def _of_application(self, client_id: str) -> SignedIn:
        """What is signed in to this application: another one's tokens and secret are of no use to it."""
        before = self.signed_in
        return replace(before, client_id=client_id) if before.client_id in ("", client_id) else SignedIn(client_id)

    async def give_back(self, account: Account) -> None:
        """Revoke tokens that were granted and are not wanted; where Twitch cannot be asked, they end by themselves."""
        with contextlib.suppress(TwitchError):
            await self._oauth.revoke_token(account.access_token)

    async def revoke(self, user_id: str) -> None:
        """Sign an account out at Twitch and here. A sign-in that Twitch does not know any more is simply forgotten.

        An access token that has ended is refreshed first: revoking it alone would leave its refresh token alive.
        """
        try:
            token = (await self.validate(user_id)).access_token
            self._oauth.use_client(self.signed_in.client_id, self.signed_in.client_secret)
            await self._oauth.revoke_token(token)
        except SignInError:
            pass  # it is dead already
        except TwitchError as error:
            if error.passing:
                raise
        async with self._lock, self._file.locked():
            self._save(self.signed_in.without_account(user_id))

    def _save(self, signed_in: SignedIn) -> None:
        """To disk at once. Where that fails the tokens live on in memory: the old refresh token is spent already."""
        try:
            self._file.write(signed_in)
        except OSError as error:
            self._unsaved = signed_in
            raise SignInError(
                f"{self._file.path.name}: cannot be written ({error.strerror}); make room or mend its permissions, "
                "or the sign-in is lost when Backchat stops"
            ) from None
        self._unsaved = None


def open_keeper(
    tokens: TokenFile, *, client_id: str, api_url: str, auth_url: str, now_ms: Callable[[], int]
) -> TokenKeeper:
    """The keeper of a token file, whose client id goes before the settings' where somebody is signed in."""
    oauth = TwitchOAuth(client_id=client_id, api_url=api_url, auth_url=auth_url, now_ms=now_ms)
    return TokenKeeper(tokens, oauth, now_ms=now_ms)


def dead(account: Account, *, companion: bool) -> SignInError:
    command = "`backchat login`" if companion else "`backchat login --broadcaster`"
    return SignInError(f"Twitch: the sign-in of {account.login} is no longer valid; run {command}")


def missing_scopes(account: Account, wanted: Iterable[str]) -> list[str]:
    return [scope for scope in wanted if scope not in account.scopes]
