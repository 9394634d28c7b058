"""The header Idempotency-Key: asked twice, done once, answered alike."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import User
from kb.core.errors import Invalid
from kb.core.idempotency import earlier_answer, keep
from kb.core.models import KEY_LENGTH

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEPT_HEADERS = ("ETag", "Location")
_KEY = re.compile(rf"[\x21-\x7e]{{1,{KEY_LENGTH}}}")

type Handler = Callable[..., Response]


def once_per_key(handler: Handler) -> Handler:
    """Let a handler answer a repeated Idempotency-Key with what it answered first.

    What it does and what it answered are committed together, so a key never loses its answer; a
    refusal keeps nothing, and the same key may be used for the corrected request. Raises Invalid
    for a key that is none, or that stood for another request.
    """

    @wraps(handler)
    def answered(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get(HEADER)
        if key is None or not isinstance(request.user, User):
            return handler(view, request, *args, **kwargs)
        if not _KEY.fullmatch(key):
            message = _("A key has 1 to %(most)s visible ASCII characters.") % {"most": KEY_LENGTH}
            raise Invalid(f"{HEADER}: {message}", fields={HEADER: message})
        with transaction.atomic():
            earlier = earlier_answer(
                person=request.user, key=key, fingerprint=_fingerprint(request), now=timezone.now()
            )
            if earlier is not None:
                return Response(
                    earlier.body,
                    status=earlier.status,
                    headers={**earlier.headers, REPLAYED: "true"},
                )
            response = handler(view, request, *args, **kwargs)
            keep(
                person=request.user,
                key=key,
                status=response.status_code,
                body=json.loads(JSONRenderer().render(response.data)),
                headers={name: response[name] for name in KEPT_HEADERS if name in response},
            )
            return response

    return answered


def _fingerprint(request: Request) -> str:
    asked = json.dumps(
        [request.method, request.get_full_path(), request.data], sort_keys=True, allow_nan=False
    )
    return hashlib.sha256(asked.encode()).hexdigest()
