"""Twitch over HTTP: twitchio's Helix and OAuth calls with time-outs, one refresh at a time, and no leaking errors.

twitchio's own client puts secrets into URLs (and so into its exceptions), waits for ever, takes the app token for a
user it does not know, and spends a single-use refresh token twice when two calls fail together. Here its methods go
through one `request`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import aiohttp
from twitchio.authentication.oauth import OAuth
from twitchio.http import Route, json_or_text

from corpus.errors import ChatError

TIMEOUT_S = 10.0


class TwitchError(ChatError):
    """Twitch answered with an error, or not at all (`status` 0). `retry_after_s`: when Twitch said to come back."""

    def __init__(self, sentence: str, *, status: int = 0, reason: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s

    @property
    def passing(self) -> bool:
        """Whether the same call may succeed later without anybody doing anything."""
        return self.status in (0, 408, 429) or self.status >= 500


class Tokens(Protocol):
    """Where a call's token comes from; bot/auth.py's TokenKeeper."""

    async def access(self, user_id: str) -> str: ...
    async def refresh(self, user_id: str, stale: str) -> str: ...
    async def app_token(self, stale: str | None = None) -> str: ...


class TwitchOAuth(OAuth):
    """Signing in, refreshing, validating and revoking. Secrets travel in the body, never in a URL."""

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str | None = None,
        api_url: str,
        auth_url: str,
        now_ms: Callable[[], int],
    ) -> None:
        # twitchio reads these two at every call; there is one Twitch a process.
        Route.BASE = api_url.rstrip("/") + "/helix/"
        Route.ID_BASE = auth_url.rstrip("/") + "/"
        super().__init__(client_id=client_id, client_secret=client_secret)
        self._now_ms = now_ms

    def use_client(self, client_id: str, client_secret: str | None = None) -> None:
        """Speak as this application from now on: tokens belong to the one they were made for."""
        if client_id:
            self.client_id = self._client_id = client_id
        self.client_secret = client_secret

    async def request(self, route: Route) -> Any:
        await self._init_session()
        url, _, query = str(route.url).partition("?")
        as_form = route.use_id and route.method == "POST"
        headers = {**route.headers, **self.headers}
        if as_form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            async with self._session.request(
                route.method,
                url if as_form else route.url,
                headers=headers,
                data=query if as_form else None,
                json=route.json or None,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            ) as response:
                body = await json_or_text(response)
                status, answered = response.status, response.headers
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            what = "did not answer in time" if isinstance(error, TimeoutError) else "cannot be reached"
            raise TwitchError(
                f"Twitch {what} ({route.method} {route.path}); check the connection and [twitch] api_url, auth_url"
            ) from error
        if status >= 400:
            raise self._refusal(route, status, body, answered)
        if isinstance(body, str) and body.strip():
            raise TwitchError(
                f"{route.method} {route.path} was answered with something that is not Twitch's; "
                "a hotel's sign-in page, perhaps? Open a browser"
            )
        return body or None  # twitchio takes an empty answer, as to a revocation, for an error

    def _refusal(self, route: Route, status: int, body: Any, headers: Mapping[str, str]) -> TwitchError:
        reason = str(body.get("message", "")) if isinstance(body, dict) else ""
        retry_after_s = None
        if status == 429:
            # Ratelimit-Reset is the second, since 1970, at which the bucket is full again.
            reset = headers.get("Ratelimit-Reset", "")
            retry_after_s = max(1.0, float(reset) - self._now_ms() / 1000) if reset.isdigit() else 2.0
        return TwitchError(
            f"Twitch answered {status} to {route.method} {route.path}{f': {reason}' if reason else ''}",
            status=status,
            reason=reason,
            retry_after_s=retry_after_s,
        )


class Helix(TwitchOAuth):
    """twitchio's Helix methods with the token of the account they name, refreshed once when Twitch finds it too old."""

    def __init__(
        self, tokens: Tokens, *, client_id: str, api_url: str, auth_url: str, now_ms: Callable[[], int]
    ) -> None:
        super().__init__(client_id=client_id, api_url=api_url, auth_url=auth_url, now_ms=now_ms)
        self._tokens = tokens

    async def request(self, route: Route) -> Any:
        """Raises `TwitchError`, and `SignInError` when the account's sign-in is dead."""
        # twitchio writes a missing account as the word None.
        user_id = route.token_for.removeprefix("None")
        token = await (self._tokens.access(user_id) if user_id else self._tokens.app_token())
        route.update_headers({"Authorization": f"Bearer {token}"})
        try:
            return await super().request(route)
        except TwitchError as error:
            if error.status != 401 or "scope" in error.reason.lower():
                raise
        token = await (self._tokens.refresh(user_id, token) if user_id else self._tokens.app_token(token))
        route.update_headers({"Authorization": f"Bearer {token}"})
        return await super().request(route)
