"""What Twitch's EventSub notifications mean to the companion: JSON in, typed events of the `Chat` seam out. Pure.

Reads Twitch's JSON itself rather than through twitchio's models, which raise KeyError when Twitch leaves a key out.
"""

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from bot.chat import (
    ChatEvent,
    ChatterCleared,
    Cheered,
    Followed,
    MessageDeleted,
    MessageReceived,
    PointsRedeemed,
    Raided,
    Role,
    RoomCleared,
    StreamChanged,
    Subscribed,
    SubsGifted,
)
from corpus.message import ChatMessage, Emote

ROLE_OF_BADGE: Mapping[str, Role] = {
    "broadcaster": "broadcaster",
    "moderator": "moderator",
    "lead_moderator": "moderator",
    "vip": "vip",
    "subscriber": "subscriber",
    "founder": "subscriber",
}
ANONYMOUS = "somebody"


def sent_ms(timestamp: str) -> int | None:
    """Twitch's RFC 3339 time with nanoseconds, as UTC milliseconds; None when it is not one."""
    try:
        moment = datetime.datetime.fromisoformat(timestamp.rstrip("Z")[:26])
    except ValueError:
        return None
    return int(moment.replace(tzinfo=datetime.UTC).timestamp() * 1000)


def roles_of(badges: Iterable[str]) -> frozenset[Role]:
    return frozenset(ROLE_OF_BADGE[badge] for badge in badges if badge in ROLE_OF_BADGE)


def events_of(
    subscription: str, event: Mapping[str, Any], *, timestamp: str = "", own_id: str | None = None
) -> list[ChatEvent]:
    """The events one notification stands for; none for what the companion has no use of.

    `subscription` is the type, `timestamp` the notification's, `own_id` the companion's user id. A cheer is two
    events, the message and the bits. A gift that is part of a bigger one is none, the bigger one is told.
    """
    channel = str(event.get("broadcaster_user_login", "")).lower()
    match subscription:
        case "channel.chat.message":
            return _message(channel, event, timestamp, own_id)
        case "channel.chat.notification":
            return _notice(channel, event)
        case "channel.chat.message_delete":
            return [MessageDeleted(channel, event.get("message_id", ""), event.get("target_user_login", ""))]
        case "channel.chat.clear_user_messages":
            return [ChatterCleared(channel, event.get("target_user_login", ""), event.get("target_user_id"))]
        case "channel.chat.clear":
            return [RoomCleared(channel)]
        case "channel.follow":
            return [Followed(channel, _name(event, "user"))]
        case "channel.channel_points_custom_reward_redemption.add":
            reward = event.get("reward") or {}
            return [
                PointsRedeemed(channel, _name(event, "user"), reward.get("title", ""), event.get("user_input") or "")
            ]
        case "stream.online":
            return [StreamChanged(channel, online=True)]
        case "stream.offline":
            return [StreamChanged(channel, online=False)]
    return []


def _message(channel: str, event: Mapping[str, Any], timestamp: str, own_id: str | None) -> list[ChatEvent]:
    badges = tuple(badge.get("set_id", "") for badge in event.get("badges") or ())
    content = event.get("message") or {}
    reply = event.get("reply") or {}
    message = ChatMessage(
        id=event["message_id"],
        channel=channel,
        login=event["chatter_user_login"].lower(),
        text=content.get("text", ""),
        sent_ms=sent_ms(timestamp),
        user_id=event.get("chatter_user_id"),
        display_name=event.get("chatter_user_name") or "",
        badges=badges,
        emotes=_emotes(content.get("fragments") or ()),
        reply_to=reply.get("parent_message_id"),
    )
    source = event.get("source_broadcaster_user_id")
    other_room = source is not None and source != event.get("broadcaster_user_id")
    own = own_id is not None and message.user_id == own_id
    events: list[ChatEvent] = [MessageReceived(message, roles_of(badges), own=own, other_room=other_room)]
    bits = (event.get("cheer") or {}).get("bits") or 0
    if bits and not other_room:
        events.append(Cheered(channel, message.name, bits, message.text))
    return events


def _emotes(fragments: Iterable[Mapping[str, Any]]) -> tuple[Emote, ...]:
    emotes = []
    at = 0
    for fragment in fragments:
        length = len(fragment.get("text") or "")
        emote = fragment.get("emote")
        if emote:
            emotes.append(Emote(str(emote.get("id", "")), at, at + length))
        at += length
    return tuple(emotes)


def _notice(channel: str, event: Mapping[str, Any]) -> list[ChatEvent]:
    kind = event.get("notice_type", "")
    part = event.get(kind) or {}
    name = ANONYMOUS if event.get("chatter_is_anonymous") else _name(event, "chatter_user")
    text = (event.get("message") or {}).get("text") or ""
    match kind:
        case "sub":
            return [Subscribed(channel, name, _tier(part), max(1, part.get("duration_months") or 1))]
        case "resub":
            months = part.get("cumulative_months") or 1
            return [Subscribed(channel, name, _tier(part), months, gifted=bool(part.get("is_gift")), text=text)]
        case "prime_paid_upgrade" | "gift_paid_upgrade" | "pay_it_forward":
            return [Subscribed(channel, name, _tier(part), text=text)]
        case "sub_gift":
            if part.get("community_gift_id"):
                return []
            return [SubsGifted(channel, name, 1, _tier(part))]
        case "community_sub_gift":
            return [SubsGifted(channel, name, part.get("total") or 1, _tier(part))]
        case "raid":
            return [Raided(channel, (part.get("user_login") or "").lower(), part.get("viewer_count") or 0)]
    return []


def _tier(part: Mapping[str, Any]) -> int:
    return {"2000": 2, "3000": 3}.get(str(part.get("sub_tier")), 1)


def _name(event: Mapping[str, Any], prefix: str) -> str:
    """The display name, else the login: keys are `user_name` or `chatter_user_name` and so on."""
    return event.get(f"{prefix}_name") or event.get(f"{prefix}_login") or ANONYMOUS
