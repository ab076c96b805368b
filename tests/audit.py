"""Look for known vulnerabilities in what hushcast installs: `python -m tests.audit`.

Exit code 1 when there are any. Without a network nothing can be looked up; that is said, and is no
failure.
"""

import json
import subprocess
import sys

COMMAND = [
    *(sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"),
    *("--disable-pip", "--require-hashes", "--requirement", "requirements.lock", "--timeout", "10"),
]


def main() -> int:
    """Print the findings."""
    ran = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    try:
        dependencies = json.loads(ran.stdout)["dependencies"]
    except ValueError:
        reason = (ran.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
        print(f"dependencies were not audited: {reason[:200]}")
        return 0
    vulnerable = [each for each in dependencies if each.get("vulns")]
    skipped = sum("skip_reason" in each for each in dependencies)
    for each in vulnerable:
        for found in each["vulns"]:
            fixed = ", ".join(found["fix_versions"]) or "nowhere yet"
            print(f"{each['name']} {each['version']}: {found['id']}, fixed in {fixed}")
    print(
        f"{len(dependencies) - skipped} dependencies audited, {len(vulnerable)} vulnerable; "
        f"{skipped} could not be looked up"
    )
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())
