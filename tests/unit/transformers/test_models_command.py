"""`qkv-server models …`: the folder of models, looked at and added to."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from packaged import packaged

from qkv_server.command_models import models
from qkv_server.packaged_models import PACKAGED, packaged_model

ROOT = Path(__file__).parents[3]
TINY = ROOT / "tests" / "goldens" / "tiny_models"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(models, [str(argument) for argument in arguments])


def test_a_model_is_added_by_a_link(tmp_path: Path) -> None:
    """The model is told in a line, linked to under its own name or another, and adding it twice changes nothing."""
    folder = tmp_path / "models"
    for _ in range(2):
        added = run("add", TINY / "bert", "--folder", folder)
        assert (added.exit_code, added.output) == (0, "bert: bert, 24.2 k parameters\n")
    assert run("add", TINY / "bert", "--folder", folder, "--name", "other").exit_code == 0
    assert {link.name: link.resolve() for link in folder.iterdir()} == dict.fromkeys(("bert", "other"), TINY / "bert")


@pytest.mark.parametrize(("model", "files"), [("bert", 9), ("llama-gguf/llama.gguf", 1)])
def test_a_copy_is_a_folder_of_its_own(model: str, files: int, tmp_path: Path) -> None:
    """It has no links, takes the place of a link to the same model, and loads as the original does."""
    folder = tmp_path / "models"
    assert run("add", TINY / model, "--folder", folder, "--name", "one").exit_code == 0
    copied = run("add", TINY / model, "--folder", folder, "--name", "one", "--copy")
    assert copied.exit_code == 0, copied.output
    found = [path for path in folder.rglob("*") if not path.is_dir()]
    assert len(found) == files
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert " ready " in run("list", "--folder", folder).output


def test_a_copy_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made of a copy when it was added is what the server will read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "models"
    added = run("add", TINY / "llama-gguf" / "llama.gguf", "--folder", folder, "--copy")
    assert added.output.startswith("converting llama …\n")
    assert "converting" not in run("list", "--folder", folder).output


@pytest.mark.parametrize("folder", ["models", "."])
def test_a_model_is_not_copied_into_itself(folder: str, tmp_path: Path) -> None:
    """A folder of models that lies in the model is refused before anything is copied."""
    model = shutil.copytree(TINY / "bert", tmp_path / "model")
    before = sorted(model.rglob("*"))
    refused = run("add", model, "--folder", model / folder, "--name", "one", "--copy")
    assert refused.exit_code == 1
    assert "would be copied into itself: give another --folder" in refused.output
    assert sorted(model.rglob("*")) == before


@pytest.mark.parametrize("model", ["bert", "llama-gguf/llama.gguf"])
def test_a_copy_that_cannot_be_loaded_leaves_nothing(tmp_path: Path, model: str) -> None:
    """The files of a broken model are not left in the folder, under no name."""
    if model == "bert":
        broken = shutil.copytree(TINY / "bert", tmp_path / "broken")
        (broken / "model.safetensors").write_bytes(b"")
    else:
        broken = tmp_path / "broken-00002-of-00002.gguf"
        shutil.copyfile(TINY / model, broken)
    folder = tmp_path / "models"
    refused = run("add", broken, "--folder", folder, "--copy")
    assert refused.exit_code == 1
    assert ("model.safetensors" if model == "bert" else "is missing, part 1 of 2") in refused.output
    assert list(folder.iterdir()) == []


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    """Another model is never put in the place of one that is there."""
    assert run("add", TINY / "bert", "--folder", tmp_path, "--name", "one").exit_code == 0
    refused = run("add", TINY / "gpt2", "--folder", tmp_path, "--name", "one")
    assert refused.exit_code == 1
    assert refused.output == f"Error: {tmp_path / 'one'} is there already; remove it, or give another --name\n"
    assert (tmp_path / "one").resolve() == TINY / "bert"


@pytest.mark.parametrize("name", ["../escape", "a/b", ".hidden", "", "a b"])
def test_a_name_is_that_of_a_file_in_the_folder(tmp_path: Path, name: str) -> None:
    """Names that would lie elsewhere, or be overlooked, are refused; an empty one is none."""
    folder = tmp_path / "models"
    ran = run("add", TINY / "bert", "--folder", folder, "--name", name)
    if name:
        assert ran.exit_code == 1
        assert not folder.exists()
        assert [path.name for path in tmp_path.iterdir()] == []
    else:
        assert (folder / "bert").is_symlink()


def test_a_model_that_cannot_be_loaded_is_not_added(tmp_path: Path) -> None:
    """What the server would refuse is refused here, in the same words."""
    broken = shutil.copytree(TINY / "bert", tmp_path / "broken")
    (broken / "model.safetensors").unlink()
    refused = run("add", broken, "--folder", tmp_path / "models")
    assert refused.exit_code == 1
    expected = "Error: broken: has neither model.safetensors nor model.safetensors.index.json\n"
    assert refused.output == expected
    assert not (tmp_path / "models").exists()


def test_the_list_tells_what_each_model_is(tmp_path: Path) -> None:
    """A table by name: architecture, parameters and size of those that load, and why the others do not."""
    for name in ("gpt2", "bert"):
        run("add", TINY / name, "--folder", tmp_path)
    (tmp_path / "empty").mkdir()
    listed = run("list", "--folder", tmp_path)
    assert listed.exit_code == 0
    lines = [re.split(r"  +", line) for line in listed.output.splitlines()]
    assert lines[0] == ["name", "state", "architecture", "parameters", "size"]
    assert lines[1][:4] == ["bert", "ready", "bert", "24.2 k"]
    assert re.fullmatch(r"\d+(\.\d)? kB", lines[1][4])
    assert lines[2][0] == "empty"
    assert lines[2][1].startswith(
        "failed: empty: is no model: expected a .gguf file, or a folder with one .gguf file, config.json"
    )
    assert lines[3][:4] == ["gpt2", "ready", "gpt2", "25.6 k"]


def test_the_list_tells_what_is_left_out(tmp_path: Path) -> None:
    """What the server leaves out for its name is listed as such, also where the name is no text."""
    (tmp_path / "caf\udce9").mkdir()
    run("add", TINY / "bert", "--folder", tmp_path)
    lines = run("list", "--folder", tmp_path).output.splitlines()
    assert [line.split()[0] for line in lines] == ["name", "bert", r"'caf\udce9'"]
    assert lines[2].endswith("left out: names are of letters, digits, '.', '_' and '-', the first no '.'")


def test_a_link_in_a_circle_takes_a_name(tmp_path: Path) -> None:
    """A place that cannot be followed is taken like any other."""
    (tmp_path / "one").symlink_to("one")
    refused = run("add", TINY / "bert", "--folder", tmp_path, "--name", "one")
    assert refused.output == f"Error: {tmp_path / 'one'} is there already; remove it, or give another --name\n"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Listing no folder is an error in words."""
    listed = run("list", "--folder", tmp_path / "none")
    assert (listed.exit_code, listed.output) == (1, f"Error: {tmp_path / 'none'}: No such file or directory\n")


