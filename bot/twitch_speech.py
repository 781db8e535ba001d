"""How the companion's lines reach Twitch: as the application or the account, and what Twitch made of each.

Knows nothing of listening, except for the roles that the listener finds on the companion's own lines.
"""

from collections.abc import Callable, Mapping
from typing import Any

from bot.auth import Account, TokenKeeper
from bot.chat import OutgoingLine, Role, SendLimits, Sent
from bot.twitch_http import Helix, TwitchError
from corpus.errors import SignInError

FAST_ROLES: frozenset[Role] = frozenset({"broadcaster", "moderator", "vip"})


class Speech:
    """`roles` are the companion's, by channel: they decide how fast it may speak."""

    def __init__(self, helix: Helix, keeper: TokenKeeper, tell: Callable[[str], None]) -> None:
        self._helix = helix
        self._keeper = keeper
        self._tell = tell
        self._app_sends_refused = False
        self.roles: dict[str, frozenset[Role]] = {}

    async def send(self, companion: Account, broadcaster_id: str, line: OutgoingLine) -> Sent:
        """Say a line. Raises `TwitchError` for a fault that passes; a refusal is a `drop_reason`."""
        try:
            answer = await self._post(companion, broadcaster_id, line)
        except SignInError as error:
            return Sent(drop_reason=str(error))
        except TwitchError as error:
            if error.status == 429:
                return Sent(drop_reason="Twitch: too many messages", retry_after_s=error.retry_after_s)
            if error.passing:
                raise
            return Sent(drop_reason=f"Twitch refuses ({error.status} {error.reason})")
        result = (answer.get("data") or [{}])[0]
        if result.get("is_sent"):
            return Sent(message_id=result.get("message_id"))
        reason = result.get("drop_reason") or {}
        return Sent(drop_reason=f"{reason.get('code', 'dropped')}: {reason.get('message', 'Twitch gives no reason')}")

    def limits(self, channel: str) -> SendLimits:
        """20 lines in 30 s and one a second; 100 and no pause where the companion is broadcaster, moderator or VIP."""
        if self.roles.get(channel, frozenset()) & FAST_ROLES:
            return SendLimits(messages=100, pause_s=0.0)
        return SendLimits()

    async def _post(self, companion: Account, broadcaster_id: str, line: OutgoingLine) -> Mapping[str, Any]:
        """Through the application's token where there is a secret, which earns the bot badge; else as the account."""
        as_app = bool(self._keeper.has_client_secret and "user:bot" in companion.scopes and not self._app_sends_refused)
        try:
            answer: Mapping[str, Any] = await self._helix.post_chat_message(
                broadcaster_id,
                companion.user_id,
                line.text,
                token_for=None if as_app else companion.user_id,
                reply_to_message_id=line.reply_to,
            )
            return answer
        except TwitchError as error:
            if not as_app or error.status not in (401, 403):
                raise
            self._app_sends_refused = True
            self._tell(
                f"no bot badge: Twitch refuses sends of the application ({error.reason}); sending as the account"
            )
            return await self._post(companion, broadcaster_id, line)
