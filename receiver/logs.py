"""Logs: one JSON object a line, on standard error, with what a record's `extra` names. Callers give no patient data to it."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON, with what is given here in each."""

    def __init__(self, **each_line: object) -> None:
        super().__init__()
        self._each_line = each_line

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": time, "level": record.levelname, "event": record.getMessage(), **self._each_line}
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logs(level: str, **each_line: object) -> None:
    """Log to standard error from now on, with what is given here in each line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(**each_line))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("botocore", "boto3", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def error_text(error: Exception) -> str:
    """What an error is, without the path that an OSError's text carries."""
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error) or type(error).__name__
