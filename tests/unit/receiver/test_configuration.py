"""Settings from the environment and a TOML file; what is wrong is told with what to do."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from receiver.configuration import read_settings
from receiver.settings import PREFIX, Settings, SettingsError

REQUIRED = {"EDGE_ID": "edge-1", "BUCKET": "bucket", "QUEUE_URL": "https://queue", "SPOOL": "/spool"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)


def written(folder: Path, text: str) -> Path:
    path = folder / "receiver.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_environment_alone_is_enough() -> None:
    assert read_settings().edge_id == "edge-1"


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, 'port = 104\nworkers = 4\ncalling_ae_titles = ["CT_1", "CT_2"]\nidle_timeout_seconds = 30\n')
    monkeypatch.setenv(f"{PREFIX}PORT", "2104")
    settings = read_settings(path)
    assert (settings.port, settings.workers, settings.calling_ae_titles) == (2104, 4, ("CT_1", "CT_2"))
    assert settings.idle_timeout_seconds == 30


def test_a_variable_that_is_empty_leaves_its_setting_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}PORT", "")
    assert read_settings(written(tmp_path, "port = 104\n")).port == 104


def test_the_file_may_be_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}CONFIG", str(written(tmp_path, "port = 104\n")))
    assert read_settings().port == 104


def test_an_unknown_variable_stops_the_start_and_the_one_that_was_meant_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}PROT", "104")
    with pytest.raises(SettingsError, match=r"Remove the variable AHI_INGEST_PROT, .* did you mean AHI_INGEST_PORT\?"):
        read_settings()


def test_an_unknown_key_of_the_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"Remove the key of .*receiver.toml zebra, .* docs/configuration.md"):
        read_settings(written(tmp_path, "zebra = 1\n"))


def test_settings_reach_a_worker_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "NETWORKS": "10.1.0.0/16, fd00::/8",
        "CALLING_AE_TITLES": "CT_1, CT_2",
        "COMMITMENT_PEERS": "PACS=10.0.0.1:104",
        "TLS_PORT": "2762",
        "TLS_CERTIFICATE": "/etc/certificate.pem",
        "TLS_KEY": "/etc/key.pem",
    }.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)
    settings = read_settings()
    assert len(settings.networks) == len(settings.calling_ae_titles) == 2
    assert Settings(**json.loads(json.dumps(settings.model_dump(mode="json")))) == settings


def test_what_an_operator_has_set_for_the_console_does_not_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}STACK", "ahi-ingest-prod")
    monkeypatch.setenv(f"{PREFIX}STATE", "/var/tmp/ahi-ingest")  # noqa: S108
    assert read_settings().edge_id


def test_every_fault_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"{PREFIX}BUCKET")
    with pytest.raises(SettingsError) as raised:
        read_settings(written(tmp_path, 'port = "many"\nworkers = 0\n'))
    lines = str(raised.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["Set AHI_INGEST_BUCKET", "Set AHI_INGEST_PORT", "Set AHI_INGEST_WORKERS"]


def test_settings_that_exclude_each_other_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}DISK_LOW_BYTES", "1")
    with pytest.raises(SettingsError, match=r"^AHI_INGEST_DISK_LOW_BYTES must be at least AHI_INGEST_DISK_RESERVE_BYTES"):
        read_settings()


@pytest.mark.parametrize("text", ["port: 104", "\0", "[receiver"])
def test_a_file_that_is_not_toml_stops_the_start(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"is not TOML .*: write one `name = value` a line"):
        read_settings(written(tmp_path, text))


def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read .*: check --config and AHI_INGEST_CONFIG"):
        read_settings(tmp_path / "none.toml")
