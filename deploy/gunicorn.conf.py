"""The web server, the same for `manage.py up`, systemd and containers.

gunicorn itself also reads WEB_CONCURRENCY, FORWARDED_ALLOW_IPS and GUNICORN_CMD_ARGS.
"""

import os

_host = os.environ.get("RETEX_BIND") or "127.0.0.1"
_port = os.environ.get("RETEX_PORT") or "8000"
bind = f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
threads = int(os.environ.get("RETEX_WEB_THREADS") or 16)
preload_app = True  # one import for all workers; kb/wsgi.py leaves no connection open behind
timeout = 60
graceful_timeout = 4  # Ctrl-C promises that all is over after ten seconds
keepalive = 5
max_requests = 20_000
max_requests_jitter = 2_000
"""A worker is renewed now and then, whatever a library may leak."""
control_socket_disable = True
loglevel = "warning"
_memory = "/dev/shm"  # noqa: S108 - gunicorn's files there have names nobody can guess
worker_tmp_dir = _memory if os.access(_memory, os.W_OK) else None
"""A heartbeat file on a busy disk would have healthy workers ended."""
