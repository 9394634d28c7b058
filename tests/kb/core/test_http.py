"""Promise EGRESS, HOST-BOUND's transport and the bounds of the only outgoing client."""

import asyncio
import datetime
import gzip
import logging
import re
import socket
import ssl
import threading
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.core import http
from kb.core.http import (
    AllowedHost,
    AllowedNetwork,
    EgressPolicy,
    EgressRefused,
    HttpClient,
    HttpError,
    HttpTimeout,
    InvalidEgressPolicy,
    ResponseTooLarge,
    is_public,
    policy_from_settings,
    send,
)
from tests.fakes import FakeVendor, Fault

LOOPBACK = EgressPolicy.parse("127.0.0.1")
TIMEOUT = 5.0


@pytest.fixture
def vendor():
    with FakeVendor() as server:
        yield server


def leading_to(*addresses):
    """A resolver that answers every name with these addresses and counts the questions."""
    asked = []

    async def resolver(host, port):
        asked.append((host, port))
        return [ip_address(address) for address in addresses]

    resolver.asked = asked
    return resolver


@contextmanager
def listener(*answers):
    """A server that sends each connection the next of these bytes, whatever it is asked."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        for answer in answers:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


# --- which addresses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.1.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",  # IPv4-compatible
        "::ffff:8.8.8.8",  # IPv4-mapped, before it is unmapped
        "64:ff9b::808:808",  # NAT64, even of a public address
        "64:ff9b:1::1",
        "100::1",  # discard
        "2001::1",  # Teredo
        "2001:2::1",  # benchmarking
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",  # 6to4
        "3fff::1",
        "4000::1",  # not handed out
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_an_address_nobody_on_the_internet_has_is_not_public(address):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "172.32.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450::1"]
)
def test_an_ordinary_address_is_public(address):
    assert is_public(ip_address(address))


@settings(deadline=None)
@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_every_public_address_is_also_global_and_unicast_for_python(address):
    assert not is_public(address) or (address.is_global and not address.is_multicast)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "2001:0:1:1:0:0:5601:5601",  # Teredo writes the address inverted
        "::a9fe:a9fe",
        "fd00:ec2::254%eth0",
    ],
)
def test_metadata_addresses_are_refused_even_when_everything_is_allowed(address):
    everything = EgressPolicy.parse("0.0.0.0/0, ::/0, metadata.internal")

    with pytest.raises(EgressRefused, match="metadata address"):
        everything.permitted("metadata.internal", 80, [ip_address(address)], plain=False)


def test_only_the_permitted_ones_of_several_addresses_are_kept_in_order():
    mixed = [ip_address(a) for a in ("10.0.0.1", "2606:4700::1111", "fe80::1", "1.1.1.1")]

    kept = EgressPolicy().permitted("example.com", 443, mixed, plain=False)

    assert kept == [IPv6Address("2606:4700::1111"), IPv4Address("1.1.1.1")]


def test_a_host_without_any_address_is_refused():
    with pytest.raises(EgressRefused, match=r"example\.com has no address"):
        EgressPolicy().permitted("example.com", 443, [], plain=False)


def test_a_refusal_names_the_host_the_address_and_the_setting():
    with pytest.raises(EgressRefused) as refusal:
        EgressPolicy().permitted("ollama.internal", 11434, [ip_address("10.0.0.5")], plain=False)

    assert str(refusal.value) == (
        "ollama.internal leads to 10.0.0.5, which is not a public address. If it is meant, "
        "an operator adds 10.0.0.5:11434 to RETEX_EGRESS_ALLOW."
    )
    assert (refusal.value.kind, refusal.value.sent) == ("refused", False)


def test_unencrypted_http_is_for_listed_addresses_only():
    policy = EgressPolicy.parse("10.0.0.0/8, 8.8.4.4")
    listed = [ip_address("10.0.0.1"), ip_address("8.8.4.4")]

    assert policy.permitted("inside", 80, listed, plain=True) == listed
    with pytest.raises(EgressRefused, match="without encryption"):
        policy.permitted("outside", 80, [ip_address("8.8.8.8")], plain=True)


def test_an_ipv4_mapped_address_is_judged_as_the_ipv4_address():
    mapped = [ip_address("::ffff:127.0.0.1")]

    assert LOOPBACK.permitted("x", 80, mapped, plain=True) == [IPv4Address("127.0.0.1")]
    with pytest.raises(EgressRefused):
        EgressPolicy().permitted("x", 80, mapped, plain=False)


@pytest.mark.parametrize(
    ("entry", "host", "port", "address", "is_allowed"),
    [
        ("10.0.0.0/8", "any", 1, "10.9.9.9", True),
        ("10.0.0.0/8", "any", 1, "192.168.0.1", False),
        ("127.0.0.1:11434", "any", 11434, "127.0.0.1", True),
        ("127.0.0.1:11434", "any", 11435, "127.0.0.1", False),
        ("[fd00::/8]:443", "any", 443, "fd00::1", True),
        ("[fd00::/8]:443", "any", 80, "fd00::1", False),
        ("Ollama.Internal:11434", "ollama.internal", 11434, "10.0.0.5", True),
        ("ollama.internal:11434", "OLLAMA.internal.", 11434, "10.0.0.5", True),
        ("ollama.internal:11434", "ollama.internal", 22, "10.0.0.5", False),
        ("ollama.internal", "evil.ollama.internal", 11434, "10.0.0.5", False),
    ],
)
def test_an_entry_opens_what_it_says_and_nothing_else(entry, host, port, address, is_allowed):
    policy = EgressPolicy.parse(entry)

    try:
        policy.permitted(host, port, [ip_address(address)], plain=False)
    except EgressRefused:
        outcome = False
    else:
        outcome = True

    assert outcome is is_allowed


# --- the allow list ----------------------------------------------------------------------------


def test_an_allow_list_is_read_whole():
    policy = EgressPolicy.parse(
        " 127.0.0.1, 10.0.0.0/8\n[::1]:8080,fd00::/8  ollama.internal:11434,gpu_01 "
    )

    assert policy == EgressPolicy(
        networks=(
            AllowedNetwork(http.ip_network("127.0.0.1/32")),
            AllowedNetwork(http.ip_network("10.0.0.0/8")),
            AllowedNetwork(http.ip_network("::1/128"), 8080),
            AllowedNetwork(http.ip_network("fd00::/8")),
        ),
        hosts=(AllowedHost("ollama.internal", 11434), AllowedHost("gpu_01")),
    )


def test_an_empty_allow_list_allows_nothing():
    assert EgressPolicy.parse(" ,\n") == EgressPolicy()


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("http://ollama:11434", "without http://"),
        ("*.internal", r"without \*"),
        ("10.0.0.1/8", "has host bits set"),
        ("10.0.0.0/33", "not a block of addresses"),
        ("ollama:0", "'0' is not a port"),
        ("ollama:65536", "'65536' is not a port"),
        ("ollama:http", "'http' is not a port"),
        ("0177.1", "neither an address nor a host name"),
        ("2130706433", "neither an address nor a host name"),
        ("bad_host!", "neither an address nor a host name"),
        ("a..b", "neither an address nor a host name"),
        ("x" * 254, "neither an address nor a host name"),
    ],
)
def test_a_wrong_entry_is_named_with_what_to_write(entry, complaint):
    with pytest.raises(InvalidEgressPolicy, match=complaint) as refusal:
        EgressPolicy.parse(f"127.0.0.1, {entry}")

    assert repr(entry) in str(refusal.value)


def test_the_policy_of_this_installation_comes_from_its_setting(monkeypatch):
    monkeypatch.setattr(http, "settings", type("S", (), {"RETEX_EGRESS_ALLOW": "10.0.0.1"}))

    assert policy_from_settings() == EgressPolicy.parse("10.0.0.1")


# --- what leaves -------------------------------------------------------------------------------


def test_a_request_travels_whole_and_its_answer_comes_back(vendor):
    response = send(
        LOOPBACK,
        "POST",
        f"{vendor.url}/messages?x=1",
        timeout=TIMEOUT,
        headers={"X-Api-Key": "secret", "anthropic-version": "1"},
        content=b'{"model": "m"}',
    )

    assert (response.status, response.headers["Request-Id"]) == (200, "req-fake")
    assert response.url == f"{vendor.url}/messages?x=1"
    assert vendor.requests[0].body == {"model": "m"}
    assert (vendor.requests[0].method, vendor.requests[0].path) == ("POST", "/v1/messages?x=1")
    assert vendor.requests[0].headers == {
        "host": f"127.0.0.1:{vendor.port}",
        "user-agent": "Retex",
        "accept-encoding": "identity",
        "x-api-key": "secret",
        "anthropic-version": "1",
        "content-length": "14",
    }


def test_any_status_is_an_answer(vendor):
    vendor.fail(Fault("status", status=503))

    assert send(LOOPBACK, "GET", f"{vendor.url}/models", timeout=TIMEOUT).status == 503


def test_without_an_entry_this_machine_is_not_contacted(vendor):
    with pytest.raises(EgressRefused, match=r"127\.0\.0\.1, which is not a public"):
        send(EgressPolicy(), "GET", f"https://127.0.0.1:{vendor.port}/", timeout=TIMEOUT)

    assert vendor.requests == []


@pytest.mark.parametrize(
    "host",
    ["0177.1", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "localhost"],
)
def test_odd_spellings_of_this_machine_are_refused(host, vendor):
    with pytest.raises(EgressRefused, match="not a public address"):
        send(EgressPolicy(), "GET", f"https://{host}:{vendor.port}/", timeout=TIMEOUT)

    assert vendor.requests == []


def test_a_name_is_resolved_once_and_the_judged_address_is_connected_to(vendor):
    resolver = leading_to("127.0.0.1")

    response = send(
        LOOPBACK,
        "GET",
        f"http://models.example:{vendor.port}/v1/models",
        timeout=TIMEOUT,
        resolver=resolver,
    )

    assert response.status == 200
    assert resolver.asked == [("models.example", vendor.port)]
    assert vendor.requests[0].headers["host"] == f"models.example:{vendor.port}"


def test_a_second_dns_answer_cannot_lead_elsewhere(vendor):
    """DNS rebinding: first a public address, then ours. Only what was judged may be used."""
    answers = [["203.0.113.9"], ["127.0.0.1"]]

    async def rebinding(host, port):
        return [ip_address(address) for address in answers.pop(0)]

    with pytest.raises(EgressRefused, match=r"203\.0\.113\.9"):
        send(
            LOOPBACK,
            "GET",
            f"http://rebind.example:{vendor.port}/",
            timeout=TIMEOUT,
            resolver=rebinding,
        )

    assert (vendor.requests, answers) == ([], [["127.0.0.1"]])


def test_the_next_address_is_tried_when_one_is_dead(vendor):
    policy = EgressPolicy.parse("127.0.0.0/8")

    response = send(
        policy,
        "GET",
        f"http://models.example:{vendor.port}/v1/models",
        timeout=TIMEOUT,
        resolver=leading_to("127.0.0.2", "127.0.0.1"),
    )

    assert response.status == 200


def test_one_connection_serves_several_requests_of_a_client(vendor):
    resolver = leading_to("127.0.0.1")

    async def twice():
        async with HttpClient(LOOPBACK, resolver=resolver) as client:
            for _ in range(2):
                await client.send("GET", f"http://a.example:{vendor.port}/v1/models", timeout=5)

    asyncio.run(twice())

    assert (len(vendor.requests), len(resolver.asked)) == (2, 1)


def test_requests_of_the_same_moment_share_one_lookup(vendor):
    resolver = leading_to("127.0.0.1")

    async def many():
        async with HttpClient(LOOPBACK, resolver=resolver) as client:
            url = f"http://a.example:{vendor.port}/v1/models"
            return await asyncio.gather(*(client.send("GET", url, timeout=5) for _ in range(8)))

    responses = asyncio.run(many())

    assert [response.status for response in responses] == [200] * 8
    assert resolver.asked == [("a.example", vendor.port)]


def test_one_who_gives_up_does_not_end_the_lookup_of_the_others(vendor):
    proceed = asyncio.Event()

    async def slow(host, port):
        await proceed.wait()
        return [IPv4Address("127.0.0.1")]

    async def one_leaves():
        async with HttpClient(LOOPBACK, resolver=slow) as client:
            url = f"http://a.example:{vendor.port}/v1/models"
            leaver = asyncio.create_task(client.send("GET", url, timeout=5))
            stayer = asyncio.create_task(client.send("GET", url, timeout=5))
            while not client._pools["http"]._network_backend._lookups:
                await asyncio.sleep(0)
            leaver.cancel()
            await asyncio.wait([leaver])
            proceed.set()
            return leaver.cancelled(), (await stayer).status

    assert asyncio.run(one_leaves()) == (True, 200)


def test_plain_http_to_the_internet_is_refused_before_connecting():
    with pytest.raises(EgressRefused, match="without encryption"):
        send(
            EgressPolicy(),
            "GET",
            "http://api.example/",
            timeout=TIMEOUT,
            resolver=leading_to("93.184.215.14"),
        )


@pytest.mark.parametrize(
    ("url", "options", "connected"),
    [
        ("https://news.example/", {}, [("93.184.215.14", 443)]),
        ("http://news.example/", {}, []),
        ("http://news.example/", {"plain_http": True}, [("93.184.215.14", 80)]),
    ],
)
def test_the_internet_is_reached_encrypted_unless_the_caller_says_otherwise(
    url, options, connected
):
    tried = []

    class Tcp:
        async def connect_tcp(self, host, port, *rest):
            tried.append((host, port))
            raise http.httpcore2.ConnectError

    async def ask():
        resolver = leading_to("93.184.215.14")
        async with HttpClient(EgressPolicy(), resolver=resolver, **options) as client:
            for pool in client._pools.values():
                pool._network_backend._tcp = Tcp()
            await client.send("GET", url, timeout=TIMEOUT)

    with pytest.raises(HttpError):
        asyncio.run(ask())

    assert tried == connected


def test_sockets_of_this_machine_are_refused():
    backend = http._JudgedConnections(EgressPolicy(), leading_to(), plain=False)

    with pytest.raises(EgressRefused, match="never contacted"):
        asyncio.run(backend.connect_unix_socket("/run/x.sock"))


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"])
def test_proxies_of_the_environment_are_ignored(variable, vendor, monkeypatch):
    monkeypatch.setenv(variable, "http://127.0.0.1:1")

    assert send(LOOPBACK, "GET", f"{vendor.url}/models", timeout=TIMEOUT).status == 200


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ftp://example.com/", "must start with https://"),
        ("file:///etc/passwd", "must start with https://"),
        ("example.com", "must start with https://"),
        ("https://", "names no host"),
        ("https://0177.0.0.1/", "cannot be read"),
        ("https://h:0/", "port that does not exist"),
        ("https://h:99999/", "port that does not exist"),
        ("https://user:pw@h/", "user name or password"),
        ("https://h\n/", "cannot be read"),
        ("https://\u24c1ocalhost/", "cannot be read"),
        ("https://h/" + "x" * 4_000, "longer than 4,000"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(url, complaint):
    with pytest.raises(HttpError, match=complaint) as refusal:
        send(EgressPolicy(), "GET", url, timeout=TIMEOUT)

    assert (refusal.value.kind, refusal.value.sent) == ("bad_url", False)


@pytest.mark.parametrize(
    "headers", [{"x-api-key": "abc\r\nx-evil: 1"}, {"x-api-key": "“key”"}, {"x key": "abc"}]
)
def test_a_header_that_cannot_travel_is_named_but_not_shown(headers, vendor):
    with pytest.raises(HttpError, match=re.escape(repr(next(iter(headers))))) as refusal:
        send(LOOPBACK, "GET", vendor.url, timeout=TIMEOUT, headers=headers)

    assert refusal.value.kind == "bad_header"
    assert next(iter(headers.values())) not in str(refusal.value)
    assert vendor.requests == []


# --- redirects ---------------------------------------------------------------------------------


def test_a_redirect_is_an_answer_unless_asked_to_follow(vendor):
    vendor.fail(Fault("redirect", location="/v1/models"))

    response = send(LOOPBACK, "GET", vendor.url, timeout=TIMEOUT)

    assert (response.status, len(vendor.requests)) == (307, 1)


def test_a_redirect_is_followed_when_asked(vendor):
    vendor.fail(Fault("redirect", location="/v1/models"))

    response = send(LOOPBACK, "GET", vendor.url, timeout=TIMEOUT, redirects=3)

    assert (response.status, response.url) == (200, f"{vendor.url}/models")


def test_a_redirect_is_judged_like_a_first_request(vendor):
    vendor.fail(Fault("redirect", location="http://169.254.169.254/latest/meta-data/"))

    with pytest.raises(EgressRefused, match="metadata"):
        send(LOOPBACK, "GET", vendor.url, timeout=TIMEOUT, redirects=3)


def test_headers_stay_with_the_host_they_were_given_for(vendor):
    """Planted: the same server under another name, which would happily take the key."""
    vendor.fail(Fault("redirect", location=f"http://other.example:{vendor.port}/v1/models"))

    send(
        LOOPBACK,
        "GET",
        f"http://first.example:{vendor.port}/",
        timeout=TIMEOUT,
        headers={"x-api-key": "secret"},
        redirects=1,
        resolver=leading_to("127.0.0.1"),
    )

    keys = [request.headers.get("x-api-key") for request in vendor.requests]
    assert keys == ["secret", None]


def test_redirects_end(vendor):
    vendor.fail(*[Fault("redirect", location="/again")] * 9)

    with pytest.raises(HttpError, match="redirected more than 3 times") as failure:
        send(LOOPBACK, "GET", vendor.url, timeout=TIMEOUT, redirects=3)

    assert (failure.value.kind, failure.value.sent) == ("redirect", True)
    assert len(vendor.requests) == 4


@pytest.mark.parametrize("location", ["ftp://h/", "http://user:pw@h/", "http://h:0/"])
def test_a_redirect_to_an_unusable_address_is_refused(location, vendor):
    vendor.fail(Fault("redirect", location=location))

    with pytest.raises(HttpError, match="cannot be used") as failure:
        send(LOOPBACK, "GET", vendor.url, timeout=TIMEOUT, redirects=1)

    assert (failure.value.kind, failure.value.sent) == ("redirect", True)


def test_a_redirect_out_of_encryption_is_refused():
    origin = http.httpx2.URL("https://a.example/")

    with pytest.raises(EgressRefused, match="from https to http"):
        http._redirect_target(origin, "http://a.example/")


@pytest.mark.parametrize(("method", "redirects"), [("POST", 1), ("GET", 4), ("GET", -1)])
def test_redirects_that_must_not_be_followed_are_a_mistake_of_the_caller(method, redirects):
    with pytest.raises(ValueError, match="cannot be followed"):
        send(EgressPolicy(), method, "https://h/", timeout=TIMEOUT, redirects=redirects)


# --- bounds and failures -----------------------------------------------------------------------


def test_an_answer_over_the_limit_is_dropped(vendor):
    vendor.text = "x" * 5_000

    with pytest.raises(ResponseTooLarge, match="larger than the limit of 1,000 bytes") as failure:
        send(
            LOOPBACK,
            "POST",
            f"{vendor.url}/chat/completions",
            timeout=TIMEOUT,
            content=b'{"model": "m"}',
            max_bytes=1_000,
        )

    assert (failure.value.kind, failure.value.sent) == ("too_large", True)


def answer_with(body, *headers):
    lines = ["HTTP/1.1 200 OK", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_an_answer_of_just_the_limit_is_whole(encoding):
    body = b"x" * 1_000
    packed = gzip.compress(body) if encoding == "gzip" else body

    with listener(answer_with(packed, f"content-encoding: {encoding}")) as url:
        assert send(LOOPBACK, "GET", url, timeout=TIMEOUT, max_bytes=1_000).body == body


@pytest.mark.parametrize(
    ("method", "content", "length"),
    [("GET", b"", None), ("GET", b"{}", "2"), ("POST", b"", "0"), ("POST", b"{}", "2")],
)
def test_a_body_is_announced_when_there_is_one_or_could_be(method, content, length, vendor):
    send(LOOPBACK, method, f"{vendor.url}/models", timeout=TIMEOUT, content=content)

    assert vendor.requests[0].headers.get("content-length") == length


def test_an_answer_without_an_end_is_dropped_at_the_limit():
    endless = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b"x" * 4_000

    with listener(endless) as url, pytest.raises(ResponseTooLarge):
        send(LOOPBACK, "GET", url, timeout=TIMEOUT, max_bytes=1_000)


def test_an_answer_compressed_unasked_is_unpacked():
    packed = answer_with(gzip.compress(b"bonjour"), "content-encoding: gzip")

    with listener(packed) as url:
        assert send(LOOPBACK, "GET", url, timeout=TIMEOUT).body == b"bonjour"


def test_a_compressed_bomb_is_not_unpacked():
    bomb = answer_with(gzip.compress(b"\0" * 1_000_000), "content-encoding: gzip")

    with listener(bomb) as url, pytest.raises(ResponseTooLarge):
        send(LOOPBACK, "GET", url, timeout=TIMEOUT, max_bytes=10_000)


@pytest.mark.parametrize(
    "answer",
    [
        answer_with(gzip.compress(b"bonjour")[:-9], "content-encoding: gzip"),
        answer_with(b"not gzip at all", "content-encoding: gzip"),
        answer_with(b"bonjour", "content-encoding: br"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"",
    ],
    ids=["cut gzip", "no gzip", "other encoding", "half a body", "no http", "nothing"],
)
def test_an_answer_that_breaks_off_may_have_been_charged(answer):
    with listener(answer) as url, pytest.raises(HttpError) as failure:
        send(LOOPBACK, "GET", url, timeout=TIMEOUT)

    assert (failure.value.kind, failure.value.sent) == ("truncated", True)


def test_a_time_out_after_sending_says_so(vendor):
    vendor.fail(Fault("hang"))

    with pytest.raises(HttpTimeout, match=r"did not answer within 0\.2 seconds") as failure:
        send(LOOPBACK, "GET", f"{vendor.url}/models", timeout=0.2)

    assert (failure.value.kind, failure.value.sent) == ("timeout", True)


def test_a_time_out_while_resolving_says_that_nothing_was_sent():
    async def hung(host, port):
        await asyncio.Event().wait()

    with pytest.raises(HttpTimeout) as failure:
        send(EgressPolicy(), "GET", "https://h/", timeout=0.05, resolver=hung)

    assert failure.value.sent is False


def test_a_hung_system_resolver_holds_up_neither_the_call_nor_its_end(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: released.wait(10) and [])

    with pytest.raises(HttpTimeout):
        send(EgressPolicy(), "GET", "https://h/", timeout=0.05)

    assert not released.is_set()
    released.set()
    for thread in threading.enumerate():
        if thread.name == "resolve":
            thread.join()


def test_an_address_that_never_answers_is_a_time_out_before_sending():
    class Silent:
        async def connect_tcp(self, *parameters):
            raise http.httpcore2.ConnectTimeout

    async def ask():
        async with HttpClient(LOOPBACK) as client:
            client._pools["http"]._network_backend._tcp = Silent()
            await client.send("GET", "http://127.0.0.1/", timeout=TIMEOUT)

    with pytest.raises(HttpTimeout, match="could not be reached within 10 seconds") as failure:
        asyncio.run(ask())

    assert failure.value.sent is False


def test_a_dead_port_is_a_failure_to_connect():
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]

    with pytest.raises(HttpError, match="refuses the connection") as failure:
        send(LOOPBACK, "GET", f"http://127.0.0.1:{port}/", timeout=TIMEOUT)

    assert (failure.value.kind, failure.value.sent) == ("connect", False)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64 + ".example"])
def test_a_name_that_does_not_exist_is_named(host, monkeypatch):
    genuine = socket.getaddrinfo

    def offline(name, *args, **options):
        if name.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return genuine(name, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", offline)

    with pytest.raises(HttpError) as failure:
        send(EgressPolicy(), "GET", f"https://{host}/", timeout=TIMEOUT)

    assert failure.value.kind in ("dns", "bad_url")
    assert failure.value.sent is False


def test_the_system_resolver_gives_each_address_once():
    assert asyncio.run(http.resolve("127.0.0.1", 80)) == [IPv4Address("127.0.0.1")]


def test_nothing_of_a_request_is_logged(vendor, caplog):
    with caplog.at_level(logging.DEBUG):
        send(
            LOOPBACK,
            "POST",
            f"{vendor.url}/chat/completions",
            timeout=TIMEOUT,
            headers={"x-api-key": "planted-secret"},
            content=b'{"model": "planted-prompt"}',
        )

    assert caplog.records
    assert "planted" not in caplog.text


# --- TLS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate for models.example, its key, and a client context that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "models.example")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("models.example")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    names = []
    server.sni_callback = lambda connection, asked, context: names.append(asked)
    client = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    return server, client, names


def test_tls_verifies_the_name_although_the_socket_goes_to_the_pinned_address(authority):
    server, client, names = authority
    with FakeVendor() as vendor:
        vendor.use_tls(server)

        response = send(
            LOOPBACK,
            "GET",
            f"https://models.example:{vendor.port}/v1/models",
            timeout=TIMEOUT,
            resolver=leading_to("127.0.0.1"),
            ssl_context=client,
        )

    assert response.status == 200
    assert names[-1] == "models.example"
    assert vendor.requests[0].headers["host"] == f"models.example:{vendor.port}"


def test_tls_refuses_a_certificate_for_another_name(authority):
    server, client, _names = authority
    with FakeVendor() as vendor:
        vendor.use_tls(server)

        with pytest.raises(HttpError, match="its certificate is not accepted") as failure:
            send(
                LOOPBACK,
                "GET",
                f"https://other.example:{vendor.port}/v1/models",
                timeout=TIMEOUT,
                headers={"x-api-key": "secret"},
                resolver=leading_to("127.0.0.1"),
                ssl_context=client,
            )

    assert (failure.value.kind, failure.value.sent) == ("tls", False)
    assert vendor.requests == []


def test_a_server_without_tls_is_told_apart_from_a_dead_one(vendor):
    with pytest.raises(HttpError, match=r"No secure connection to 127\.0\.0\.1") as failure:
        send(LOOPBACK, "GET", f"https://127.0.0.1:{vendor.port}/", timeout=TIMEOUT)

    assert (failure.value.kind, failure.value.sent) == ("tls", False)


def test_an_unknown_authority_is_refused(authority):
    with FakeVendor() as vendor:
        vendor.use_tls(authority[0])

        with pytest.raises(HttpError) as failure:
            send(
                LOOPBACK,
                "GET",
                f"https://models.example:{vendor.port}/",
                timeout=TIMEOUT,
                resolver=leading_to("127.0.0.1"),
            )

    assert failure.value.kind == "tls"
