"""A limit on what one person may ask, so that a loop gone wild slows nobody else down."""

from __future__ import annotations

import logging
import time
from typing import Any

from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle

logger = logging.getLogger(__name__)
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class PerPerson(BaseThrottle):
    """Counts requests of a person in windows of the rate's length; one small write to the cache each.

    Without the cache nothing is counted: a limit that is away must not take the service with it.
    """

    def allow_request(self, request: Request, view: Any) -> bool:
        most, length = parse_rate(str(api_settings.DEFAULT_THROTTLE_RATES["person"]))
        now = time.time()
        self._wait = length - now % length
        key = f"api-requests:{request.user.pk}:{int(now // length)}"
        try:
            cache.add(key, 0, timeout=length)
            return cache.incr(key) <= most
        except RedisError:
            logger.warning("cache away: requests are not counted")
            return True
        except ValueError:  # the key was thrown out between the two
            return True

    def wait(self) -> float:
        """Seconds until the next window."""
        return self._wait


def parse_rate(rate: str) -> tuple[int, int]:
    """`3000/min` as requests and seconds. Raises ImproperlyConfigured naming the setting."""
    number, _slash, period = rate.partition("/")
    if not (number.isdecimal() and period[:1] in SECONDS):
        raise ImproperlyConfigured(
            f"RETEX_API_RATE: {rate!r} is no rate. Write it like 3000/min (s, min, hour or day)."
        )
    return int(number), SECONDS[period[:1]]
