"""The three environments that are always synthesized, once per session: the smallest, production, everything brought along."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import certifi
import pytest
from aws_cdk import Validations
from cdk_nag import AwsSolutionsChecks, HIPAASecurityChecks

from cdk.app import make_app
from cdk.bundle import Bundle, build
from cdk.config import Config, from_table
from tests.support.templates import Template

SMALLEST: dict[str, Any] = {
    "environment": "dev",
    "region": "eu-west-1",
    "edges": {"main-campus": {}},
    "catalog": {"min_capacity": 0, "max_capacity": 1},
}
PRODUCTION: dict[str, Any] = {
    "environment": "prod",
    "region": "eu-west-1",
    "edges": {
        "main-campus": {
            "receiver": "greengrass",
            "default_issuer": "HOSPITAL",
            "issuers": {"CT_CLINIC": "CLINIC"},
            "commitment": "healthimaging",
        },
        "clinic-2": {
            "receiver": "ecs",
            "image": f"111122223333.dkr.ecr.eu-west-1.amazonaws.com/receiver@sha256:{'0' * 64}",
            "peers": ["10.1.0.0/16"],
        },
        "clinic-3": {
            "receiver": "ec2",
            "image": "ami-0123456789abcdef0",
            "architecture": "arm64",
            "commitment": "healthimaging",
        },
    },
    "catalog": {"standby": True, "connections": 1000, "login": "iam"},
    "external": {"default_issuer": "ARCHIVE"},
    "storage": {"object_lock_days": 30},
    "operations": {"alarm_email": "on-call@example.org", "log_days": 365},
}
BROUGHT: dict[str, Any] = {
    "environment": "mine",
    "region": "us-east-1",
    "edges": {"here": {"principal_arns": ["arn:aws:iam::111122223333:role/receiver"]}},
    "network": {
        "vpc": "existing",
        "vpc_id": "vpc-0123456789abcdef0",
        "subnet_ids": ["subnet-0123456789abcdef0", "subnet-1123456789abcdef0"],
        "availability_zones": ["us-east-1a", "us-east-1b"],
        "endpoints": False,
    },
    "storage": {
        "bucket_name": "a-bucket-of-ours",
        "existing": True,
        "kms_key_arn": "arn:aws:kms:us-east-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef",
    },
    "catalog": {
        "secret_arn": "arn:aws:secretsmanager:us-east-1:111122223333:secret:catalog-Ab12Cd",
        "security_group_id": "sg-0123456789abcdef0",
    },
    "imaging": {
        "datastore_id": "0123456789abcdef0123456789abcdef",
        "import_role_arn": "arn:aws:iam::111122223333:role/import",
    },
}


@dataclass(frozen=True)
class Environment:
    """A synthesized environment."""

    config: Config
    assembly: Path

    @cached_property
    def stacks(self) -> dict[str, Template]:
        """The template of each stack, by what follows the environment's prefix in its name, in the order of deployment."""
        artifacts = json.loads((self.assembly / "manifest.json").read_text())["artifacts"]
        names = [name for name, artifact in artifacts.items() if artifact["type"] == "aws:cloudformation:stack"]
        return {name.removeprefix(f"{self.config.prefix}-"): Template.read(self.assembly, name) for name in names}


@pytest.fixture(scope="session")
def certificate_authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEM file of one certificate, in place of the database's."""
    path: Path = tmp_path_factory.mktemp("authorities") / "bundle.pem"
    first, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----")
    path.write_text(first[first.index("-----BEGIN") :] + end + "\n")
    return path


def synthesize(table: dict[str, Any], *, bundle: Bundle, certificate_authority: Path, output: Path) -> Environment:
    catalog = table["catalog"] if "secret_arn" in table["catalog"] else table["catalog"] | {"ca_file": certificate_authority}
    config = from_table(table | {"catalog": catalog})
    app = make_app(config, output=output, bundle=bundle)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app), HIPAASecurityChecks(app))
    try:
        app.synth()
    except RuntimeError as error:  # the templates are there, and the report, which test_rules.py reads
        if "ValidationFailed" not in str(error):
            raise
    return Environment(config, output)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return build("arm64")


@pytest.fixture(scope="session")
def smallest(bundle: Bundle, certificate_authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    output = tmp_path_factory.mktemp("smallest")
    return synthesize(SMALLEST, bundle=bundle, certificate_authority=certificate_authority, output=output)


@pytest.fixture(scope="session")
def production(bundle: Bundle, certificate_authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    output = tmp_path_factory.mktemp("production")
    return synthesize(PRODUCTION, bundle=bundle, certificate_authority=certificate_authority, output=output)


@pytest.fixture(scope="session")
def brought(bundle: Bundle, certificate_authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    output = tmp_path_factory.mktemp("brought")
    return synthesize(BROUGHT, bundle=bundle, certificate_authority=certificate_authority, output=output)


@pytest.fixture(scope="session")
def config(production: Environment) -> Config:
    return production.config


@pytest.fixture(scope="session")
def template(production: Environment) -> Template:
    """The ingest stack of production."""
    return production.stacks["ingest"]
