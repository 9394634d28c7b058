"""The web server, the same for `manage.py up`, systemd and containers.

gunicorn itself also reads WEB_CONCURRENCY, FORWARDED_ALLOW_IPS and GUNICORN_CMD_ARGS.
"""

import os

_host = os.environ.get("RETEX_BIND") or "127.0.0.1"
bind = (
    f"[{_host}]:{os.environ.get('RETEX_PORT') or 8000}"
    if ":" in _host
    else f"{_host}:{os.environ.get('RETEX_PORT') or 8000}"
)
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
threads = int(os.environ.get("RETEX_WEB_THREADS") or 16)
preload_app = True  # one import for all workers; kb/wsgi.py leaves no connection open behind
timeout = 60
graceful_timeout = 3
keepalive = 5
max_requests = 20_000
max_requests_jitter = 2_000
"""A worker is renewed now and then, whatever a library may leak."""
control_socket_disable = True
loglevel = "warning"
worker_tmp_dir = (
    "/dev/shm" if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK) else None
)
"""A heartbeat file on a busy disk would have healthy workers ended."""
