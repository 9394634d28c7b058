"""A model vendor in a thread, speaking both dialects, that misbehaves when told to.

tests/verification/test_official_sdks.py points the vendors' own clients at it, so that what our
adapters are tested against stays what the real services say.
"""

import base64
import json
import struct
import threading
import zlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HANG_SECONDS = 10
"""How long a hung request is held at most; tests give up, and release it, long before."""


@dataclass(frozen=True)
class Fault:
    """One way to misbehave, for the next request that has none yet.

    kind: status (answers ``status`` and ``body``), truncate (half of the promised bytes), cut_json
    (half of the document, properly framed), page (a web page), hang (nothing until released),
    disconnect (closes without a byte), redirect (to ``location``).
    """

    kind: str
    status: int = 500
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    location: str = "/elsewhere"


@dataclass
class Recorded:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, object]


class FakeVendor:
    """``with FakeVendor() as vendor:`` then ``vendor.url``, ``vendor.requests``, ``vendor.faults``.

    Settings of the next answers: ``text``, ``finish`` (in the words of the dialect asked),
    ``usage`` (False leaves it out), ``payload`` (replaces the whole answer), ``models``,
    ``require_key``.
    """

    def __init__(self):
        self.requests: list[Recorded] = []
        self.faults: list[Fault] = []
        self.text = "Bonjour, voici la réponse."
        self.finish: str | None = None
        self.refusal: str | None = None
        self.usage = True
        self.payload: object = None
        self.models = ["model-a", "model-b"]
        self.require_key: str | None = None
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    @property
    def port(self):
        return self._server.server_address[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def fail(self, *faults):
        self.faults.extend(faults)

    def use_tls(self, context):
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(vendor):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_GET(self):
            self._serve()

        def do_POST(self):
            self._serve()

        def _serve(self):
            length = int(self.headers.get("content-length") or 0)
            raw = self.rfile.read(length)
            recorded = Recorded(
                self.command,
                self.path,
                {name.lower(): value for name, value in self.headers.items()},
                json.loads(raw) if raw else {},
            )
            vendor.requests.append(recorded)
            fault = vendor.faults.pop(0) if vendor.faults else None
            if fault is None:
                self._answer(*_reply_to(vendor, recorded))
            else:
                self._misbehave(fault, recorded)

        def _answer(self, status, payload, headers=None):
            body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            self._head(status, len(body), headers)
            self.wfile.write(body)

        def _head(self, status, length, headers=None):
            speaks_anthropic = "anthropic-version" in self.headers
            merged = {
                "content-type": "application/json",
                "request-id" if speaks_anthropic else "x-request-id": "req-fake",
                **(headers or {}),
            }
            self.send_response(status)
            for name, value in merged.items():
                self.send_header(name, value)
            self.send_header("content-length", str(length))
            self.end_headers()

        def _misbehave(self, fault, recorded):
            if fault.kind == "status":
                payload = fault.body if fault.body is not None else _error(recorded, fault.status)
                self._answer(fault.status, payload, fault.headers)
            elif fault.kind == "page":
                self._answer(200, b"<html>Sign in</html>", {"content-type": "text/html"})
            elif fault.kind == "redirect":
                self._answer(307, b"", {"location": fault.location})
            elif fault.kind == "cut_json":
                body = json.dumps(_reply_to(vendor, recorded)[1]).encode()
                self._answer(200, body[: len(body) // 2])
            elif fault.kind == "truncate":
                body = json.dumps(_reply_to(vendor, recorded)[1]).encode()
                self._head(200, len(body))
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
            elif fault.kind == "hang":
                vendor.released.wait(HANG_SECONDS)
                self.close_connection = True
            elif fault.kind == "disconnect":
                self.close_connection = True
            else:
                raise AssertionError(f"no fault is named {fault.kind}")

    return Handler


def _speaks_anthropic(recorded):
    return "anthropic-version" in recorded.headers


def _error(recorded, status):
    if _speaks_anthropic(recorded):
        kinds = {401: "authentication_error", 404: "not_found_error", 529: "overloaded_error"}
        kind = kinds.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": f"fake error {status}"}}
    return {
        "error": {
            "message": f"fake error {status}",
            "type": "server_error",
            "param": None,
            "code": None,
        }
    }


def _reply_to(vendor, recorded):
    """Status and payload for a well-formed request."""
    if vendor.require_key and vendor.require_key not in (
        recorded.headers.get("authorization", "").removeprefix("Bearer "),
        recorded.headers.get("x-api-key"),
        recorded.headers.get("api-key"),
    ):
        return 401, _error(recorded, 401)
    path = recorded.path.partition("?")[0]
    if vendor.payload is not None:
        return 200, vendor.payload
    if path.endswith("/chat/completions"):
        return 200, _chat_completion(vendor, recorded)
    if path.endswith("/messages"):
        return 200, _message(vendor, recorded)
    if path.endswith("/embeddings"):
        return 200, _embeddings(recorded)
    if path.endswith("/models"):
        return 200, _models(vendor, recorded)
    return 404, {"error": {"message": f"Unknown request URL: {path}", "code": "unknown_url"}}


def _chat_completion(vendor, recorded):
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": f"{recorded.body['model']}-2026-01-01",
        "system_fingerprint": "fp_fake",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None if vendor.refusal else vendor.text,
                    "refusal": vendor.refusal,
                },
                "logprobs": None,
                "finish_reason": vendor.finish or "stop",
            }
        ],
    } | ({"usage": usage} if vendor.usage else {})


def vector_of(text):
    """Four numbers that depend on the text alone, each one that a float of 32 bits can hold."""
    return [float(zlib.crc32(f"{place} {text}".encode()) % 1_000) / 8 for place in range(4)]


def _embeddings(recorded):
    given = recorded.body["input"]
    texts = [given] if isinstance(given, str) else given

    def written(vector):
        if recorded.body.get("encoding_format") == "base64":  # what OpenAI's own client asks for
            return base64.b64encode(struct.pack("<4f", *vector)).decode()
        return vector

    return {
        "object": "list",
        "model": f"{recorded.body['model']}-2026-01-01",
        "data": [
            {"object": "embedding", "index": place, "embedding": written(vector_of(text))}
            for place, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": 9, "total_tokens": 9},
    }


def _message(vendor, recorded):
    usage = {
        "input_tokens": 8,
        "cache_creation_input_tokens": 1,
        "cache_read_input_tokens": 2,
        "output_tokens": 7,
    }
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": f"{recorded.body['model']}-20260101",
        "content": [{"type": "text", "text": vendor.text}] if vendor.text else [],
        "stop_reason": vendor.finish or "end_turn",
        "stop_sequence": None,
    } | ({"usage": usage} if vendor.usage else {})


def _models(vendor, recorded):
    if _speaks_anthropic(recorded):
        listed = [
            {
                "type": "model",
                "id": name,
                "display_name": name.title(),
                "created_at": "2026-01-01T00:00:00Z",
                "lifecycle": "deprecated",
                "deprecated_at": "2026-06-01T00:00:00Z",
                "retires_at": "2027-03-31T00:00:00Z",
            }
            for name in vendor.models
        ]
        return {
            "data": listed,
            "has_more": False,
            "first_id": listed[0]["id"] if listed else None,
            "last_id": listed[-1]["id"] if listed else None,
        }
    return {
        "object": "list",
        "data": [
            {
                "id": name,
                "object": "model",
                "created": 1_767_225_600,
                "owned_by": "fake",
                "shutdown_date": "2027-03-31",
            }
            for name in vendor.models
        ],
    }
