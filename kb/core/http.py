"""The only outgoing HTTP client: model providers, webhooks and fetches all leave through here.

Promise EGRESS: no connection to an address that is not public, except those the operator listed;
to cloud metadata addresses never. The host is resolved once, every address is judged, and the
socket is opened to the judged address, so that a second DNS answer cannot lead elsewhere. TLS and
the Host header keep the name. Redirects are not followed unless asked for, and each one is judged
like a first request. Proxies named in the environment are ignored: behind a proxy nothing could
be judged.

One call, one verdict: every failure is an `HttpError` whose ``kind`` a program can branch on and
whose ``sent`` says whether the other side may have received (and charged for) the request.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from types import TracebackType
from typing import Any, Literal, Self

import httpcore2
import httpx2
from django.conf import settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]

MAX_RESPONSE_BYTES = 8 * 1024 * 1024
"""An answer of a model is some tens of kilobytes; a list of models rarely passes one megabyte."""
MAX_REDIRECTS = 3
MAX_URL_LENGTH = 4_000
MAX_CONNECTIONS = 1_000
"""As many as one connection to a vendor may be allowed; fewer would make calls wait unseen."""
MAX_IDLE_CONNECTIONS = 100
MAX_ADDRESSES_TRIED = 4
"""A host with many addresses must not turn one request into a scan."""
CONNECT_SECONDS = 10.0
"""TCP and TLS handshakes over a slow line take about one second; ten is a dead host."""
KEEP_ALIVE_SECONDS = 30.0
USER_AGENT = "Retex"
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
SAFE_METHODS = frozenset({"GET", "HEAD"})

# Blocks that are not public unicast. Sources: IANA IPv4 and IPv6 Special-Purpose Address
# Registries (RFC 6890 and successors), RFC 5771 (multicast), RFC 1112 (class E).
_CLOSED_IPV4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_OPEN_IPV6 = IPv6Network("2000::/3")
"""The only block IANA hands out as global unicast; everything outside is closed, NAT64 included."""
_CLOSED_IPV6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking
        "2001:db8::/32",
        "2002::/16",  # 6to4: may carry any IPv4 address
        "3fff::/20",
    )
)
_METADATA: frozenset[Address] = frozenset(
    ip_address(spelling)
    for spelling in (
        "169.254.169.254",  # AWS, Azure, Google, Oracle, OpenStack, …
        "fd00:ec2::254",
        "fd20:ce::254",  # Google over IPv6
        "169.254.170.2",  # AWS container credentials
        "169.254.170.23",
        "fd00:ec2::23",
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle classic
        "168.63.129.16",  # Azure platform channel, a public address by its number
    )
)
_NAT64_PREFIXES = (bytes.fromhex("0064ff9b" + "00" * 8), bytes.fromhex("0064ff9b0001" + "00" * 6))
_IPV4_COMPATIBLE_PREFIX = bytes(12)

HttpErrorKind = Literal[
    "bad_url",
    "bad_header",
    "refused",
    "dns",
    "connect",
    "tls",
    "timeout",
    "truncated",
    "too_large",
    "redirect",
]


class HttpError(Exception):
    """A request that brought no answer.

    ``sent`` is False only when no byte of the request can have reached the server, so that
    nothing can have happened there. Messages name the host, never the path, query or headers.
    """

    def __init__(self, kind: HttpErrorKind, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.kind: HttpErrorKind = kind
        self.sent = sent


class EgressRefused(HttpError):
    """The address may not be contacted from here; nothing was sent to it."""

    def __init__(self, message: str) -> None:
        super().__init__("refused", message)


class ResponseTooLarge(HttpError):
    """The answer passed the limit and was dropped unread."""

    def __init__(self, host: str, limit: int) -> None:
        super().__init__(
            "too_large",
            f"The answer of {host} is larger than the limit of {limit:,} bytes.",
            sent=True,
        )


class HttpTimeout(HttpError):
    """The time given for the whole exchange, or for connecting, ran out."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__("timeout", message, sent=sent)


class InvalidEgressPolicy(ValueError):
    """An entry of the operator's allow list cannot be understood."""


@dataclass(frozen=True, slots=True)
class AllowedNetwork:
    """Addresses the operator opened; ``port`` None means every port."""

    network: Network
    port: int | None = None


