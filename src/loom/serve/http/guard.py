"""Who may speak to a server: the Host header, the key, pages of other origins.

Layer: serve. Invariant: a page that a browser loaded from elsewhere reaches nothing, whatever name it has its name
server give to this machine.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from ipaddress import ip_address

from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass
from loom.serve.refusals import Refusal

__all__ = ["RequestGuard", "host_name", "is_loopback", "page_origin"]

_HOST = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]*))(?::[0-9]*)?")
_NAME = re.compile(r"[a-z0-9._-]+")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
_USUAL_PORTS = {"http": ":80", "https": ":443"}
_OPEN = ("/", "/health")
"""Paths that need no key: they tell nothing of models or texts."""


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on is reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _name_of(host: str) -> str:
    """Return a Host header's name, without port and brackets, in small letters."""
    name = host.strip().lower()
    parts = _HOST.fullmatch(name)
    return name if parts is None else parts[1] or parts[2]


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def host_name(text: str) -> str:
    """Return a name or an address as Host headers are compared with it; ArgumentError for what none can be.

    >>> host_name("Loom.Example"), host_name("::1")
    ('loom.example', '::1')
    """
    name = text.strip().lower()
    if not _NAME.fullmatch(name) and not _is_address(name):
        raise ArgumentError("loom serve, --allow-host", "no name of a host", expected="a name, without scheme and port",
                            got=repr(text)[:100], remedy="Write example.org; names beyond ASCII as xn--..")  # fmt: skip
    return name


def page_origin(text: str) -> str:
    """Return an origin as browsers send it; ArgumentError for what none sends.

    >>> page_origin("HTTPS://Example.org:443/"), page_origin("http://localhost:3000")
    ('https://example.org', 'http://localhost:3000')
    """
    origin = text.strip().lower().removesuffix("/")
    if origin != "null" and not _ORIGIN.fullmatch(origin):
        raise ArgumentError("loom serve, --allow-origin", "no origin of a page", expected="a scheme and a host",
                            got=repr(text)[:100], remedy="Write https://example.org, one for each, without a path",
                            )  # fmt: skip
    return origin.removesuffix(_USUAL_PORTS.get(origin.partition(":")[0], "/"))


@dataclass(frozen=True, slots=True)
class RequestGuard:
    """``keys``: any of them will do, none means that none is asked for. ``hosts``: names that the server has.

    Addresses and ``localhost`` are always the server's: a name server cannot give them to another page.
    """

    keys: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def check(self, path: str, headers: Sequence[tuple[bytes, bytes]], method: str = "GET") -> None:
        """Let a request pass, or raise the Refusal."""
        if _all(headers, b"transfer-encoding") and _all(headers, b"content-length"):
            raise Refusal(
                400,
                "A request has one length: Content-Length and Transfer-Encoding are both there.",
                code="ambiguous_length",
                last=True,
            )
        self._check_host(_all(headers, b"host"))
        self._check_origin(headers)
        # before a page's request its browser asks whether it may, and sends no key with that
        is_question = method == "OPTIONS" and bool(_all(headers, b"access-control-request-method"))
        if self.keys and path not in _OPEN and not is_question:
            self._check_key(_all(headers, b"authorization"))

    def _check_host(self, hosts: list[str]) -> None:
        if len(hosts) != 1:
            raise Refusal(400, "A request has one Host header.", code="invalid_host", last=True)
        name = _name_of(hosts[0])
        if name != "localhost" and not _is_address(name) and name not in self.hosts:
            raise Refusal(403, f"The server does not go by the name {name[:100]!r}. Start it with --allow-host.",
                          code="invalid_host")  # fmt: skip

    def _check_origin(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        origins = _all(headers, b"origin")
        for origin in origins:
            host = _all(headers, b"host")[0].strip().lower()
            own = origin.strip().lower().partition("://")[2]
            if own != host and origin not in self.origins:
                raise Refusal(403, "Pages of other origins may not use this server. Start it with --allow-origin.",
                              code="invalid_origin")  # fmt: skip

    def _check_key(self, given: list[str]) -> None:
        scheme, _, key = (given[0] if len(given) == 1 else "").partition(" ")
        data = key.strip().encode("utf-8", "surrogateescape")
        # all are compared, in the same time whichever it is
        good = [hmac.compare_digest(data, each.encode()) for each in self.keys]
        if scheme.lower() != "bearer" or not any(good):
            raise Refusal(401, "Incorrect API key: send 'Authorization: Bearer KEY'.", code="invalid_api_key")


def _all(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]
