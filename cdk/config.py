"""What an environment is made of: one typed object, read from a TOML file and checked before anything is synthesized.

    environment = "prod"
    edges = ["main-campus", "clinic-2"]

    [catalog]
    secret_arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:catalog-Ab12Cd"

    [imaging]
    datastore_id = "0123456789abcdef0123456789abcdef"
    import_role_arn = "arn:aws:iam::111122223333:role/healthimaging-import"

Everything else has a default: see the classes below.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

Section = TypeVar("Section")


class ConfigError(Exception):
    """The configuration cannot be used. The text has a line for each thing to change."""


def _text(pattern: str, say: str, *, default: Any = MISSING) -> Any:
    return field(default=default, metadata={"pattern": re.compile(pattern, re.ASCII), "say": say})


def _seconds(least: int, most: int, *, default: int) -> Any:
    return field(default=default, metadata={"least": least, "most": most, "say": f"a whole number from {least} to {most}"})


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """The MySQL database: where its address and password are kept, and how connections to it are secured."""

    secret_arn: str = _text(
        r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+",
        "the ARN of a Secrets Manager secret that holds host, port, username, password and dbname",
    )
    tls: str = _text(r"verify|off", '"verify", or "off" for a database on the same machine', default="verify")

    @property
    def secret_resource(self) -> str:
        """The secret in a policy. Secrets Manager ends every ARN in six characters of its own, which `secret_arn` may lack."""
        complete = re.fullmatch(r".*-[A-Za-z0-9]{6}", self.secret_arn)
        return self.secret_arn if complete else f"{self.secret_arn}-??????"


@dataclass(frozen=True, kw_only=True)
class Imaging:
    """The HealthImaging data store, and the role by which it reads and writes the bucket (see `import_role_arn`)."""

    datastore_id: str = _text(r"[0-9a-z]{32}", "the id of a HealthImaging data store: 32 of 0-9 and a-z")
    import_role_arn: str = _text(
        r"arn:aws[a-z-]*:iam::[0-9]{12}:role/.+",
        "the ARN of the role that medical-imaging.amazonaws.com assumes to read instances/ and write imports/",
    )


@dataclass(frozen=True, kw_only=True)
class Polling:
    """How often a running import job is asked for its status: first, and at most, each wait half as long again."""

    first_seconds: int = _seconds(1, 3600, default=10)
    cap_seconds: int = _seconds(1, 3600, default=60)


@dataclass(frozen=True, kw_only=True)
class Config:
    """One environment."""

    environment: str = _text(r"[a-z][a-z0-9-]{0,15}", 'a name such as "dev" or "prod": up to 16 of a-z, 0-9 and "-"')
    edges: tuple[str, ...] = _text(r"[a-z0-9][a-z0-9-]{0,31}", 'a list of edge ids such as ["main-campus"]: a-z, 0-9 and "-"')
    catalog: Catalog
    imaging: Imaging
    polling: Polling = Polling()
    bucket_name: str = _text(
        r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
        'an S3 bucket name; left out, it is "ahi-ingest-ENVIRONMENT-ACCOUNT-REGION"',
        default="",
    )
    lambda_platform: str = _text(
        r"arm64|x86_64|this-machine", '"arm64", "x86_64", or "this-machine" for the local stack', default="arm64"
    )

    @property
    def prefix(self) -> str:
        """What the name of everything in this environment begins with."""
        return f"ahi-ingest-{self.environment}"


def read(path: Path) -> Config:
    """The configuration in a TOML file. Raises ConfigError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no file {path}. Copy cdk/example.toml there, and fill it in.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from None
    return from_table(table)


def from_table(table: Mapping[str, object]) -> Config:
    """The configuration in what `tomllib` gives. Raises ConfigError."""
    problems: list[str] = []
    config = _section(Config, table, "", problems)
    if config is not None:
        problems += _contradictions(config)
    if config is None or problems:
        raise ConfigError("\n".join(problems))
    return config


def _contradictions(config: Config) -> list[str]:
    problems = []
    if len({edge.replace("-", "") for edge in config.edges}) < len(config.edges):
        problems.append('edges must differ in more than "-": rename one of those that are alike.')
    if config.polling.first_seconds > config.polling.cap_seconds:
        problems.append("polling.first_seconds must not be above polling.cap_seconds: lower the first, or raise the cap.")
    return problems


def _section(kind: type[Section], table: Mapping[str, object], path: str, problems: list[str]) -> Section | None:
    """One dataclass from one table; None, and sentences in `problems`, where it cannot be made."""
    hints = get_type_hints(kind)
    fields = {one.name: one for one in dataclasses.fields(kind)}  # type: ignore[arg-type]  # a dataclass, by the callers
    found = len(problems)
    problems += [
        f"{path}{name} is not a setting: remove it, or choose from {', '.join(fields)}." for name in table if name not in fields
    ]
    values: dict[str, Any] = {}
    for name, one in fields.items():
        if dataclasses.is_dataclass(hints[name]):
            inner = table.get(name, {})
            if not isinstance(inner, Mapping):
                problems.append(f"{path}{name} must be a table: write [{path}{name}], and its settings below.")
            elif name in table or one.default is MISSING:
                values[name] = _section(hints[name], inner, f"{path}{name}.", problems)
        elif name in table:
            values[name] = _value(table[name], hints[name], one, f"{path}{name}", problems)
        elif one.default is MISSING:
            problems.append(f"{path}{name} is missing: give {one.metadata['say']}.")
    return kind(**values) if len(problems) == found else None


def _value(value: object, hint: object, one: dataclasses.Field[Any], path: str, problems: list[str]) -> object:
    say = one.metadata["say"]
    if hint is int:
        if type(value) is not int or not one.metadata["least"] <= value <= one.metadata["most"]:
            problems.append(f"{path} must be {say}.")
        return value
    many = hint is not str
    items = value if many and isinstance(value, list) and value else [value]
    if many != isinstance(value, list) or not all(
        isinstance(item, str) and one.metadata["pattern"].fullmatch(item) for item in items
    ):
        problems.append(f"{path} must be {say}.")
    return tuple(items) if many else value
