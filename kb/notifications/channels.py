"""How a message leaves the house."""

from __future__ import annotations

import smtplib

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation

from kb.notifications.kinds import KINDS, sentence
from kb.notifications.models import Notification

MAIL_FAULTS = (smtplib.SMTPException, OSError)
"""What a mail server or the way to it may do to us; everything else is a bug."""
_SUBJECT_LENGTH = 150


def mail(notification: Notification, unsubscribe_token: str) -> None:
    """Send one message in its recipient's language. Raises one of MAIL_FAULTS."""
    person = notification.recipient
    unsubscribe = settings.BASE_URL + reverse("unsubscribe", args=[unsubscribe_token])
    with translation.override(person.language):
        words = sentence(notification.kind, notification.context)
        context = {
            "person": person,
            "sentence": words,
            "link": settings.BASE_URL + notification.path,
            "reason": KINDS[notification.kind].reason,
            "unsubscribe": unsubscribe,
        }
        message = EmailMultiAlternatives(
            subject="Retex · " + " ".join(words.split())[:_SUBJECT_LENGTH],
            body=render_to_string("emails/notification.txt", context),
            to=[person.email],
            headers={
                "List-Unsubscribe": f"<{unsubscribe}>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                "Auto-Submitted": "auto-generated",
            },
        )
        message.attach_alternative(
            render_to_string("emails/notification.html", context), "text/html"
        )
    message.send()