def test_the_packages_are_those_that_make_models_installs() -> None:
    """Every package with a model is pinned in server/models.txt, and no other is."""
    lines = (ROOT / "server" / "models.txt").read_text("utf-8").splitlines()
    pinned = [line.partition("==")[0].replace("-", "_") for line in lines if not line.startswith("#")]
    assert sorted(pinned) == sorted({package for package, _ in PACKAGED.values()})


def test_models_of_packages_are_found_without_importing_them() -> None:
    """Packages may import anything when they are imported; to find their files they are not."""
    packaged("minilm")
    names = [package for package, _ in PACKAGED.values()]
    program = (
        "import sys; from qkv_server.packaged_models import PACKAGED, packaged_model\n"
        "found = [packaged_model(name) for name in PACKAGED]\n"
        f"print(any(found), any(name in sys.modules for name in {names!r}))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True", "False"]


def test_a_package_that_is_not_installed_has_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not installed is None, not an error."""
    monkeypatch.setattr("qkv_server.packaged_models.PACKAGED", {"none": ("qkv_no_such_package", "model")})
    assert packaged_model("none") is None


def test_packaged_models_are_added_under_short_names(tmp_path: Path) -> None:
    """Each packaged model that is installed is linked to; of the others it is said that they are not."""
    packaged("minilm")
    ran = run("add-packaged", "--folder", tmp_path)
    assert ran.exit_code == 0
    assert "minilm: bert, 22.7 M parameters\n" in ran.output
    for name in PACKAGED:
        path = packaged_model(name)
        if path is None:
            assert f"{name}: its package is not installed\n" in ran.output
        else:
            assert (tmp_path / name).resolve() == path.resolve()
