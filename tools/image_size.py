"""Says how large the packages of an environment are, as they would lie in an image: a table in Markdown, largest first.

Usage: python -m tools.image_size [SITE_PACKAGES] [--rows 12]

Sizes are those of the files that each package installed, in MB of 10^6 bytes, not compressed, without what Python compiled.
"""

import argparse
import sysconfig
from collections import Counter
from importlib.metadata import Distribution, distributions
from pathlib import Path


def size_of(package: Distribution) -> int:
    """Bytes of a package's files."""
    paths = (Path(str(file.locate())) for file in package.files or [])
    return sum(path.stat().st_size for path in paths if path.suffix != ".pyc" and path.is_file())


def family(name: str) -> str:
    """Packages that come and go together have one row."""
    return "CUDA's libraries (nvidia-*)" if name.startswith("nvidia-") else name


def sizes(site_packages: Path) -> Counter[str]:
    """Bytes of each package or family."""
    found: Counter[str] = Counter()
    for package in distributions(path=[str(site_packages)]):
        found[family(package.metadata["Name"].lower())] += size_of(package)
    return found


def table(found: Counter[str], rows: int) -> list[str]:
    """The largest ``rows``, the others together, and all."""
    largest = found.most_common(rows)
    others = found.total() - sum(size for _, size in largest)
    lines = [(name, size) for name, size in largest if size >= 10**6]
    lines += [(f"{len(found) - len(lines)} others", others + sum(size for _, size in largest if size < 10**6))]
    written = [f"| {name} | {size / 1e6:,.0f} |" for name, size in [*lines, ("**all**", found.total())]]
    return ["| package | MB |", "|---|---|", *written]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("site_packages", nargs="?", default=sysconfig.get_paths()["purelib"], type=Path)
    parser.add_argument("--rows", type=int, default=12)
    asked = parser.parse_args()
    print("\n".join(table(sizes(asked.site_packages), asked.rows)))


if __name__ == "__main__":
    main()
