"""deploy/Dockerfile, with a bento: read as a builder would, and by a linter."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from bentoml._internal.container.generate import BENTO_PATH, BENTO_UID_GID

from crossmodal.clip.spec import BAKED, BUNDLED
from tests.bento.building import DOCKERFILE, Instruction, environment_of, hashes, last_stage
from tests.bento.container import VENV, assemble
from tests.kustomize import build
from tools.servers import ROOT

PORT = 3000


def settings_of_pods() -> dict[str, str]:
    """What deploy/kubernetes says to every pod."""
    documents = build(ROOT / "deploy" / "kubernetes" / "overlays" / "cpu")
    maps = [each["data"] for each in documents if each["kind"] == "ConfigMap"]
    (found,) = [data for data in maps if "BENTOML_HOME" in data]
    return dict(found)


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert hadolint is not None
    return subprocess.run(
        [hadolint, "--no-color", "--failure-threshold", "style", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_document_says_where_model_and_store_are_in_the_image() -> None:
    document = (ROOT / "docs" / "deployment.md").read_text()
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    assert "COPY --chown=1034:1034 ./src/models ./src/models" in dockerfile
    assert f"`{BENTO_PATH}/src/{BUNDLED[BAKED].relative_to(ROOT)}`" in " ".join(document.split())
    (data,) = re.findall(r"CROSSMODAL_DATA=(\S+)", dockerfile)
    (volume,) = re.findall(r"docker run .*--volume crossmodal:(\S+) ", document)
    assert volume == data
    assert f'"{data}"' in re.findall(r"^VOLUME (.*)$", dockerfile, re.MULTILINE)[0]


def test_the_linter_finds_nothing(bento: Path) -> None:
    found = lint(bento / DOCKERFILE)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_linter_would_find_something(bento: Path, tmp_path: Path) -> None:
    written = (bento / DOCKERFILE).read_text()
    changed = tmp_path / "Dockerfile"
    changed.write_text(written.replace("USER 1034:1034", "USER root\nRUN cd /tmp && pip install uv && sudo true"))
    found = lint(changed)
    assert found.returncode == 1
    assert {"DL3002", "DL3003", "DL3004", "DL3013"} <= set(re.findall(r"DL\d+", found.stdout))


def test_it_says_what_the_bentofile_says_for_bentomls_own_image(dockerfile: list[Instruction]) -> None:
    said = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
    image = environment_of(last_stage(dockerfile))
    assert {each["name"]: each["value"] for each in said["envs"]}.items() <= image.items()
    (base,) = (each.words for each in dockerfile if each.name == "ARG")
    assert base.startswith(f"BASE_IMAGE=python:{said['docker']['python_version']}-slim-")
    assert [each.words.partition(" ")[0] for each in dockerfile if each.name == "FROM"] == ["${BASE_IMAGE}"] * 2
    assert image["BENTO_PATH"] == BENTO_PATH


def test_every_file_of_the_bento_is_in_the_image_where_it_was(bento: Path, tmp_path: Path) -> None:
    assemble(bento, tmp_path)
    assert hashes(tmp_path / BENTO_PATH.lstrip("/")) == hashes(bento)


def test_layers_go_from_what_changes_least(dockerfile: list[Instruction]) -> None:
    first = next(each.words for each in dockerfile if each.name == "COPY")
    assert first == "./src/requirements ./requirements"  # packages are installed again when these change, and only then
    packages, weights, *others = [each.words for each in last_stage(dockerfile) if each.name == "COPY"]
    assert packages == f"--from=packages {VENV} {VENV}"
    assert weights.endswith(" ./src/models ./src/models")
    assert others[-1].endswith(" ./bento.yaml ./README.md ./")  # BentoML stamps it at each build
    assert not [words for words in others if "models" in words or VENV in words]


def test_packages_are_installed_by_their_hashes_and_nothing_is_compiled(dockerfile: list[Instruction]) -> None:
    installs = [each.words for each in dockerfile if each.name == "RUN" and "install --python" in each.words]
    (words,) = installs
    for command in words.split("&&"):
        if "pip install" in command:
            assert "--require-hashes" in command
    assert "--no-build" in words
    assert not [each for each in dockerfile if "apt-get" in each.words]


def test_it_runs_as_a_user_with_a_number_who_is_not_root(dockerfile: list[Instruction]) -> None:
    (user,) = (each.words for each in dockerfile if each.name == "USER")
    assert user == f"{BENTO_UID_GID}:{BENTO_UID_GID}"
    (made,) = (each.words for each in dockerfile if "useradd" in each.words)
    assert f"--uid {BENTO_UID_GID}" in made


def test_it_writes_where_deploy_mounts_something(dockerfile: list[Instruction]) -> None:
    image, pods = environment_of(last_stage(dockerfile)), settings_of_pods()
    (volumes,) = (json.loads(each.words) for each in dockerfile if each.name == "VOLUME")
    assert {image[name] for name in ("BENTOML_HOME", "CROSSMODAL_DATA")} == set(volumes)
    for name in ("BENTOML_HOME", "CROSSMODAL_DATA", "BENTOML_DO_NOT_TRACK"):
        assert image[name] == pods[name]
    assert Path(image["HF_HOME"]).is_relative_to(image["CROSSMODAL_DATA"])
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["x-settings"]
    assert (compose["BENTOML_HOME"], compose["CROSSMODAL_DATA"]) == (image["BENTOML_HOME"], image["CROSSMODAL_DATA"])


def test_the_port_is_the_one_that_is_asked_for_health(dockerfile: list[Instruction]) -> None:
    assert [each.words for each in dockerfile if each.name == "EXPOSE"] == [str(PORT)]
    (words,) = (each.words for each in dockerfile if each.name == "HEALTHCHECK")
    command = json.loads(words.partition(" CMD ")[2])
    assert command[:2] == ["python", "-c"]
    assert "/readyz" in command[2]
    assert f"'{PORT}'" in command[2]


def test_it_says_no_secret_and_no_model(dockerfile: list[Instruction]) -> None:
    for each in dockerfile:
        if each.name in {"ENV", "ARG"}:
            names = [word.partition("=")[0] for word in shlex.split(each.words)]
            assert not [name for name in names if re.search("KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", name)]
    assert "CROSSMODAL_MODEL" not in environment_of(
        last_stage(dockerfile)
    )  # what was baked in counts, or who starts it


@pytest.mark.parametrize("name", ["requirements/uv.txt", "requirements/runtime.txt"])
def test_what_it_installs_from_is_in_the_bento(bento: Path, dockerfile: list[Instruction], name: str) -> None:
    assert (bento / "src" / name).is_file()
    (words,) = (each.words for each in dockerfile if "install --python" in each.words)
    assert f"--requirement {name}" in words
