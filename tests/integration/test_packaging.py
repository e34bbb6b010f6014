"""The ways to install a receiver, as far as they can be checked without Docker, systemd and Greengrass.

What the Dockerfile copies and runs is done here, outside of a container, and the installed receiver is started with what the
systemd unit gives it. The image, the unit and the component themselves are not run (docs/operations.md says so).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

from local.aws import Aws
from local.processes import Process, free_port
from receiver.configuration import CONFIG
from receiver.settings import PREFIX, Settings
from tests.support.receiver import CT, EXPLICIT, EdgeProcess, RawPeer, small_data_set

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
VARIABLES = {CONFIG} | {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


def dockerfile() -> list[list[str]]:
    """The instructions, each as words."""
    text = (PACKAGING / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [shlex.split(line) for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def unit() -> ConfigParser:
    parser = ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(PACKAGING / "ahi-ingest.service")
    return parser


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the build stage of the Dockerfile makes, of exactly the files that it copies."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("opt") / "ahi-ingest"
    build_stage = dockerfile()[: [words[0] for words in dockerfile()].index("FROM", 1)]
    for words in build_stage:
        if words[0] == "COPY":
            for name in words[1:-1]:
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, source / words[-1], ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / name, source / words[-1])
    assert build_stage[-1] == ["RUN", "packaging/install.sh", "/opt/ahi-ingest"]
    done = subprocess.run(
        [source / "packaging" / "install.sh", target],
        env={"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "UV": str(ROOT / ".tools" / "bin" / "uv")} | _proxies(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


def _proxies() -> dict[str, str]:
    """What tells uv where packages are, and where it keeps them."""
    kept = ("UV_", "PIP_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    return {name: value for name, value in os.environ.items() if name.upper().startswith(kept)}


def test_the_installed_receiver_runs_with_what_the_systemd_unit_gives_it(
    installed: Path, aws: Aws, bucket: str, tmp_path: Path
) -> None:
    edge = EdgeProcess.prepare(aws, bucket, tmp_path / "edge")
    port = free_port()
    values = tomllib.loads((PACKAGING / "receiver.toml").read_text())
    values |= {"bucket": bucket, "queue_url": edge.queue_url, "spool": str(edge.spool), "port": port, "edge_id": "edge-1"}
    (tmp_path / "receiver.toml").write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()))
    name, _, value = unit()["Service"]["Environment"].partition("=")
    assert (name, value) == (CONFIG, "/etc/ahi-ingest/receiver.toml")
    command = unit()["Service"]["ExecStart"].split()
    assert command[0] == "/opt/ahi-ingest/bin/ahi-ingest"
    environment = {
        "PATH": "/usr/bin:/bin",
        CONFIG: str(tmp_path / "receiver.toml"),
        "AHI_INGEST_HEALTH_PORT": "0",
        **{name: value for name, value in edge.environment().items() if name.startswith("AWS_")},
    }
    edge.folder.mkdir()
    log = tmp_path / "receiver.log"
    with Process.start(
        "The installed receiver",
        [installed / "bin" / "ahi-ingest", *command[1:]],
        log_path=log,
        ready=lambda: '"event": "ready"' in log.read_text(),
        ready_within_seconds=60,
        env=environment,
        cwd=tmp_path,
    ):
        peer = RawPeer(port, {1: (CT, (EXPLICIT,))})
        assert peer.store(b"1.1", small_data_set()) == 0
        peer.release()
        (announced,) = edge.announced(1)
    assert len(announced.entries) == 1
    listed = subprocess.run(
        [installed / "bin" / "ahi-ingest", "spool", "list"], env=environment, capture_output=True, text=True, check=True
    )
    assert listed.stdout == "0 associations, 0 objects, 0 bytes\n"


def test_the_image_runs_as_no_root_and_writes_to_the_spool_alone() -> None:
    instructions = dockerfile()
    last_stage = instructions[len(instructions) - [words[0] for words in reversed(instructions)].index("FROM") :]
    by_name = {words[0]: words[1:] for words in last_stage}
    (spool,) = by_name["VOLUME"]
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", by_name["USER"][0])
    environment = dict(word.split("=", 1) for words in last_stage if words[0] == "ENV" for word in words[1:])
    assert environment["AHI_INGEST_SPOOL"] == spool
    assert {name for name in environment if name.startswith(PREFIX)} <= VARIABLES
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert "".join(by_name["ENTRYPOINT"]) == "[ahi-ingest,receive]"
    assert f"127.0.0.1:{environment['AHI_INGEST_HEALTH_PORT']}/livez" in " ".join(by_name["HEALTHCHECK"])


def test_the_unit_is_one_that_systemd_takes_and_leaves_time_to_drain(tmp_path: Path) -> None:
    service = unit()["Service"]
    assert int(service["TimeoutStopSec"]) > Settings.model_fields["drain_timeout_seconds"].default + 10
    assert (service["User"], service["KillMode"], service["RestartPreventExitStatus"]) == ("ahi-ingest", "mixed", "2")
    if verify := shutil.which("systemd-analyze"):
        copy = tmp_path / "ahi-ingest.service"
        text = (PACKAGING / "ahi-ingest.service").read_text().replace(service["ExecStart"].split()[0], "/bin/true")
        copy.write_text(text)
        done = subprocess.run([verify, "verify", copy], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_greengrass_recipe_is_whole_and_sets_settings_that_exist() -> None:
    """https://docs.aws.amazon.com/greengrass/v2/developerguide/component-recipe-reference.html"""
    text = (PACKAGING / "greengrass" / "recipe.json").read_text()
    recipe = json.loads(text)
    assert recipe["RecipeFormatVersion"] == "2020-01-25"
    assert re.fullmatch(r"[a-zA-Z0-9-_.]{1,128}", recipe["ComponentName"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", recipe["ComponentVersion"])
    assert recipe.keys() <= {
        *("RecipeFormatVersion", "ComponentName", "ComponentVersion", "ComponentType", "ComponentDescription"),
        *("ComponentPublisher", "ComponentConfiguration", "ComponentDependencies", "Manifests"),
    }
    (manifest,) = recipe["Manifests"]
    assert manifest.keys() <= {"Name", "Platform", "Lifecycle", "Artifacts"}
    lifecycle = manifest["Lifecycle"]
    assert lifecycle.keys() <= {"Setenv", "Install", "Startup", "Run", "Shutdown", "Recover", "Bootstrap", "Uninstall"}
    defaults = recipe["ComponentConfiguration"]["DefaultConfiguration"]
    assert set(re.findall(r"\{configuration:/([^}]*)\}", text)) == set(defaults)
    assert {name for name in lifecycle["Setenv"] if name.startswith(PREFIX)} <= VARIABLES
    assert lifecycle["Shutdown"]["Timeout"] > int(defaults["drain_timeout_seconds"]) + 10
    assert all(uri["Uri"].startswith("s3://") for uri in manifest["Artifacts"])
    given = {name: value for name, value in defaults.items() if name != "config"}
    assert Settings(**given).edge_id == defaults["edge_id"]


def test_the_example_of_a_settings_file_is_complete() -> None:
    values = tomllib.loads((PACKAGING / "receiver.toml").read_text())
    assert Settings(**values).workers == 1
