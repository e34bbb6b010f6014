"""A configuration that cannot be used is refused with sentences that say what to change."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from cdk.__main__ import main
from cdk.config import ConfigError, from_table, read
from cdk.sections import Catalog, Polling, Section
from tests.infrastructure.conftest import BROUGHT


def changed(path: str, value: object) -> dict[str, Any]:
    table = copy.deepcopy(BROUGHT)
    *sections, name = path.split(".")
    inner = table
    for section in sections:
        inner = inner.setdefault(section, {})
    inner[name] = value
    return table


def test_what_is_left_out_has_its_default() -> None:
    config = from_table(BROUGHT)
    assert (config.polling, config.catalog.tls, config.lambda_platform) == (Polling(), "verify", "arm64")


def test_the_example_in_the_repository_can_be_used_and_shows_every_setting_and_its_default(
    tmp_path: Path, certificate_authority: Path
) -> None:
    text = Path("cdk/example.toml").read_text(encoding="utf-8")
    (tmp_path / "eu-west-1-bundle.pem").write_bytes(certificate_authority.read_bytes())
    (tmp_path / "as-it-is.toml").write_text(text)
    (tmp_path / "all-set.toml").write_text(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE))
    example = read(tmp_path / "as-it-is.toml")
    assert read(tmp_path / "all-set.toml") == example
    sections: list[Section] = [example, example.edges["main-campus"]]
    sections += [one for one in vars(example).values() if isinstance(one, Section)]
    for section in sections:
        missing = [name for name in type(section).model_fields if not re.search(rf"^(# |\[)?{name}\b", text, re.MULTILINE)]
        assert not missing


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("environment", "Prod!", 'environment must be a name such as "dev" or "prod"'),
        ("region", "eu-central-1", "region must be a region that has HealthImaging: us-east-1, us-west-2"),
        ("edges", "main", "edges must be at least one table such as [edges.main-campus]"),
        ("edges", {}, "edges must be at least one table such as [edges.main-campus]"),
        ("edges", {"Main Campus": {}}, "edges must be at least one table such as [edges.main-campus]"),
        ("edges", {"a-1": {}, "a1": {}}, "edges must differ"),
        ("edges.here", 5, "edges.here must be a table: write [edges.here]"),
        ("edges.here.receiver", "cloud", "edges.here.receiver must be where the receiver runs"),
        ("edges.here.receiver", "ecs", "edges.here.image is missing: give the receiver's container image"),
        ("edges.here.commitment", "always", "edges.here.commitment must be when storage commitment is given"),
        ("edges.here.peers", ["anyone"], "edges.here.peers must be the address ranges"),
        ("storage.bucket_name", "No_Bucket", "storage.bucket_name must be an S3 bucket name"),
        ("storage.bucket_name", "", "storage.existing is true: name the bucket"),
        ("storage.encryption", "s3", "storage.kms_key_arn names a key"),
        ("storage.kms_key_arn", "", "storage.existing is true: name the key that encrypts the bucket"),
        ("network.endpoints", True, "network.endpoints is true: give the route table of each"),
        ("storage.kms_key_arn", "arn:aws:kms:eu-west-1:111122223333:key/0a", "storage.kms_key_arn is in eu-west-1"),
        ("network.vpc", "none", "network.vpc_id names a VPC"),
        ("network.vpc_id", "", 'network.vpc is "existing": give network.vpc_id'),
        ("network.subnet_ids", ["subnet-0123456789abcdef0"], "network.availability_zones must name the zone of each"),
        ("lambda_platform", "sparc", 'lambda_platform must be "arm64"'),
        ("catalog.tls", "maybe", 'catalog.tls must be "verify"'),
        ("catalog.login", "iam", 'catalog.login is "iam", which is for a new cluster'),
        ("edges.external", {}, "edges.external: choose another name"),
        ("catalog.secret_arn", "catalog", "catalog.secret_arn must be the ARN of a Secrets Manager secret"),
        ("catalog.secret_arn", "", "catalog.ca_file is missing: download https://truststore.pki.rds.amazonaws.com/us-east-1/"),
        ("catalog.ca_file", "cdk/example.toml", "catalog.ca_file must be a PEM file of certificates"),
        ("catalog.ca_file", "none.pem", "catalog.ca_file must be a PEM file of certificates"),
        ("catalog.security_group_id", "", "catalog.security_group_id is missing: give the security group"),
        ("catalog.min_capacity", 9, "catalog.min_capacity must not be above"),
        ("imaging.datastore_id", "short", "imaging.datastore_id must be the id of a HealthImaging data store"),
        ("imaging.import_role_arn", "role", "imaging.import_role_arn must be the ARN of the role"),
        ("polling.first_seconds", 0, "polling.first_seconds must be a whole number from 1"),
        ("polling.first_seconds", True, "polling.first_seconds must be a whole number from 1"),
        ("polling.first_seconds", 61, "polling.first_seconds must not be above polling.cap_seconds"),
        ("polling", 5, "polling must be a table: write [polling]"),
        ("operations.log_days", 91, "operations.log_days must be how many days logs are kept"),
        ("imaging.datastore", "x", "imaging.datastore is not a setting: remove it, or choose from datastore_id"),
    ],
)
def test_a_wrong_setting_is_named_with_what_it_must_be(path: str, value: object, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        from_table(changed(path, value))
    assert sentence in str(refused.value)


def test_a_new_cluster_needs_a_vpc(certificate_authority: Path) -> None:
    table = changed("network", {"vpc": "none"}) | {"catalog": {"ca_file": certificate_authority}}
    with pytest.raises(ConfigError, match="a new cluster needs a VPC"):
        from_table(table)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        from_table({"edge": "main"})
    lines = str(refused.value).splitlines()
    for name in ("edge is not", "environment is missing", "region is missing", "edges is missing"):
        assert any(line.startswith(name) for line in lines)


@pytest.mark.parametrize(
    ("lambda_concurrency", "connections", "at_once"), [(1000, 90, 72), (150, 1000, 50), (10, 90, 0), (1000, 0, 0)]
)
def test_concurrency_follows_from_the_quotas(lambda_concurrency: int, connections: int, at_once: int) -> None:
    table = changed("quotas", {"lambda_concurrency": lambda_concurrency})
    table["catalog"]["connections"] = connections
    assert from_table(table).catalog_concurrency == at_once


def test_a_missing_or_broken_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Copy cdk/example\.toml there"):
        read(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("environment = prod")
    with pytest.raises(ConfigError, match=r"broken\.toml is not TOML"):
        read(tmp_path / "broken.toml")


def test_the_program_says_what_is_wrong_and_synthesizes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong.toml").write_text('environment = "Prod!"')
    output = tmp_path / "output"
    monkeypatch.setattr("sys.argv", ["cdk", "--config", str(tmp_path / "wrong.toml"), "--output", str(output)])
    assert main() == 2
    assert "environment must be a name" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("arn", "resource"),
    [
        ("arn:aws:secretsmanager:x:111122223333:secret:a-Ab12Cd", "arn:aws:secretsmanager:x:111122223333:secret:a-Ab12Cd"),
        (
            "arn:aws:secretsmanager:x:111122223333:secret:a/catalog",
            "arn:aws:secretsmanager:x:111122223333:secret:a/catalog-??????",
        ),
    ],
)
def test_a_policy_names_the_secret_with_its_six_characters(arn: str, resource: str) -> None:
    assert Catalog(secret_arn=arn).secret_resource == resource
