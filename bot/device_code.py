"""Signing in at the terminal: Twitch's device code flow. A code to type in on any device; no web server, no secret."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twitchio.authentication.scopes import Scopes
from twitchio.http import Route

from bot.twitch_http import TwitchError, TwitchOAuth
from corpus.errors import SignInError

SLOWER_S = 5.0
TOO_LATE = "nobody entered the code in time; run the same command for a new one"


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a person needs: open `url`, where the code is filled in already, and say yes."""

    code: str
    url: str
    expires_s: float


@dataclass(frozen=True, slots=True, repr=False)
class Granted:
    """The tokens of whoever said yes."""

    access_token: str
    refresh_token: str


async def sign_in_by_device(
    oauth: TwitchOAuth,
    scopes: Sequence[str],
    show: Callable[[DeviceCode], None],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Granted:
    """Show a code and wait until somebody has entered it. Raises `SignInError` when nobody did, or said no."""
    wanted = Scopes(list(scopes))
    try:
        device: dict[str, Any] = await oauth.device_code_flow(scopes=wanted)
    except TwitchError as error:
        if error.passing or not error.reason:  # a client id is refused with a reason; anything else is not Twitch
            raise
        raise SignInError(
            f"Twitch does not accept the client id ({error.reason}); compare [twitch] client_id in config.toml "
            "with the developer console"
        ) from None
    show(DeviceCode(device["user_code"], device["verification_uri"], float(device["expires_in"])))
    interval_s, left_s = float(device.get("interval") or 5), float(device["expires_in"])
    while left_s > 0:
        await sleep(interval_s)
        left_s -= interval_s
        try:
            granted = await oauth.request_json(_question(oauth, wanted, device["device_code"]))
        except TwitchError as error:
            match error.reason.lower().replace(" ", "_"):
                case "authorization_pending":
                    continue
                case "slow_down":
                    interval_s += SLOWER_S
                    continue
                case "access_denied":
                    raise SignInError("somebody said no to the sign-in; run the same command to try again") from None
                case "invalid_device_code" | "expired_token":  # Twitch's word for a code that is too old or was used
                    raise SignInError(TOO_LATE) from None
            if error.passing:
                continue
            raise SignInError(
                f"Twitch ended the sign-in ({error.reason or error.status}); run the same command again"
            ) from None
        return Granted(granted["access_token"], granted["refresh_token"])
    raise SignInError(TOO_LATE)


def _question(oauth: TwitchOAuth, scopes: Scopes, device_code: str) -> Route:
    parameters = {
        "client_id": oauth.client_id,
        "scopes": scopes.urlsafe(),
        "device_code": device_code,
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
    }
    return Route("POST", "/oauth2/token", use_id=True, params=parameters)
