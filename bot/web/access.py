"""Who may talk to the pages' server: Host and Origin checks, the token of a server that listens beyond loopback, CSP.

Stands between any web page somebody visits and a program on their machine that can speak on stream.
"""

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from corpus.errors import SettingsError

COOKIE = "backchat_token"
SAFE_METHODS = frozenset({"GET", "HEAD"})


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def token_for(host: str, file: Path) -> str | None:
    """The token that pages on `host` ask for: None on loopback; else the one kept in `file`, made on first use.

    The file is readable by its owner alone, because the token lets whoever has it speak on stream.
    """
    if is_loopback(host):
        return None
    try:
        token = file.read_text(encoding="utf-8").strip()
        if token:
            return token
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{file}: the pages' token cannot be read ({error.strerror}); delete the file") from error
    token = secrets.token_urlsafe(24)
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(token + "\n", encoding="utf-8")
    return token


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one server: the host it listens on and, beyond loopback, the token it asks for."""

    host: str = "127.0.0.1"
    token: str | None = None

    def __repr__(self) -> str:
        return f"Access(host={self.host!r}, token={'***' if self.token else None})"

    def knows_host(self, header: str) -> bool:
        """Whether a Host header names this server. A name that somebody else's DNS points here does not."""
        try:
            name = urlsplit(f"//{header}").hostname or ""
        except ValueError:
            return False
        if is_loopback(name) or name == self.host.lower():
            return True
        if is_loopback(self.host):
            return False
        try:
            ipaddress.ip_address(name)  # an address cannot be rebound by DNS
        except ValueError:
            return False
        return True

    def knows_origin(self, request: web.Request) -> bool:
        """Whether a request comes from one of our own pages, or from no page at all (a program of this machine)."""
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return False
        origin = request.headers.get("Origin")
        return origin is None or origin.lower() == f"http://{request.headers.get('Host', '')}".lower()

    def knows_token(self, request: web.Request) -> bool:
        if self.token is None:
            return True
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        given = request.query.get("token") or request.cookies.get(COOKIE) or bearer
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.token.encode())


def policy(request: web.Request) -> str:
    """The content security policy: our own files only, no inline script, nothing from elsewhere.

    OBS puts a streamer's custom CSS into the overlay as an inline style sheet, so there styles may be inline.
    """
    styles = "'self' 'unsafe-inline'" if request.path == "/overlay" else "'self'"
    here = request.headers.get("Host", "")
    return (
        f"default-src 'none'; script-src 'self'; style-src {styles}; img-src 'self'; connect-src 'self' ws://{here}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def guard(access: Access) -> Middleware:
    """The middleware in front of every page."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not access.knows_host(request.headers.get("Host", "")):
            raise web.HTTPMisdirectedRequest(text="This server does not answer to that name.\n")
        if (request.method not in SAFE_METHODS or request.path == "/live") and not access.knows_origin(request):
            raise web.HTTPForbidden(text="Another site's page may not do this.\n")
        if not access.knows_token(request):
            raise web.HTTPUnauthorized(text="Open the address with the token that `backchat run` printed.\n")
        return await handler(request)

    return guarded


def dress(access: Access) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Headers for every answer, errors included; and the token as a cookie once it was given in the address."""

    async def dressed(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Content-Security-Policy"] = policy(request)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        # The mark tells docs/overlay-loader.html, a local file, that the overlay can be opened now.
        anyone = request.path == "/static/mark.svg"
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin" if anyone else "same-origin"
        response.headers.setdefault("Cache-Control", "no-cache")
        if access.token and request.query.get("token") and response.status < 400:
            response.headers["Set-Cookie"] = f"{COOKIE}={access.token}; HttpOnly; SameSite=Strict; Path=/"

    return dressed
