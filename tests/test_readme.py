"""The README shows what the commands print: it is generated, and this is the check that it was."""

import subprocess
import sys

from .conftest import ROOT, environ


def test_the_readme_shows_real_output():
    command = [sys.executable, str(ROOT / "docs/readme.py"), "--check"]
    done = subprocess.run(command, env=environ(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
