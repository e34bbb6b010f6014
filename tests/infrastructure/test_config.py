"""A configuration that cannot be used is refused with sentences that say what to change."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from cdk.__main__ import main
from cdk.config import Catalog, ConfigError, Polling, from_table, read
from tests.infrastructure.conftest import TABLE


def changed(path: str, value: object) -> dict[str, Any]:
    table = copy.deepcopy(TABLE)
    *sections, name = path.split(".")
    inner = table
    for section in sections:
        inner = inner.setdefault(section, {})
    inner[name] = value
    return table


def test_what_is_left_out_has_its_default() -> None:
    config = from_table(TABLE)
    assert (config.polling, config.catalog.tls, config.lambda_platform, config.bucket_name) == (
        Polling(),
        "verify",
        "arm64",
        "",
    )
    assert config.edges == ("main-campus", "clinic-2")


def test_the_example_in_the_repository_can_be_used() -> None:
    assert read(Path("cdk/example.toml")).environment == "dev"


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("environment", "Prod!", 'environment must be a name such as "dev" or "prod"'),
        ("edges", "main", "edges must be a list of edge ids"),
        ("edges", [], "edges must be a list of edge ids"),
        ("edges", ["Main Campus"], "edges must be a list of edge ids"),
        ("edges", ["a-1", "a1"], "edges must differ"),
        ("bucket_name", "No_Bucket", "bucket_name must be an S3 bucket name"),
        ("lambda_platform", "sparc", 'lambda_platform must be "arm64"'),
        ("catalog.tls", "maybe", 'catalog.tls must be "verify"'),
        ("catalog.secret_arn", "catalog", "catalog.secret_arn must be the ARN of a Secrets Manager secret"),
        ("imaging.datastore_id", "short", "imaging.datastore_id must be the id of a HealthImaging data store"),
        ("imaging.import_role_arn", "role", "imaging.import_role_arn must be the ARN of the role"),
        ("polling.first_seconds", 0, "polling.first_seconds must be a whole number from 1"),
        ("polling.first_seconds", True, "polling.first_seconds must be a whole number from 1"),
        ("polling.first_seconds", 61, "polling.first_seconds must not be above polling.cap_seconds"),
        ("polling", 5, "polling must be a table: write [polling]"),
        ("imaging.datastore", "x", "imaging.datastore is not a setting: remove it, or choose from datastore_id"),
    ],
)
def test_a_wrong_setting_is_named_with_what_it_must_be(path: str, value: object, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        from_table(changed(path, value))
    assert sentence in str(refused.value)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        from_table({"edge": "main"})
    lines = str(refused.value).splitlines()
    for name in ("edge is not", "environment is missing", "edges is missing", "catalog.secret_arn is missing"):
        assert any(line.startswith(name) for line in lines)


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
