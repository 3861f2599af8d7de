import subprocess
import sys
from pathlib import Path

import pytest

from crossmodal.clip.spec import BUNDLED, HubRepository, LocalFolder, Published, parse_spec
from crossmodal.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[3]


def test_a_bundled_name_is_its_folder_in_the_project() -> None:
    assert parse_spec(" tiny ") == LocalFolder(path=ROOT / "models" / "tiny", name="tiny")
    assert set(BUNDLED) == {"tiny", "baked"}


def test_architecture_and_tag() -> None:
    spec = parse_spec("ViT-B-32/laion2b_s34b_b79k")
    assert spec == Published(arch="ViT-B-32", tag="laion2b_s34b_b79k")
    assert spec.name == "ViT-B-32/laion2b_s34b_b79k"


def test_an_architecture_alone_has_no_tag() -> None:
    spec = parse_spec("ViT-B-32")
    assert spec == Published(arch="ViT-B-32", tag=None)
    assert spec.name == "ViT-B-32"


def test_a_hub_repository() -> None:
    spec = parse_spec("hf-hub:timm/ViT-B-16-SigLIP")
    assert spec == HubRepository("timm/ViT-B-16-SigLIP")
    assert spec.name == "hf-hub:timm/ViT-B-16-SigLIP"


def test_a_local_folder_is_named_without_its_path(tmp_path: Path) -> None:
    assert parse_spec(f"local-dir:{tmp_path}/mine/") == LocalFolder(path=tmp_path / "mine", name="local-dir:mine")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "local-dir:",
        "hf-hub:",
        "hf-hub:alone",
        "hf-hub:a/b/c",
        "hf-hub:../up",
        "s3:bucket/x",
        "ViT-B-32:openai",
    ],
)
def test_other_forms_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_spec(text)
    assert "\n" not in refused.value.detail
    assert "write" in refused.value.detail or "is named tiny, ARCH/TAG" in refused.value.detail


def test_the_port_and_the_spec_are_read_without_loading_torch() -> None:
    code = (
        "import sys, crossmodal.clip.base, crossmodal.clip.spec, crossmodal.clip.catalogue, crossmodal.clip.loading;"
        "print([name for name in ('torch', 'open_clip', 'torchvision', 'huggingface_hub') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
