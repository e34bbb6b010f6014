"""The receiver's small web server: /livez, /readyz and /metrics.

/livez    200 while the process that serves it works; restart it otherwise
/readyz   200 and {"ready": true, ...}, or 503 with the reasons; warnings with either
/metrics  Prometheus' text format
"""

from __future__ import annotations

import errno
import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST

from receiver.monitor.metrics import exposition
from receiver.monitor.snapshot import Observer

_REQUEST_SECONDS = 5.0


class HealthServer:
    """Serves from `start` until `stop`."""

    def __init__(self, observer: Observer, host: str, port: int) -> None:
        """Bind the port; 0 takes a free one. Raises OSError."""

        class Handler(_Handler):
            observed = observer

        try:
            self._server = _Server((host, port), Handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise OSError(error.errno, f"port {port} (AHI_INGEST_HEALTH_PORT) is taken") from None
            raise
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


class _Handler(BaseHTTPRequestHandler):
    observed: Observer
    timeout = _REQUEST_SECONDS  # a client that says nothing holds its thread no longer

    def do_GET(self) -> None:
        match self.path:
            case "/livez":
                self._answer(HTTPStatus.OK, "text/plain", b"alive\n")
            case "/readyz":
                self._readiness()
            case "/metrics":
                self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, exposition(self.observed.snapshot()))
            case _:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"/livez, /readyz or /metrics\n")

    def _readiness(self) -> None:
        try:
            snapshot = self.observed.snapshot()
            reasons, warnings = snapshot.reasons, snapshot.warnings
        except OSError as error:
            reasons, warnings = [f"the spool cannot be read: {error.strerror}"], []
        body = json.dumps({"ready": not reasons, "reasons": reasons, "warnings": warnings}, indent=1).encode() + b"\n"
        self._answer(HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK, "application/json", body)

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Probes come every few seconds, and are no news."""