@dataclass(frozen=True, slots=True)
class AllowedHost:
    """A name the operator trusts, wherever inside the company it resolves to."""

    name: str
    port: int | None = None


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Which addresses outside the public internet may be contacted. Empty: none."""

    networks: tuple[AllowedNetwork, ...] = ()
    hosts: tuple[AllowedHost, ...] = ()

    @classmethod
    def parse(cls, text: str) -> EgressPolicy:
        """Read entries separated by commas or spaces.

        An entry is an address, a CIDR block or a host name, each with an optional ``:port``;
        an IPv6 entry with a port is written in brackets: ``127.0.0.1, 10.0.0.0/8,
        [fd00::/8]:443, ollama.internal:11434``. Raises InvalidEgressPolicy naming the entry.
        """
        networks: list[AllowedNetwork] = []
        hosts: list[AllowedHost] = []
        for entry in re.split(r"[,\s]+", text.strip()):
            if not entry:
                continue
            parsed = _parse_entry(entry)
            if isinstance(parsed, AllowedNetwork):
                networks.append(parsed)
            else:
                hosts.append(parsed)
        return cls(tuple(networks), tuple(hosts))

    def permitted(
        self, host: str, port: int, addresses: Iterable[Address], *, plain: bool
    ) -> list[Address]:
        """The addresses of ``host`` that may be contacted, in the order given.

        ``plain`` asks for unencrypted http, which only listed destinations get. IPv4-mapped IPv6
        addresses are judged and returned as the IPv4 address they mean. Raises EgressRefused,
        with the reason of the first address, when none is left.
        """
        allowed: list[Address] = []
        refusals: list[str] = []
        for address in map(_unmapped, addresses):
            refusal = self._refusal(host, port, address, plain=plain)
            if refusal:
                refusals.append(refusal)
            else:
                allowed.append(address)
        if not allowed:
            raise EgressRefused(refusals[0] if refusals else f"{host} has no address.")
        return allowed

    def _refusal(self, host: str, port: int, address: Address, *, plain: bool) -> str:
        """Why this address may not be contacted; empty when it may."""
        if not _METADATA.isdisjoint(_meanings(address)):
            return (
                f"{host} leads to {address}, a cloud metadata address; these are never contacted."
            )
        if self._is_listed(host, port, address):
            return ""
        if not is_public(address):
            return (
                f"{host} leads to {address}, which is not a public address. If it is meant, "
                f"an operator adds {address}:{port} to RETEX_EGRESS_ALLOW."
            )
        if plain:
            return (
                f"{host} would be contacted over the internet without encryption. "
                f"Use an address that starts with https://."
            )
        return ""

    def _is_listed(self, host: str, port: int, address: Address) -> bool:
        return any(
            address in entry.network and entry.port in (None, port) for entry in self.networks
        ) or any(
            entry.name == host.lower().rstrip(".") and entry.port in (None, port)
            for entry in self.hosts
        )


def policy_from_settings() -> EgressPolicy:
    """The operator's allow list, RETEX_EGRESS_ALLOW. Raises InvalidEgressPolicy."""
    return EgressPolicy.parse(settings.RETEX_EGRESS_ALLOW)


def is_public(address: Address) -> bool:
    """Whether the address is global unicast: one that anybody on the internet could be given.

    Stricter than ``ipaddress``'s ``is_global``, which lets NAT64, 6to4 and some multicast and
    IPv4-compatible addresses pass.
    """
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _CLOSED_IPV4)
    return address in _OPEN_IPV6 and not any(address in block for block in _CLOSED_IPV6)


