"""What an environment is made of: one typed object, read from a TOML file and checked before anything is synthesized.

The smallest file makes everything new. `cdk/example.toml` lists every setting.

    environment = "dev"
    region = "eu-west-1"

    [edges.main-campus]

    [catalog]
    ca_file = "eu-west-1-bundle.pem"

Whatever exists already is given by its name or ARN, and is then neither made nor changed: a VPC, a bucket, a key, a
database, a data store, an import role.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from cdk.sections import (
    Catalog,
    Edge,
    EdgeId,
    External,
    Imaging,
    Network,
    Operations,
    Polling,
    Quotas,
    Region,
    Section,
    Storage,
    matching,
)
from contract.keys import EXTERNAL_PREFIX

_EXTERNAL = EXTERNAL_PREFIX.rstrip("/")
"""What stands for an edge where objects come without one (lambdas.logic.issuers)."""

_LEFT_FOR_OTHERS = 100
"""Lambda lets an account reserve all but 100 of its concurrency (Lambda guide, "Configuring reserved concurrency")."""


_ROLE_NAME_MAX = 64
_IMAGES = {"ecs": "the receiver's container image in ECR, by digest", "ec2": "the id of an Amazon Linux 2023 image"}
_CERTIFICATE_AUTHORITIES = "https://truststore.pki.rds.amazonaws.com/{region}/{region}-bundle.pem"


class ConfigError(Exception):
    """The configuration cannot be used. The text has a line for each thing to change."""


class Config(Section):
    """One environment. Its name is unique in the account, since roles are named by it."""

    environment: Annotated[str, matching("[a-z][a-z0-9-]{0,15}")] = Field(
        description='a name such as "dev" or "prod": up to 16 of a-z, 0-9 and "-"'
    )
    region: Region = Field(description=f"a region that has HealthImaging: {', '.join(get_args(Region))}")
    edges: Annotated[dict[EdgeId, Edge], Field(min_length=1)] = Field(
        description='at least one table such as [edges.main-campus]: an id of up to 32 of a-z, 0-9 and "-"'
    )
    network: Network = Network()
    storage: Storage = Storage()
    catalog: Catalog = Catalog()
    imaging: Imaging = Imaging()
    polling: Polling = Polling()
    external: External = External()
    quotas: Quotas = Quotas()
    operations: Operations = Operations()
    lambda_platform: Literal["arm64", "x86_64", "this-machine"] = Field(
        default="arm64", description='"arm64", "x86_64", or "this-machine" for the local stack'
    )

    @property
    def prefix(self) -> str:
        """What the name of everything in this environment begins with."""
        return f"ahi-ingest-{self.environment}"

    @property
    def principals(self) -> tuple[str, ...]:
        """Who may write to the bucket, as ARNs with wildcards: this environment's roles, and those that it was given."""
        given = [arn for edge in self.edges.values() for arn in edge.principal_arns]
        given += [self.imaging.import_role_arn] if self.imaging.import_role_arn else []
        return (f"arn:aws:iam::*:role/{self.prefix}-*", *given)

    @property
    def answered_edges(self) -> tuple[str, ...]:
        """The edges that ask what was imported; each has a function of its own for that."""
        return tuple(name for name, edge in self.edges.items() if edge.commitment == "healthimaging")

    def answer_name(self, edge: str) -> str:
        """What the function is called that answers an edge, and its role."""
        return f"{self.prefix}-answer-{edge}"

    @property
    def default_issuers(self) -> dict[str, str]:
        """Issuers by EDGE and by EDGE/AE_TITLE, as lambdas.logic.issuers takes them."""
        issuers = {name: edge.default_issuer for name, edge in self.edges.items() if edge.default_issuer}
        if self.external.default_issuer:
            issuers[_EXTERNAL] = self.external.default_issuer
        return issuers | {f"{name}/{ae}": issuer for name, edge in self.edges.items() for ae, issuer in edge.issuers.items()}

    @property
    def catalog_concurrency(self) -> int:
        """How many functions may hold a connection to the catalog at once; 0 when none are reserved.

        A fifth of the database's connections is left for operators, and the account keeps what Lambda asks it to.
        """
        return max(0, min(self.quotas.lambda_concurrency - _LEFT_FOR_OTHERS, self.catalog.connections * 4 // 5))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = list(_contradictions(self))
        if problems:
            raise ValueError("\n".join(problems))
        return self


def _contradictions(config: Config) -> Iterator[str]:
    if len({edge.replace("-", "") for edge in config.edges}) < len(config.edges):
        yield 'edges must differ in more than "-": rename one of those that are alike.'
    if _EXTERNAL in config.edges:
        yield f"edges.{_EXTERNAL}: choose another name: what comes without a receiver has this one."
    if config.polling.first_seconds > config.polling.cap_seconds:
        yield "polling.first_seconds must not be above polling.cap_seconds: lower the first, or raise the cap."
    yield from _catalog_contradictions(config)
    for name, edge in config.edges.items():
        wanted = _IMAGES.get(edge.receiver)
        if wanted and not edge.image.startswith("ami-" if edge.receiver == "ec2" else tuple("0123456789")):
            yield f"edges.{name}.image is missing: give {wanted}, or another edges.{name}.receiver."
        longest = config.answer_name(name) if name in config.answered_edges else f"{config.prefix}-edge-{name}"
        if len(longest) > _ROLE_NAME_MAX:
            yield f"edges.{name}: with the environment's name it makes a role's name too long: shorten one of them."
        if edge.receiver in ("ecs", "ec2") and config.network.vpc == "none":
            yield f'edges.{name}.receiver is "{edge.receiver}", which needs a VPC: set network.vpc to "new" or "existing".'
    for path, arn in _arns(config):
        if (region := arn.split(":")[3]) not in ("", config.region):
            yield f"{path} is in {region}, and this environment in {config.region}: give one of the same region."


def _catalog_contradictions(config: Config) -> Iterator[str]:
    if config.catalog.new and config.catalog.ca_file is None:
        yield (
            f"catalog.ca_file is missing: download {_CERTIFICATE_AUTHORITIES.format(region=config.region)} and name the file, "
            "or give catalog.secret_arn for a database that exists."
        )
    if config.catalog.new and config.network.vpc == "none":
        yield 'catalog: a new cluster needs a VPC: set network.vpc to "new" or "existing", or give catalog.secret_arn.'
    if config.catalog.login == "iam" and not config.catalog.new:
        yield 'catalog.login is "iam", which is for a new cluster: leave it out with catalog.secret_arn.'
    if config.catalog.login == "iam" and config.catalog.tls == "off":
        yield 'catalog.login is "iam", which sends a token as it is: leave out catalog.tls = "off".'
    if config.network.vpc != "none" and not config.catalog.new and not config.catalog.security_group_id:
        yield (
            "catalog.security_group_id is missing: give the security group of the database, so that functions may reach it; "
            'or set network.vpc = "none" for a database that they reach from outside.'
        )


def _arns(config: Config) -> Iterator[tuple[str, str]]:
    for path, arn in {
        "storage.kms_key_arn": config.storage.kms_key_arn,
        "catalog.secret_arn": config.catalog.secret_arn,
        "imaging.kms_key_arn": config.imaging.kms_key_arn,
    }.items():
        if arn:
            yield path, arn


def read(path: Path) -> Config:
    """The configuration in a TOML file. Files that it names are relative to it. Raises ConfigError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"There is no file {path}. Copy cdk/example.toml there, and fill it in.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from None
    catalog = table.get("catalog")
    if isinstance(catalog, dict) and isinstance(catalog.get("ca_file"), str):
        catalog["ca_file"] = path.parent / catalog["ca_file"]
    return from_table(table)


def from_table(table: Mapping[str, object]) -> Config:
    """The configuration in what `tomllib` gives. Raises ConfigError."""
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentence(fault) for fault in error.errors(include_url=False))) from None


def _sentence(fault: Any) -> str:
    """What to do about one of pydantic's findings."""
    kind, path = fault["type"], tuple(part for part in fault["loc"] if isinstance(part, str) and part != "[key]")
    if "[key]" in fault["loc"]:
        path = path[:-1]  # the key itself is what is wrong: the table's description says what it must be
    elif kind == "value_error":
        return str(fault["ctx"]["error"])  # a sentence of ours
    section, description = _described(path)
    name = ".".join(path)
    if kind == "extra_forbidden":
        return f"{name} is not a setting: remove it, or choose from {', '.join(section.model_fields)}."
    if kind == "model_type":
        return f"{name} must be a table: write [{name}], and its settings below."
    if kind == "missing":
        return f"{name} is missing: give {description}."
    return f"{name} must be {description}."


def _described(path: tuple[str, ...]) -> tuple[type[Section], str]:
    """The section that a setting stands in, and the setting's description."""
    section: type[Section] = Config
    description = "a table"
    for part in path:
        if part not in section.model_fields:  # the id of an edge, or a setting that is none
            continue
        one = section.model_fields[part]
        description = one.description or description
        if part == "edges" and section is Config:
            section = Edge if len(path) > 1 else section
        elif isinstance(one.annotation, type) and issubclass(one.annotation, Section):
            section = one.annotation
    return section, description
