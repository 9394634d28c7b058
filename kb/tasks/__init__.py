"""The clock's doors, gathered so that Celery finds them."""

from kb.tasks import drift, notifications, search

__all__ = ["drift", "notifications", "search"]
