"""Encryption at rest of the keys that people entrust to us (Fernet: AES-128-CBC with HMAC)."""

from __future__ import annotations

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class Undecryptable(Exception):
    """None of the configured keys opens this secret."""


def seal(secret: str) -> str:
    """Encrypt with the newest key of RETEX_ENCRYPTION_KEYS."""
    return _box(tuple(settings.RETEX_ENCRYPTION_KEYS)).encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """Decrypt with whichever configured key fits. Raises Undecryptable."""
    try:
        return _box(tuple(settings.RETEX_ENCRYPTION_KEYS)).decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise Undecryptable from error


def reseal(sealed: str) -> str:
    """Re-encrypt with the newest key; used when keys are rotated. Raises Undecryptable."""
    try:
        return _box(tuple(settings.RETEX_ENCRYPTION_KEYS)).rotate(sealed.encode()).decode()
    except InvalidToken as error:
        raise Undecryptable from error


@lru_cache(maxsize=4)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(_derive(key)) for key in keys])


def _derive(key: str) -> bytes:
    """Any long secret becomes a Fernet key (HKDF, RFC 5869), so that operators need no special tool."""
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"retex provider keys")
    return base64.urlsafe_b64encode(hkdf.derive(key.encode()))
