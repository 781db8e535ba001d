"""How the companion's lines reach Twitch: as the application or the account, and what Twitch made of each.

Knows nothing of listening, except for the roles that the listener finds on the companion's own lines.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from bot.auth import Account, TokenKeeper
from bot.chat import OutgoingLine, Role, SendLimits, Sent
from bot.twitch_http import Helix, TwitchError
from corpus.errors import SignInError

FAST_ROLES: frozenset[Role] = frozenset({"broadcaster", "moderator", "vip"})


class Speech:
    """`roles` are the companion's, by channel: they decide how fast it may speak.

    `speakers`: how many processes speak as this account. Twitch counts the account, so each keeps to its share.
    """

    def __init__(self, helix: Helix, keeper: TokenKeeper, tell: Callable[[str], None], *, speakers: int = 1) -> None:
        self._speakers = speakers
        self._helix = helix
        self._keeper = keeper
        self._tell = tell
        self._app_refused: set[tuple[str, frozenset[str]]] = set()
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
        fast = self.roles.get(channel, frozenset()) & FAST_ROLES
        whole = SendLimits(messages=100, pause_s=0.0) if fast else SendLimits()
        share = max(1, whole.messages // self._speakers)
        # Beyond one line a window each, only a longer window keeps the sum below the limit.
        longer = max(1.0, share * self._speakers / whole.messages)
        return replace(whole, messages=share, seconds=whole.seconds * longer, pause_s=whole.pause_s * self._speakers)

    async def _post(self, companion: Account, broadcaster_id: str, line: OutgoingLine) -> Mapping[str, Any]:
        """Through the application's token where there is a secret, which earns the bot badge; else as the account."""
        # A new sign-in may have brought what the application lacked.
        here = (broadcaster_id, frozenset(self._keeper.signed_in.accounts))
        if not self._keeper.has_client_secret or "user:bot" not in companion.scopes or here in self._app_refused:
            return await self._post_as(companion.user_id, companion, broadcaster_id, line)
        try:
            return await self._post_as(None, companion, broadcaster_id, line)
        except (SignInError, TwitchError) as error:
            if isinstance(error, TwitchError) and error.status not in (401, 403):
                raise
            refused = error.reason if isinstance(error, TwitchError) else str(error)
        answer = await self._post_as(companion.user_id, companion, broadcaster_id, line)
        self._app_refused.add(here)
        self._tell(
            f"#{line.channel}: no bot badge: Twitch refuses sends of the application ({refused}); "
            "sending as the account"
        )
        return answer

    async def _post_as(
        self, token_for: str | None, companion: Account, broadcaster_id: str, line: OutgoingLine
    ) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = await self._helix.post_chat_message(
            broadcaster_id, companion.user_id, line.text, token_for=token_for, reply_to_message_id=line.reply_to
        )
        return answer
