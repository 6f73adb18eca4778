"""Known vulnerabilities of what is pinned: python -m tests.audit PIP_AUDIT FILE...

Exit codes: 0 none, 1 some, 2 the index gave no answer about any package, so nothing is known.
"""

import json
import subprocess
import sys


def audit(pip_audit: str, file: str) -> tuple[int, int]:
    """Prints what pip-audit finds; returns how many pins have a known vulnerability, how many were asked about."""
    command = [pip_audit, "--no-deps", "--disable-pip", "--format", "json", "-r", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        sys.exit(done.stderr)
    pins = json.loads(done.stdout)["dependencies"]
    silent = [pin["name"] for pin in pins if "skip_reason" in pin]
    known = [pin for pin in pins if pin.get("vulns")]
    for pin in known:
        ids = ", ".join(
            f"{hole['id']} (fixed in {', '.join(hole['fix_versions']) or 'no version'})"
            for hole in pin["vulns"]
        )
        print(f"  {pin['name']} {pin['version']}: {ids}")
    print(f"{file}: {len(pins)} packages, {len(known)} with known vulnerabilities.")
    if silent:
        print(f"  The index has no advisories for {len(silent)} of them: {', '.join(silent)}.")
    return len(known), len(pins) - len(silent)


if __name__ == "__main__":
    found = [audit(sys.argv[1], file) for file in sys.argv[2:]]
    if any(known for known, _ in found):
        sys.exit(1)
    if not any(asked for _, asked in found):
        sys.exit(2)
