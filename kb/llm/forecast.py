"""What calls will take, before they are made. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_UP, Decimal

from kb.llm.base import JSON, EmbeddingRequest, Request

CHARACTERS_PER_TOKEN = 4
"""The rule of thumb vendors give for English."""
USUAL_OUTPUT_TOKENS = 500
"""An answer nobody has seen yet: some 350 words."""
MARGIN = 2
"""Times the usual length is reserved: answers scatter, and what was too much is given back."""
LIMIT_PARAMETERS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
SMALLEST_MONEY = Decimal("0.000001")
_MILLION = Decimal(1_000_000)


def tokens_in(lengths: Sequence[int]) -> int:
    """Tokens of texts with these lengths in characters."""
    return sum(math.ceil(length / CHARACTERS_PER_TOKEN) for length in lengths)


def output_limit(request: Request) -> int | None:
    """The most tokens the request allows an answer to have; None when it sets no limit."""
    limits = [_count(request.parameters.get(name)) for name in LIMIT_PARAMETERS]
    return min((limit for limit in limits if limit is not None), default=None)


def tokens_embedded(request: EmbeddingRequest) -> tuple[int, int]:
    """Input and output tokens of a call for vectors; nothing is written."""
    return tokens_in([len(text) for text in request.texts]), 0


def usual_tokens(request: Request, usual_output: float | None = None) -> tuple[int, int]:
    """Input and output tokens that a call will probably have.

    ``usual_output`` is what answers to the prompt had so far, None when there are none.
    """
    output = math.ceil(usual_output or USUAL_OUTPUT_TOKENS)
    limit = output_limit(request)
    return _input_of(request), output if limit is None else min(output, limit)


def reserved_tokens(request: Request, usual_output: float | None = None) -> tuple[int, int]:
    """Input and output tokens to keep money for: MARGIN times the usual answer, or its limit."""
    output = math.ceil((usual_output or USUAL_OUTPUT_TOKENS) * MARGIN)
    limit = output_limit(request)
    return _input_of(request), output if limit is None else min(output, limit)


def tokens_of(request: Request) -> int:
    """All tokens a call will probably have, as the vendors' limits count them."""
    return sum(usual_tokens(request))


def money(
    input_per_million: Decimal, output_per_million: Decimal, tokens: tuple[int, int]
) -> Decimal:
    """What input and output tokens cost at these prices, rounded up to a millionth."""
    exact = (input_per_million * tokens[0] + output_per_million * tokens[1]) / _MILLION
    return exact.quantize(SMALLEST_MONEY, ROUND_UP)


def _input_of(request: Request) -> int:
    return tokens_in([len(message.content) for message in request.messages])


def _count(value: JSON) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    return None
