"""The clock's doors, gathered so that Celery finds them."""

from kb.tasks import drift, llm, notifications, search, trials

__all__ = ["drift", "llm", "notifications", "search", "trials"]
