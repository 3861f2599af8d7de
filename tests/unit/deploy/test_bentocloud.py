"""The files for BentoCloud, read by the classes with which `bentoml deploy --config-file` reads them."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from bentoml.exceptions import BentoMLException

from crossmodal.settings import Settings
from tests.unit.deploy.thresholds import API_FULL, ENCODER_CALLS
from tools.servers import ROOT

with warnings.catch_warnings():
    # BentoML uses old names of pathspec and pydantic when it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    from _bentoml_sdk.service.config import validate
    from bentoml._internal.cloud.deployment import DeploymentAPI, DeploymentConfigParameters
    from bentoml._internal.cloud.schemas.modelschemas import DeploymentStrategy
    from bentoml._internal.cloud.schemas.schemasv2 import CreateDeploymentSchema
    from bentoml._internal.tag import to_snake_case
    from bentoml._internal.utils.cattr import bentoml_cattr

PRODUCTION = ROOT / "deploy" / "bentocloud.yaml"
STAGING = ROOT / "deploy" / "bentocloud-staging.yaml"
BOTH = pytest.mark.parametrize("path", [PRODUCTION, STAGING], ids=["production", "staging"])
SERVICES = ["CrossModalSearch", "Encoder"]


def given(path: Path) -> dict[str, Any]:
    """The file, as BentoML reads it."""
    parameters = DeploymentConfigParameters(config_file=str(path), service_name=SERVICES[0])
    nobody: Any = None  # both call the platform only for what the file does not say
    parameters.verify(create=False, _client=nobody)
    return dict(parameters.get_config_dict(_client=nobody)) | {"bento": "cross_modal_search:any"}


def struct(read: dict[str, Any]) -> CreateDeploymentSchema:
    made = bentoml_cattr.structure(read, CreateDeploymentSchema)
    DeploymentAPI._fix_and_validate_schema(made)
    return made


@BOTH
def test_bentoml_understands_every_member(path: Path) -> None:
    read = given(path)
    # BentoML drops what it does not know without a word, so what it understood is written out and compared.
    assert bentoml_cattr.unstructure(struct(read)) == read


def test_a_member_that_bentoml_does_not_know_is_noticed() -> None:
    read = given(PRODUCTION)
    read["services"]["Encoder"]["min_replica"] = 0
    assert bentoml_cattr.unstructure(struct(read)) != read


def test_replicas_in_the_wrong_order_are_refused() -> None:
    read = given(PRODUCTION)
    read["services"]["Encoder"]["scaling"] = {"min_replicas": 5, "max_replicas": 4}
    with pytest.raises(BentoMLException, match="less than or equal"):
        struct(read)


@BOTH
def test_overrides_and_strategies_are_of_bentomls_kinds(path: Path) -> None:
    for service in given(path)["services"].values():
        assert validate(service["config_overrides"]) == service["config_overrides"]
        DeploymentStrategy(service["deployment_strategy"])


@BOTH
def test_variables_are_settings_and_secrets_are_names(path: Path) -> None:
    read = given(path)
    known = {f"CROSSMODAL_{name.upper()}" for name in Settings.model_fields}
    variables = read["envs"] + [each for service in read["services"].values() for each in service.get("envs", [])]
    named = {variable["name"] for variable in variables}
    assert {name for name in named if name.startswith("CROSSMODAL_")} <= known
    assert not [name for name in named if "KEY" in name or "SECRET" in name]
    assert all(isinstance(name, str) and name.startswith("crossmodal-") for name in read["secrets"])
    timeout = int(next(variable["value"] for variable in variables if variable["name"] == "CROSSMODAL_TIMEOUT"))
    for service in read["services"].values():
        assert service["config_overrides"]["traffic"]["timeout"] == timeout + 30  # as service.py


def test_staging_is_production_that_scales_to_zero() -> None:
    production, staging = given(PRODUCTION), given(STAGING)
    for name in SERVICES:
        assert production["services"][name]["scaling"]["min_replicas"] >= 1
        assert staging["services"][name]["scaling"]["min_replicas"] == 0
        assert staging["services"][name]["cold_start_timeout"] >= 600
    for read in (production, staging):
        for name in SERVICES:
            for member in ("min_replicas", "max_replicas"):
                del read["services"][name]["scaling"][member]
            read["services"][name].pop("cold_start_timeout", None)
        del read["name"]
        read["secrets"] = len(read["secrets"])
    assert staging == production


@BOTH
def test_the_knee_follows_from_how_many_calls_there_can_be_until_it_is_measured(path: Path) -> None:
    services = given(path)["services"]
    assert services["Encoder"]["config_overrides"]["resources"]["gpu"] == 1
    found = [services[name]["config_overrides"]["traffic"]["concurrency"] for name in SERVICES]
    assert found == [API_FULL, ENCODER_CALLS]
    assert path.read_text(encoding="utf-8").count("# KNEE") == len(SERVICES)


def test_a_bento_built_as_the_file_says_has_the_services_that_it_names(tmp_path: Path) -> None:
    says = "import service; print(*sorted(service.CrossModalSearch.all_services()))"
    variables = {variable["name"]: variable["value"] for variable in yaml.safe_load(PRODUCTION.read_text())["envs"]}
    shown = subprocess.run(
        [sys.executable, "-c", says],
        cwd=ROOT,
        env=os.environ | variables | {"BENTOML_HOME": str(tmp_path), "BENTOML_DO_NOT_TRACK": "True"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert shown.stdout.split() == sorted(given(PRODUCTION)["services"]) == SERVICES


def test_commands_call_the_bento_as_bentoml_names_it() -> None:
    texts = [path.read_text() for path in (PRODUCTION, STAGING, ROOT / "docs" / "deployment.md")]
    named = {name for text in texts for name in re.findall(r"(?:--bento|containerize) (\w+):", text)}
    assert named == {to_snake_case(SERVICES[0])}
