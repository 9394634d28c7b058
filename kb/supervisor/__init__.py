"""Between a fresh clone and a running product: embedded servers, processes, checks, backups.

Knows nothing of Django: it starts the processes that do. Its words are those of `manage.py help`.
"""