async def resolve(host: str, port: int) -> list[Address]:
    """Every TCP address of ``host``, asked once from the system's resolver.

    Runs in a thread of its own: the resolver cannot be interrupted, and a hung one must hold up
    neither the event loop nor its end. Raises HttpError("dns").
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Address]] = loop.create_future()

    def ask() -> None:
        outcome: list[Address] | Exception
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            outcome = list(dict.fromkeys(ip_address(entry[4][0]) for entry in found))
        except (OSError, ValueError) as error:  # ValueError: a label longer than DNS allows
            outcome = error
        try:
            loop.call_soon_threadsafe(_settle, answer, host, outcome)
        except RuntimeError:
            return  # the loop ended while the resolver hung; nobody waits any more

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    return await answer


class HttpClient:
    """A pool of judged connections, to be used inside one event loop.

    ``async with HttpClient(policy_from_settings()) as http: await http.send("GET", url, timeout=5)``

    ``plain_http`` lets unencrypted http leave for public addresses as well; never with a key.
    ``ssl_context`` replaces the system's trust store (the default honours SSL_CERT_FILE, so that
    a company's own certificate authority works).
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        plain_http: bool = False,
        resolver: Resolver = resolve,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        # Two pools, because a network backend is not told the scheme it connects for, and the
        # rule for plain http is another one.
        self._pools = {
            scheme: httpcore2.AsyncConnectionPool(
                ssl_context=ssl_context or _system_trust(),
                max_connections=max_connections,
                max_keepalive_connections=MAX_IDLE_CONNECTIONS,
                keepalive_expiry=KEEP_ALIVE_SECONDS,
                network_backend=_JudgedConnections(policy, resolver, plain=plain),
            )
            for scheme, plain in (("https", False), ("http", not plain_http))
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.aclose()

    async def send(
        self,
        method: str,
        url: str,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        max_bytes: int = MAX_RESPONSE_BYTES,
        redirects: int = 0,
    ) -> HttpResponse:
        """One exchange, answered within ``timeout`` seconds in all, redirects included.

        Any status is an answer. With ``redirects`` at 0 a redirect is an answer too; up to 3
        are followed for GET and HEAD, from https never to http, and the given headers travel
        only as long as the host stays the same. Raises HttpError.
        """
        if not 0 <= redirects <= MAX_REDIRECTS or (redirects and method not in SAFE_METHODS):
            raise ValueError(f"{redirects} redirects cannot be followed for {method}.")
        outgoing = _Outgoing(method, _parse_url(url), dict(headers or {}), content, max_bytes)
        progress = _Progress()
        try:
            async with asyncio.timeout(timeout):
                return await self._follow(outgoing, redirects, progress)
        except TimeoutError as error:
            raise HttpTimeout(
                f"{outgoing.url.host} did not answer within {timeout:g} seconds.",
                sent=progress.sent,
            ) from error

    async def _follow(
        self, outgoing: _Outgoing, redirects: int, progress: _Progress
    ) -> HttpResponse:
        first_host = outgoing.url.host
        for _ in range(redirects + 1):
            response = await self._exchange(outgoing, progress)
            location = response.headers.get("location")
            if response.status not in REDIRECT_STATUSES or not location or not redirects:
                return response
            outgoing = outgoing.redirected(location)
        raise HttpError(
            "redirect", f"{first_host} redirected more than {redirects} times.", sent=True
        )

    async def _exchange(self, outgoing: _Outgoing, progress: _Progress) -> HttpResponse:
        url = outgoing.url
        has_body = bool(outgoing.content) or outgoing.method not in SAFE_METHODS
        try:
            async with self._pools[url.scheme].stream(
                outgoing.method,
                httpcore2.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=_wire_headers(url, outgoing.headers),
                content=outgoing.content if has_body else None,
                extensions={"timeout": {"connect": CONNECT_SECONDS}, "trace": progress.note},
            ) as response:
                headers = httpx2.Headers(response.headers)
                body = _decompress(
                    await _read(response, url.host, outgoing.max_bytes),
                    headers.get("content-encoding", ""),
                    url.host,
                    outgoing.max_bytes,
                )
                return HttpResponse(response.status, headers, body, str(url))
        except httpcore2.TimeoutException as error:
            raise HttpTimeout(
                f"{url.host} could not be reached within {CONNECT_SECONDS:g} seconds.",
                sent=progress.sent,
            ) from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise _translated(error, url.host, sent=progress.sent) from error


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """One request, before it is known where its host leads."""

    method: str
    url: httpx2.URL
    headers: Mapping[str, str]
    content: bytes
    max_bytes: int

    def redirected(self, location: str) -> _Outgoing:
        """The request a redirect asks for; the headers stay with the host they were given for."""
        onwards = _redirect_target(self.url, location)
        is_same_host = (onwards.host, onwards.port) == (self.url.host, self.url.port)
        return replace(self, url=onwards, headers=self.headers if is_same_host else {})


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole answer: ``headers`` ignore case, ``body`` is decompressed, ``url`` is the last hop's."""

    status: int
    headers: httpx2.Headers
    body: bytes
    url: str


def send(
    policy: EgressPolicy,
    method: str,
    url: str,
    *,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    content: bytes = b"",
    max_bytes: int = MAX_RESPONSE_BYTES,
    redirects: int = 0,
    plain_http: bool = False,
    resolver: Resolver = resolve,
    ssl_context: ssl.SSLContext | None = None,
) -> HttpResponse:
    """`HttpClient.send` for code that is not asynchronous; one connection, closed at the end.

    Drives the asynchronous client, so that there is one implementation to trust. Raises
    HttpError, and RuntimeError when called inside a running event loop.
    """

    async def once() -> HttpResponse:
        async with HttpClient(
            policy,
            plain_http=plain_http,
            resolver=resolver,
            ssl_context=ssl_context,
            max_connections=1,
        ) as client:
            return await client.send(
                method,
                url,
                timeout=timeout,
                headers=headers,
                content=content,
                max_bytes=max_bytes,
                redirects=redirects,
            )

    return asyncio.run(once())


class _JudgedConnections(httpcore2.AsyncNetworkBackend):
    """Opens sockets only to addresses the policy permits.

    It sits under the connection pool, so that connections stay keyed by name and TLS verifies
    that name, while the socket goes to the address that was judged.
    """

    def __init__(self, policy: EgressPolicy, resolver: Resolver, *, plain: bool) -> None:
        self._policy = policy
        self._resolver = resolver
        self._plain = plain
        self._tcp = httpcore2.AnyIOBackend()
        self._lookups: dict[tuple[str, int], asyncio.Task[Sequence[Address]]] = {}

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        found = await self._lookup(host, port)
        permitted = self._policy.permitted(host, port, found, plain=self._plain)
        tried = permitted[:MAX_ADDRESSES_TRIED]
        share = None if timeout is None else timeout / len(tried)
        failure: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in tried:
            try:
                return await self._tcp.connect_tcp(
                    str(address), port, share, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _lookup(self, host: str, port: int) -> Sequence[Address]:
        """Resolve once for all who wait for the same name at the same time."""
        lookup = self._lookups.get((host, port))
        if lookup is None:
            lookup = asyncio.create_task(self._resolved(host, port))
            self._lookups[host, port] = lookup
            lookup.add_done_callback(lambda done: self._forget(host, port, done))
        return await asyncio.shield(lookup)

    async def _resolved(self, host: str, port: int) -> Sequence[Address]:
        return await self._resolver(host, port)

    def _forget(self, host: str, port: int, done: asyncio.Task[Sequence[Address]]) -> None:
        del self._lookups[host, port]
        if not done.cancelled():
            done.exception()  # looked at, in case everybody who waited has left

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        raise EgressRefused("Sockets of this machine are never contacted.")


class _Progress:
    """Learns from the pool's trace whether the request began to leave."""

    def __init__(self) -> None:
        self.sent = False

    async def note(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            self.sent = True


@cache
def _system_trust() -> ssl.SSLContext:
    # Reading the trust store takes tens of milliseconds; once per process is enough.
    return httpcore2.default_ssl_context()


def _settle(
    answer: asyncio.Future[list[Address]], host: str, outcome: list[Address] | Exception
) -> None:
    if answer.done():  # cancelled by a deadline
        return
    if isinstance(outcome, Exception):
        error = HttpError("dns", f"The name {host} could not be resolved. Check its spelling.")
        error.__cause__ = outcome
        answer.set_exception(error)
    else:
        answer.set_result(outcome)


def _unmapped(address: Address) -> Address:
    """``::ffff:a.b.c.d`` is another spelling of the IPv4 address; the system connects to that."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def _meanings(address: Address) -> set[Address]:
    """The address and the IPv4 address a translator or tunnel may turn it into."""
    meanings: set[Address] = {address}
    if isinstance(address, IPv6Address):
        meanings.add(IPv6Address(int(address)))  # without a zone
        if address.sixtofour:
            meanings.add(address.sixtofour)
        if address.teredo:
            meanings.add(address.teredo[1])
        if address.packed[:12] in (*_NAT64_PREFIXES, _IPV4_COMPATIBLE_PREFIX):
            meanings.add(IPv4Address(address.packed[12:]))
    return meanings


def _parse_entry(entry: str) -> AllowedNetwork | AllowedHost:
    if "://" in entry or "*" in entry:
        raise InvalidEgressPolicy(
            f"{entry!r}: write the host, address or block alone, without http:// and without *."
        )
    bare, port = _split_port(entry)
    try:
        return AllowedNetwork(ip_network(bare), port)
    except ValueError as error:
        if "/" in bare:
            raise InvalidEgressPolicy(
                f"{entry!r} is not a block of addresses ({error}). Write it like 10.0.0.0/8."
            ) from error
    # A name whose last label is a number would be read as an address by the system.
    if not _HOST_NAME.fullmatch(bare) or bare.rsplit(".", 1)[-1].isdigit():
        raise InvalidEgressPolicy(
            f"{entry!r} is neither an address nor a host name. Write it like 127.0.0.1, "
            f"10.0.0.0/8, [fd00::1]:443 or ollama.internal:11434."
        )
    return AllowedHost(bare.lower(), port)


_HOST_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})?)*"
)


def _split_port(entry: str) -> tuple[str, int | None]:
    """``host:port`` apart; an IPv6 address has a port only behind brackets."""
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", entry)
    if bracketed:
        bare, written = bracketed[1], bracketed[2]
    elif entry.count(":") == 1:
        bare, written = entry.split(":")
    else:
        bare, written = entry, None
    if written is None:
        return bare, None
    if not re.fullmatch(r"[0-9]{1,5}", written) or not 0 < int(written) < 65536:
        raise InvalidEgressPolicy(f"{entry!r}: {written!r} is not a port between 1 and 65535.")
    return bare, int(written)


def _parse_url(url: str) -> httpx2.URL:
    if len(url) > MAX_URL_LENGTH:
        raise HttpError("bad_url", f"The address is longer than {MAX_URL_LENGTH:,} characters.")
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise HttpError("bad_url", f"The address cannot be read: {error}") from error
    return _checked_url(parsed)


def _checked_url(url: httpx2.URL) -> httpx2.URL:
    if url.scheme not in ("http", "https"):
        raise HttpError(
            "bad_url", f"The address must start with https:// or http://, not with {url.scheme!r}."
        )
    if not url.host or (url.port is not None and not 0 < url.port < 65536):
        raise HttpError("bad_url", "The address names no host, or a port that does not exist.")
    if url.userinfo:
        raise HttpError(
            "bad_url", f"The address of {url.host} contains a user name or password; remove it."
        )
    return url


def _redirect_target(origin: httpx2.URL, location: str) -> httpx2.URL:
    try:
        target = _checked_url(origin.join(location))
    except (httpx2.InvalidURL, UnicodeError, HttpError) as error:
        raise HttpError(
            "redirect", f"{origin.host} redirected to an address that cannot be used.", sent=True
        ) from error
    if origin.scheme == "https" and target.scheme == "http":
        raise EgressRefused(f"{origin.host} redirected from https to http; that is not followed.")
    return target


def _wire_headers(url: httpx2.URL, headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """The given headers and ours, as bytes. Raises HttpError naming the header, not its value."""
    # Asking for no compression keeps a small answer from unpacking into a huge one.
    ours = {"user-agent": USER_AGENT, "accept-encoding": "identity"}
    theirs = {name.lower(): value for name, value in headers.items()}
    encoded: list[tuple[bytes, bytes]] = [(b"host", url.netloc)]
    for name, value in (ours | theirs).items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise HttpError(
                "bad_header",
                f"The header {name!r} contains characters that cannot be sent to {url.host}. "
                f"A key is copied without line breaks, spaces around it or typographic quotes.",
            )
        encoded.append((name.encode("ascii"), value.encode("ascii")))
    return encoded


_HEADER_NAME = re.compile(r"[A-Za-z0-9_-]+")
_HEADER_VALUE = re.compile(r"([\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?)?")


async def _read(response: httpcore2.Response, host: str, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_stream():
        body += chunk
        if len(body) > limit:
            raise ResponseTooLarge(host, limit)
    return bytes(body)


def _decompress(body: bytes, encoding: str, host: str, limit: int) -> bytes:
    """Undo gzip or deflate, for servers that compress unasked, never past ``limit`` bytes."""
    if encoding.strip().lower() in ("", "identity") or not body:
        return body
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        raise HttpError(
            "truncated", f"{host} answered in the encoding {encoding!r}, unasked.", sent=True
        )
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # 32: gzip or zlib, by its header
    try:
        unpacked = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise HttpError("truncated", f"{host} sent a damaged answer.", sent=True) from error
    if len(unpacked) > limit:
        raise ResponseTooLarge(host, limit)
    if not unpacker.eof:
        raise HttpError("truncated", f"{host} broke off its answer.", sent=True)
    return unpacked


def _translated(error: Exception, host: str, *, sent: bool) -> HttpError:
    if isinstance(error, httpcore2.ConnectError):
        tls_failure = _tls_failure(error)
        if tls_failure:
            return HttpError("tls", f"No secure connection to {host}: {tls_failure}")
        return HttpError("connect", f"{host} refuses the connection or cannot be reached.")
    return HttpError("truncated", f"{host} broke off or garbled its answer.", sent=sent)


def _tls_failure(error: BaseException) -> str:
    """What TLS complained of, somewhere below; empty when TLS is not the reason."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return cause.reason or str(cause)
        cause = cause.__cause__ or cause.__context__  # the pool hides causes, not contexts
    return ""
