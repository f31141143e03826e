"""How gunicorn runs the page: `gunicorn -c python:gatepost_webui.gunicorn_conf`.

One worker with threads, on purpose: the count of wrong guesses lives in its
memory, and a box's page has a handful of users.
"""

from __future__ import annotations

import os

from gatepost_webui.config import read_config

_config = read_config(os.environ)

wsgi_app = "gatepost_webui.app:create_app()"
bind = list(_config.bind)
workers = 1
worker_class = "gthread"
threads = 8
worker_connections = 64
timeout = 60  # seconds; netcheck and ping take their time
graceful_timeout = 10  # seconds
keepalive = 5  # seconds
worker_tmp_dir = "/dev/shm"  # noqa: S108  # gunicorn's heartbeat file; it makes it privately
umask = 0o077
forwarded_allow_ips = ""  # no proxy in front: the address of the connection is the guesser's
control_socket_disable = True
certfile = str(_config.certificate) if _config.certificate else None
keyfile = str(_config.key) if _config.key else None
