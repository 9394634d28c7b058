"""The error of a call that Retex itself holds back: nothing has left, nothing is owed for it."""

from __future__ import annotations

from typing import Literal

from kb.llm.base import LLMError

type HeldKind = Literal["rate_limited", "unavailable", "over_budget"]


class HeldBack(LLMError):
    """No request was sent: a limit, an open circuit breaker or a spent budget stood in the way.

    ``kind`` is 'rate_limited' (no place within our own limits before the deadline), 'unavailable'
    (the service failed so often that it is left alone for a while) or 'over_budget'. It is always
    ``permanent``, so that no adapter repeats it: whoever holds back has done the waiting already.
    """

    def __init__(self, kind: HeldKind, message: str) -> None:
        super().__init__(kind, message, permanent=True)
