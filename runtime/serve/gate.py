"""Who may ask, how much and how many at a time: decided before a request is read."""

import asyncio
import ipaddress
import secrets
import socket
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import ApiError

LARGEST = 4 << 20  # bytes of a request's body
WAITING = 256  # requests that may wait for their turn or be answered, all together
SLOWEST = 60.0  # seconds that a client has for sending its request


class Gate:
    """In front of the app: the key, or, where there is none, that no web page is asking.

    A server without a key trusts whoever reaches it. A page in a browser on this machine does, too, under
    a name of its own (DNS rebinding) or with an Origin; neither is answered.
    """

    def __init__(self, app: ASGIApp, api_key: str | None, host: str) -> None:
        self.app, self.api_key = app, api_key
        self.names = {"localhost", host.lower(), socket.gethostname().lower()}
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        try:
            if request.url.path != "/health":
                self._known(request)
            generates = request.method == "POST"
            if generates and self.inside >= WAITING:
                text = f"{WAITING} requests are waiting already."
                raise ApiError(503, text, code="overloaded", headers={"retry-after": "2"})
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        self.inside += generates
        try:
            await self.app(scope, receive, send)
        finally:
            self.inside -= generates

    def _known(self, request: Request) -> None:
        if self.api_key is None:
            for header in ("host", "origin"):
                if (given := request.headers.get(header)) is not None and not self._is_ours(given):
                    text = f"The {header} {given[:100]!r} is not this server's; one with a key takes any."
                    raise ApiError(403, text)
            return
        scheme, _, key = request.headers.get("authorization", "").strip().partition(" ")
        right = secrets.compare_digest(key.strip().encode("latin-1"), self.api_key.encode())
        if scheme.lower() != "bearer" or not right:
            text = "No API key was given, or a wrong one."
            raise ApiError(
                401, text, code="invalid_api_key", headers={"www-authenticate": "Bearer"}
            )

    def _is_ours(self, given: str) -> bool:
        """Whether a Host or an Origin names this machine; an address can't be rebound."""
        try:
            name = urlsplit(given if "://" in given else f"//{given}").hostname or ""
            return name in self.names or bool(ipaddress.ip_address(name))
        except ValueError:
            return False


async def body(request: Request) -> bytes:
    """The JSON that a client sent. Raises ApiError for another kind, too much, or too slow a client."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(400, "The Content-Type must be application/json.", code="invalid_json")
    found, size = [], 0
    try:
        async with asyncio.timeout(SLOWEST):
            async for part in request.stream():
                size += len(part)
                if size <= LARGEST:
                    found.append(part)
                elif size > 16 * LARGEST:  # up to here it is read, so that the answer is, too
                    break
    except TimeoutError:
        raise ApiError(408, f"The request took longer than {SLOWEST:.0f} s to arrive.") from None
    if size > LARGEST:
        raise ApiError(413, f"The request is larger than {LARGEST >> 20} MiB.")
    return b"".join(found)
