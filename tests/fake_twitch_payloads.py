"""What Twitch's EventSub says, as the fake says it: every key that the documentation lists and twitchio indexes."""

import datetime
import uuid
from dataclasses import dataclass
from typing import Any

NOTICE_PARTS = (
    "sub",
    "resub",
    "sub_gift",
    "community_sub_gift",
    "gift_paid_upgrade",
    "prime_paid_upgrade",
    "raid",
    "unraid",
    "pay_it_forward",
    "announcement",
    "bits_badge_tier",
    "charity_donation",
    "shared_chat_sub",
    "shared_chat_resub",
    "shared_chat_sub_gift",
    "shared_chat_community_sub_gift",
    "shared_chat_gift_paid_upgrade",
    "shared_chat_prime_paid_upgrade",
    "shared_chat_raid",
    "shared_chat_pay_it_forward",
    "shared_chat_announcement",
    "watch_streak",
    "modiversary",
    "shared_chat_modiversary",
)


@dataclass(frozen=True)
class User:
    """An account of the fake."""

    id: str
    login: str
    name: str


def rfc3339(moment: datetime.datetime | None = None) -> str:
    """The current time as Twitch writes it, with nanoseconds."""
    moment = moment or datetime.datetime.now(datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "123Z"


def person(prefix: str, user: User | None) -> dict[str, Any]:
    if user is None:
        return {f"{prefix}_user_id": None, f"{prefix}_user_login": None, f"{prefix}_user_name": None}
    return {f"{prefix}_user_id": user.id, f"{prefix}_user_login": user.login, f"{prefix}_user_name": user.name}


def badge_list(badges: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"set_id": name, "id": "1", "info": ""} for name in badges]


def fragments_of(text: str, emotes: dict[str, str]) -> list[dict[str, Any]]:
    """A text cut where an emote's word stands: `emotes` maps words to ids."""
    found: list[dict[str, Any]] = []

    def add(kind: str, part: str, emote: dict[str, Any] | None = None) -> None:
        if kind == "text" and found and found[-1]["type"] == "text":
            found[-1]["text"] += part
        else:
            found.append({"type": kind, "text": part, "cheermote": None, "emote": emote, "mention": None})

    for number, word in enumerate(text.split(" ")):
        if number:
            add("text", " ")
        if word in emotes:
            add("emote", word, {"id": emotes[word], "emote_set_id": "0", "owner_id": "0", "format": ["static"]})
        elif word:
            add("text", word)
    return found


def chat_message(
    broadcaster: User,
    chatter: User,
    text: str,
    *,
    message_id: str | None = None,
    badges: tuple[str, ...] = (),
    emotes: dict[str, str] | None = None,
    reply_to: tuple[str, User, str] | None = None,
    bits: int = 0,
    source: User | None = None,
) -> dict[str, Any]:
    """`channel.chat.message`. `reply_to` is the parent's id, author and text; `source` a shared chat's other room."""
    reply = None
    if reply_to is not None:
        parent_id, parent, parent_text = reply_to
        reply = {
            "parent_message_id": parent_id,
            "parent_message_body": parent_text,
            **person("parent", parent),
            "thread_message_id": parent_id,
            **person("thread", parent),
        }
    return {
        **person("broadcaster", broadcaster),
        **person("chatter", chatter),
        "message_id": message_id or str(uuid.uuid4()),
        "message": {"text": text, "fragments": fragments_of(text, emotes or {})},
        "color": "#1E90FF",
        "badges": badge_list(badges),
        "message_type": "text",
        "cheer": {"bits": bits} if bits else None,
        "reply": reply,
        "channel_points_custom_reward_id": None,
        "channel_points_animation_id": None,
        **person("source_broadcaster", source),
        "source_message_id": str(uuid.uuid4()) if source else None,
        "source_badges": badge_list(badges) if source else None,
        "is_source_only": False if source else None,
    }


def notice(
    broadcaster: User, chatter: User, kind: str, part: dict[str, Any], *, text: str = "", anonymous: bool = False
) -> dict[str, Any]:
    """`channel.chat.notification`: a subscription, gift, raid or announcement as chat shows it."""
    return {
        **person("broadcaster", broadcaster),
        **person("chatter", chatter),
        "chatter_is_anonymous": anonymous,
        "color": "",
        "badges": [],
        "system_message": f"{chatter.name}: {kind}",
        "message_id": str(uuid.uuid4()),
        "message": {"text": text, "fragments": fragments_of(text, {})},
        "notice_type": kind,
        **person("source_broadcaster", None),
        "source_message_id": None,
        "source_badges": None,
        "is_source_only": None,
        **{name: part if name == kind else None for name in NOTICE_PARTS},
    }


def sub(tier: int = 1, months: int = 1) -> dict[str, Any]:
    return {"sub_tier": f"{tier}000", "is_prime": False, "duration_months": months}


def resub(tier: int = 1, months: int = 1) -> dict[str, Any]:
    return {
        "sub_tier": f"{tier}000",
        "is_prime": False,
        "is_gift": False,
        "duration_months": 1,
        "cumulative_months": months,
        "streak_months": None,
        "gifter_is_anonymous": None,
        **person("gifter", None),
    }


def sub_gift(recipient: User, *, tier: int = 1, community_gift_id: str | None = None) -> dict[str, Any]:
    return {
        "sub_tier": f"{tier}000",
        "duration_months": 1,
        "cumulative_total": None,
        "community_gift_id": community_gift_id,
        **person("recipient", recipient),
    }


def community_sub_gift(total: int, *, tier: int = 1, gift_id: str = "bomb") -> dict[str, Any]:
    return {"sub_tier": f"{tier}000", "total": total, "cumulative_total": None, "id": gift_id}


def raid(raider: User, viewers: int) -> dict[str, Any]:
    return {
        "user_id": raider.id,
        "user_login": raider.login,
        "user_name": raider.name,
        "viewer_count": viewers,
        "profile_image_url": "https://static-cdn.jtvnw.net/none.png",
    }


def message_delete(broadcaster: User, target: User, message_id: str) -> dict[str, Any]:
    return {**person("broadcaster", broadcaster), **person("target", target), "message_id": message_id}


def clear_user_messages(broadcaster: User, target: User) -> dict[str, Any]:
    return {**person("broadcaster", broadcaster), **person("target", target)}


def clear(broadcaster: User) -> dict[str, Any]:
    return person("broadcaster", broadcaster)


def stream_online(broadcaster: User) -> dict[str, Any]:
    return {**person("broadcaster", broadcaster), "id": "9001", "type": "live", "started_at": rfc3339()}


def stream_offline(broadcaster: User) -> dict[str, Any]:
    return {**person("broadcaster", broadcaster), "id": "9001"}


def follow(broadcaster: User, follower: User) -> dict[str, Any]:
    return {
        "user_id": follower.id,
        "user_login": follower.login,
        "user_name": follower.name,
        **person("broadcaster", broadcaster),
        "followed_at": rfc3339(),
    }


def redemption(broadcaster: User, viewer: User, reward: str, text: str = "") -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        **person("broadcaster", broadcaster),
        "user_id": viewer.id,
        "user_login": viewer.login,
        "user_name": viewer.name,
        "user_input": text,
        "status": "unfulfilled",
        "reward": {"id": str(uuid.uuid4()), "title": reward, "cost": 100, "prompt": ""},
        "redeemed_at": rfc3339(),
    }
