"""What is in the wheels and the source distributions, and what they say of themselves."""

import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from packaging.metadata import Metadata
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Distribution:
    """A distribution in the tree, and what was built of it."""

    folder: Path
    package: str
    wheel: Path
    source: Path

    @property
    def project(self) -> dict[str, Any]:
        project: dict[str, Any] = tomllib.loads((self.folder / "pyproject.toml").read_text())["project"]
        return project

    @property
    def information(self) -> str:
        """The folder in the wheel that describes it."""
        return f"{self.package}-{self.project['version']}.dist-info"


@pytest.fixture(params=[("client", "qkv"), ("server", "qkv_server")], ids=lambda pair: pair[0])
def distribution(request: pytest.FixtureRequest, built: Path) -> Distribution:
    folder, package = request.param
    (wheel,) = built.glob(f"{package}-*.whl")
    (source,) = built.glob(f"{package}-*.tar.gz")
    return Distribution(ROOT / folder, package, wheel, source)


def test_a_wheel_is_the_package(distribution: Distribution) -> None:
    """A wheel has every file of the package (the generated contract, py.typed) as it is in the tree, and no other."""
    source = distribution.folder / "src"
    in_tree = {
        path.relative_to(source).as_posix(): path.read_bytes()
        for path in (source / distribution.package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(distribution.wheel) as wheel:
        in_wheel = {name: wheel.read(name) for name in wheel.namelist() if ".dist-info/" not in name}
    assert in_wheel.keys() == in_tree.keys()
    assert in_wheel == in_tree
    assert f"{distribution.package}/py.typed" in in_wheel


def test_the_client_carries_the_contract(built: Path) -> None:
    """For each file of the contract the client's wheel has the generated messages and their types."""
    (wheel,) = built.glob("qkv-*.whl")
    contract = [path.relative_to(ROOT / "protos").with_suffix("") for path in ROOT.glob("protos/qkv/v1/*.proto")]
    assert contract
    with zipfile.ZipFile(wheel) as opened:
        assert {f"{path.as_posix()}_pb2.{kind}" for path in contract for kind in ("py", "pyi")} <= set(
            opened.namelist()
        )
        assert "qkv/v1/attention_pb2_grpc.py" in opened.namelist()


def test_a_wheel_is_for_every_platform(distribution: Distribution) -> None:
    """The wheels are pure Python."""
    name, _, _, tags = parse_wheel_filename(distribution.wheel.name)
    assert name == distribution.project["name"]
    assert set(map(str, tags)) == {"py3-none-any"}


def test_the_metadata_is_what_the_project_says(distribution: Distribution) -> None:
    """The metadata is valid by the standard, and says what pyproject.toml and README.md do."""
    with zipfile.ZipFile(distribution.wheel) as wheel:
        written = wheel.read(f"{distribution.information}/METADATA")
    metadata = Metadata.from_email(written, validate=True)
    project = distribution.project
    assert (metadata.name, str(metadata.version)) == (project["name"], project["version"])
    assert metadata.summary == project["description"]
    assert metadata.license_expression == "Apache-2.0"
    assert str(metadata.requires_python) == ">=3.11"
    assert metadata.description_content_type == "text/markdown"
    assert metadata.description == (distribution.folder / "README.md").read_text()
    unconditional = [str(need) for need in metadata.requires_dist or () if need.marker is None]
    assert sorted(unconditional) == sorted(project["dependencies"])
    assert set(metadata.provides_extra or ()) == set(project["optional-dependencies"])


def test_the_server_needs_the_client_of_its_own_version() -> None:
    """The two distributions are released together, and the server asks for exactly that client."""
    client, server = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"] for folder in ("client", "server")
    )
    assert client["version"] == server["version"]
    assert f"qkv=={client['version']}" in server["dependencies"]


def test_the_license_comes_along(distribution: Distribution) -> None:
    """The wheel and the source distribution carry the license of the repository, word for word."""
    license_text = (ROOT / "LICENSE").read_bytes()
    with zipfile.ZipFile(distribution.wheel) as wheel:
        assert wheel.read(f"{distribution.information}/licenses/LICENSE") == license_text
    with tarfile.open(distribution.source) as source:
        carried = source.extractfile(f"{distribution.source.name.removesuffix('.tar.gz')}/LICENSE")
        assert carried is not None
        assert carried.read() == license_text
