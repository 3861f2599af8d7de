from pathlib import Path

import pytest
from typer.testing import CliRunner

from indexer.cli import app


@pytest.mark.parametrize("command", ["images", "texts"])
@pytest.mark.parametrize("tenant", ["", "Acme", "../acme", "a" * 65, "a\n"])
def test_what_is_no_tenants_name_is_refused_before_anything_is_done(tmp_path: Path, command: str, tenant: str) -> None:
    outcome = CliRunner().invoke(app, [command, str(tmp_path / "nowhere"), "--tenant", tenant])
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("indexer: --tenant is 1 to 64 of a-z, 0-9, _ and -")
