"""The Lambda bundle holds what the functions need at run time and nothing else, and is the same wherever it is built."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from cdk.bundle import CA_FILE, Bundle, BundleError, build, build_receiver
from cdk.tools import ROOT

MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def names(bundle: Bundle) -> set[str]:
    with zipfile.ZipFile(bundle.path) as archive:
        return set(archive.namelist())


def test_all_of_our_sources_are_in_it(names: set[str]) -> None:
    for folder in ("contract", "workflows", "lambdas"):
        for path in (ROOT / folder).rglob("*.py"):
            assert path.relative_to(ROOT).as_posix() in names
    assert "workflows/ingest.asl.json" in names


def test_its_packages_are_those_of_the_functions(names: set[str]) -> None:
    packages = {name.split("/")[0] for name in names if "/" in name and ".dist-info/" not in name}
    assert {"aws_lambda_powertools", "obstore", "pydicom", "pymysql"} <= packages
    others = {
        "boto3",
        "botocore",
        "typer",
        "rich",
        "pydantic",
        "pytest",
        "mypy",
        "receiver",
        "local",
        "cdk",
        "console",
        "tests",
        "bin",
    }
    assert not packages & others


def test_every_handler_finds_what_it_imports_and_looks_for_nothing_on_the_network(tmp_path: Path) -> None:
    """In the bundle and boto3, which the runtime brings, without anything else of this environment.

    pydicom looks for some of its test images when it is imported, and has a list of those that it downloads.
    """
    with zipfile.ZipFile(build("this-machine").path) as archive:
        archive.extractall(tmp_path / "bundle")
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for package in ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3"):
        (runtime / package).symlink_to(Path(sysconfig.get_path("purelib")) / package)
    handlers = [path.stem for path in (ROOT / "lambdas" / "handlers").glob("*.py") if path.stem != "__init__"]
    program = "\n".join(
        [
            "import os, sys",
            "sys.addaudithook(lambda event, _: os._exit(99) if event in ('socket.connect', 'socket.getaddrinfo') else None)",
            f"sys.path[:0] = {[str(tmp_path / 'bundle'), str(runtime)]}",
            *(f"import lambdas.handlers.{handler}" for handler in handlers),
        ]
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_bytecode_and_no_test_images_are_in_it(names: set[str]) -> None:
    assert not [name for name in names if name.endswith(".pyc") or "/test_files/" in name or "/charset_files/" in name]


def test_the_bundle_of_this_machine_has_its_dependencies_compiled() -> None:
    with zipfile.ZipFile(build("this-machine").path) as archive:
        compiled = {name.split("/")[0] for name in archive.namelist() if name.endswith(".pyc")}
    assert {"aws_lambda_powertools", "pydicom", "pymysql"} <= compiled
    assert not compiled & {"contract", "lambdas", "workflows"}


def test_it_is_small(bundle: Bundle) -> None:
    assert bundle.path.stat().st_size < 10 * MEBIBYTE


def test_building_it_elsewhere_gives_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    again = build("arm64", build_folder=tmp_path)
    assert again.digest == bundle.digest
    assert again.path.read_bytes() == bundle.path.read_bytes()


def test_building_the_receiver_elsewhere_gives_the_same_bytes(tmp_path: Path) -> None:
    once, again = (build_receiver("arm64", build_folder=tmp_path / folder) for folder in ("one", "two"))
    assert again.digest == once.digest
    assert again.path.read_bytes() == once.path.read_bytes()


def test_the_certificate_authorities_of_the_catalog_are_in_it(certificate_authority: Path) -> None:
    with zipfile.ZipFile(build("arm64", ca_file=certificate_authority).path) as archive:
        assert archive.read(CA_FILE) == certificate_authority.read_bytes()


def test_a_changed_source_gives_another_bundle(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("contract", "workflows", "lambdas"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text('"""Another."""\n')
    (tmp_path / "uv.lock").write_bytes((ROOT / "uv.lock").read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    monkeypatch.setattr("cdk.bundle.ROOT", tmp_path)
    assert build("arm64", build_folder=tmp_path / "build").digest != bundle.digest


def test_what_uv_could_not_do_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdk.bundle.ROOT", tmp_path)  # no lock, no project
    with pytest.raises(BundleError, match="uv export failed"):
        build("arm64", build_folder=tmp_path / "build")
