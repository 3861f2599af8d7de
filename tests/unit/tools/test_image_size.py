from collections import Counter
from pathlib import Path

from tools.image_size import sizes, table


def installed(site_packages: Path, name: str, files: dict[str, int]) -> None:
    """A package as an installer leaves it."""
    notes = site_packages / f"{name.replace('-', '_')}-1.dist-info"
    notes.mkdir()
    (notes / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    for path, size in files.items():
        (site_packages / path).parent.mkdir(exist_ok=True)
        (site_packages / path).write_bytes(bytes(size))
    (notes / "RECORD").write_text("\n".join(f"{path},," for path in [*files, "gone.py"]))


def test_packages_are_measured_by_the_files_they_brought(tmp_path: Path) -> None:
    installed(tmp_path, "Torch", {"torch/a.so": 2000, "torch/b.py": 30, "torch/b.pyc": 500})
    installed(tmp_path, "nvidia-cublas", {"nvidia/a.so": 700})
    installed(tmp_path, "nvidia-nccl", {"nvidia/b.so": 60})
    (tmp_path / "stray.py").write_bytes(bytes(9999))
    assert sizes(tmp_path) == {"torch": 2030, "CUDA's libraries (nvidia-*)": 760}


def test_the_table_has_the_largest_the_others_and_all() -> None:
    found = Counter({"large": 2_345_000_000, "middle": 40_400_000, "small": 3_000_000, "least": 10})
    assert table(found, 2) == [
        "| package | MB |",
        "|---|---|",
        "| large | 2,345 |",
        "| middle | 40 |",
        "| 2 others | 3 |",
        "| **all** | 2,388 |",
    ]
