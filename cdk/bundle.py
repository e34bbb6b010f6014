"""Bundles: our sources with what they need at run time, as zip files. One for all Lambdas, one for receivers.

Built by uv from uv.lock, without Docker: wheels for the target's platform are unpacked, nothing is compiled or run. In the
Lambdas' bundle boto3, which is the runtime's own, stays out, as does what no handler imports. A bundle is named by a hash of
what is in it, and of nothing else: same input, same hash, on any machine. One for "this-machine" holds its dependencies'
bytecode too: the AWS emulator unpacks the bundle for every process of a function, which would compile it anew.

Everything is kept under `.build/`, so a second build needs no network and, when nothing changed, no work.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from py_compile import PycInvalidationMode

from cdk.tools import ROOT, uv

PYTHON_VERSION = "3.12"
CA_FILE = "catalog-ca.pem"
"""The name in the bundle of the certificate authorities that the functions trust for the catalog."""

_LEFT_OUT_FILES = frozenset({".lock", "RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"})
# Images to test with, and the large parts of our dependencies that no handler imports: they only slow cold starts down.
_LEFT_OUT_TREES = (
    "aws_lambda_powertools/event_handler/",
    "aws_lambda_powertools/utilities/parser/",
    "pydicom/data/charset_files/",
    "pydicom/data/test_files/",
    "pydicom/sr/",
    "pynetdicom/tests/",
)
_WHEELS_FOR = {"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"}  # Amazon Linux 2023 has glibc 2.34
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can hold


class BundleError(Exception):
    """The bundle could not be built. The text holds what uv said."""


@dataclass(frozen=True)
class _Contents:
    """What goes into a bundle: our packages, the extra of pyproject.toml that they need, and what of that they do not."""

    sources: tuple[str, ...]
    extra: str
    left_out: tuple[str, ...]


_LAMBDAS = _Contents(("contract", "workflows", "lambdas"), "lambdas", ("typer", "rich"))
_RECEIVER = _Contents(("contract", "receiver"), "edge", ())


@dataclass(frozen=True)
class Bundle:
    """A built bundle. `architecture` is Lambda's word for the machine that its wheels are for."""

    path: Path
    digest: str
    architecture: str


def build(lambda_platform: str, *, ca_file: Path | None = None, build_folder: Path = ROOT / ".build" / "lambdas") -> Bundle:
    """The Lambdas' bundle for "arm64", "x86_64" or "this-machine", with `ca_file` in it.

    It is built when `build_folder` has none of the same content. Raises BundleError, ToolMissingError.
    """
    return _build(_LAMBDAS, lambda_platform, build_folder, {CA_FILE: ca_file} if ca_file else {})


def build_receiver(architecture: str, *, build_folder: Path = ROOT / ".build" / "receiver") -> Bundle:
    """The receiver's bundle for machines of one architecture with Linux and Python 3.12. Raises as `build`."""
    return _build(_RECEIVER, architecture, build_folder, {})


def _build(contents: _Contents, target_platform: str, build_folder: Path, more: dict[str, Path]) -> Bundle:
    files = dict(_files(_dependencies(contents, target_platform, build_folder), leave_out="bin"))
    for source in contents.sources:
        files |= {f"{source}/{name}": path for name, path in _files(ROOT / source, leave_out="__pycache__")}
    files |= more
    digest = _digest(files)
    bundle = Bundle(build_folder / f"{digest}.zip", digest, _architecture(target_platform))
    if not bundle.path.exists():
        _write(bundle.path, files)
    return bundle


def _architecture(target_platform: str) -> str:
    if target_platform != "this-machine":
        return target_platform
    return "arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "x86_64"


def _dependencies(contents: _Contents, target_platform: str, build_folder: Path) -> Path:
    """A folder of unpacked wheels, made once for each lock and platform."""
    requirements = _uv(
        ["export", "--frozen", "--quiet", "--no-dev", "--extra", contents.extra]
        + ["--no-emit-project", "--no-header", "--no-annotate"]
        + [option for name in contents.left_out for option in ("--prune", name)]
    )
    if target_platform == "this-machine":
        target = ["--python", sys.executable]  # the same version as the emulator's own interpreter
    else:
        target = ["--python-platform", _WHEELS_FOR[target_platform], "--python-version", PYTHON_VERSION]
    key = hashlib.sha256("\n".join([requirements, sys.version, *target]).encode()).hexdigest()[:16]
    folder = build_folder / f"dependencies-{key}"
    if folder.exists():
        return folder
    unfinished = build_folder / f"unfinished-{key}-{os.getpid()}"
    unfinished.mkdir(parents=True)
    try:
        options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--link-mode", "copy", *target]
        _uv(["pip", "install", *options, "--target", str(unfinished), "--requirements", "-"], stdin=requirements)
        if target_platform == "this-machine":
            compileall.compile_dir(
                unfinished, quiet=2, stripdir=str(unfinished), invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
            )
        if not folder.exists():  # another build may have been quicker
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _files(folder: Path, *, leave_out: str) -> Iterator[tuple[str, Path]]:
    """What belongs in the bundle, by its name below `folder`; `leave_out` names folders that do not."""
    for path in folder.rglob("*"):
        name = PurePosixPath(path.relative_to(folder)).as_posix()
        if (
            path.is_file()
            and path.name not in _LEFT_OUT_FILES
            and leave_out not in path.relative_to(folder).parts
            and not name.startswith(_LEFT_OUT_TREES)
        ):
            yield name, path


def _digest(files: dict[str, Path]) -> str:
    whole = hashlib.sha256()
    for name, path in sorted(files.items()):
        whole.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def _write(target: Path, files: dict[str, Path]) -> None:
    """Write the zip beside its name and rename it, so that one that exists is whole."""
    unfinished = target.with_suffix(f".{os.getpid()}.tmp")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _FIXED_TIME)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    unfinished.rename(target)


def _uv(arguments: list[str], *, stdin: str = "") -> str:
    command: list[str | Path] = [uv(), *arguments]
    done = subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, check=False)  # noqa: S603 - uv is ours
    if done.returncode:
        raise BundleError(f"uv {arguments[0]} failed, so there is no bundle:\n{done.stderr.strip()}")
    return done.stdout
