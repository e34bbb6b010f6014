"""The engine behind AWS's protocol: AWS JSON 1.0, POST `/`, the operation in `X-Amz-Target: AWSStepFunctions.<Operation>`.

The standard library's threading server: it is up in milliseconds, keeps connections alive, and the engine's own thread
does the work. Loopback only; signatures are not checked.
"""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from local.stepfunctions.errors import ApiError
from local.stepfunctions.operations import Operations

if TYPE_CHECKING:
    from local.stepfunctions.engine import Engine

HOST = "127.0.0.1"
_TARGET = "AWSStepFunctions."
_MAX_REQUEST_BYTES = 8 * 1024 * 1024

log = logging.getLogger(__name__)


class Server:
    """Serves an engine on loopback. `port` 0 takes a free one; `port` tells which."""

    def __init__(self, engine: Engine, port: int = 0) -> None:
        operations = Operations(engine)

        class Handler(_Handler):
            handle_operation = staticmethod(operations.handle)

        self._server = _HttpServer((HOST, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="stepfunctions-http", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def endpoint_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512  # hundreds of clients may start executions at once

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A client that went away is no news."""
        log.debug("A connection broke", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024  # headers and body in one packet
    server_version = "stepfunctions"

    @staticmethod
    def handle_operation(operation: str, request: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def do_GET(self) -> None:
        """Health, for whoever waits for the engine."""
        self._answer(200, {"status": "ready"})

    def do_POST(self) -> None:
        try:
            answer = self._operation()
        except ApiError as error:
            self._answer(400, {"__type": error.code, "message": error.message})
        except Exception:
            log.exception("An operation failed")
            self._answer(500, {"__type": "InternalFailure", "message": "the engine failed; its log says why"})
        else:
            self._answer(200, answer)

    def _operation(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length", 0))
        if length > _MAX_REQUEST_BYTES:
            self.close_connection = True
            raise ApiError("ValidationException", f"a request may have {_MAX_REQUEST_BYTES} bytes")
        body = self.rfile.read(length)
        target = self.headers.get("X-Amz-Target", "")
        if not target.startswith(_TARGET):
            raise ApiError("UnknownOperationException", f"the header X-Amz-Target must be {_TARGET}<Operation>")
        try:
            request = json.loads(body or b"{}")
        except ValueError as error:
            raise ApiError("SerializationException", f"the request is not JSON: {error}") from error
        if not isinstance(request, dict):
            raise ApiError("SerializationException", "the request is not a JSON object")
        return self.handle_operation(target.removeprefix(_TARGET), request)

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amzn-RequestId", str(uuid4()))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        log.debug(format, *args)
