"""`--list` names the cases, one a line; `--run` asks them of a server of its own and prints a table by class."""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import get_args

from crossmodal.records import Profile
from tests.corpus.cases import Case, all_cases
from tests.corpus.running import Examiner
from tools.servers import Server

TIMEOUT = "5"


def main() -> int:
    """The number of failed cases decides the exit status: 1 if there is any."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--list", action="store_true", help="name, class, route, status and code of every case")
    action.add_argument("--run", action="store_true", help="ask them all")
    parser.add_argument("--encoder", choices=("local", "service"), default="local", help="where the model is")
    parser.add_argument(
        "--preprocessing", choices=get_args(Profile), default="standard", help="how pictures are prepared"
    )
    parser.add_argument("--only", default="", help="part of the names or classes to take")
    arguments = parser.parse_args()
    chosen = [case for case in all_cases() if arguments.only in f"{case.group}/{case.name}"]
    if arguments.list:
        for case in chosen:
            print("\t".join([case.name, case.group, case.route, str(case.status or "closed"), case.code or "-"]))  # noqa: T201  a command
        return 0
    return _run(chosen, ENCODER=arguments.encoder, PREPROCESSING=arguments.preprocessing)


def _run(cases: list[Case], **settings: str) -> int:
    passed: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), TIMEOUT=TIMEOUT, **settings)
        try:
            server.wait_until_ready()
            examiner = Examiner(server)
            examiner.prepare()
            for case in cases:
                found = examiner.examine(case)
                passed[case.group] += not found
                for line in found:
                    print(f"{case.group}/{case.name} ({case.route}): {line}")  # noqa: T201  a command
            examiner.close()
        finally:
            server.stop()
    asked = Counter(case.group for case in cases)
    print(f"\n{'class':<12}{'cases':>7}{'passed':>8}{'failed':>8}")  # noqa: T201  a command
    for group, count in asked.items():
        print(f"{group:<12}{count:>7}{passed[group]:>8}{count - passed[group]:>8}")  # noqa: T201  a command
    total, good = asked.total(), passed.total()
    print(f"{'all':<12}{total:>7}{good:>8}{total - good:>8}")  # noqa: T201  a command
    return 0 if total == good else 1


if __name__ == "__main__":
    sys.exit(main())
