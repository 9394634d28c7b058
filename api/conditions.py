"""Editing only what one has seen: `ETag`, `If-Match` and the field `edition`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.utils.http import parse_etags
from django.utils.translation import gettext as _
from rest_framework.request import Request

from api.errors import PreconditionFailed
from kb.core.errors import Conflict


def etag(edition: int) -> str:
    """The entity tag of an edition."""
    return f'"{edition}"'


@contextmanager
def based_on(request: Request, *, current: int, sent: int | None) -> Iterator[int | None]:
    """The edition an edit is based on, or None when the program did not say.

    `current` is the edition as just read, `sent` the `edition` of the body. Inside, a Conflict is
    told as 412 where If-Match asked for it, and names the field where the body did.
    """
    header = request.headers.get("If-Match")
    if header is not None:
        tags = parse_etags(header)
        if "*" not in tags and etag(current) not in tags:
            raise _failed(current)
        try:
            yield None if "*" in tags else current
        except Conflict as error:
            raise _failed(None) from error
        return
    try:
        yield sent
    except Conflict as error:
        if sent is None:
            raise
        message = _("The edition is %(current)s by now; you sent %(sent)s.") % {
            "current": current,
            "sent": sent,
        }
        raise Conflict(error.message, fields={"edition": message}) from error


def _failed(current: int | None) -> PreconditionFailed:
    if current is None:
        return PreconditionFailed(_("It was changed in this very moment; read it again."))
    return PreconditionFailed(
        _("The edition is %(current)s by now; read it again, then send If-Match: %(tag)s.")
        % {"current": current, "tag": etag(current)}
    )
