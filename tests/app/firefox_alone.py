"""Run in its own network namespace: a hushcast and a Firefox, with an address that is not loopback.

Firefox puts what is bundled at port 0, marked bundle-only, and skips loopback addresses.
"""

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from actors.ice import gather_on
from tests.app.client import Person, sign_up
from tests.app.test_offers import firefox_everywhere
from tests.running import running_app

ADDRESS = "10.9.9.1"
NETWORK = f"""
ip link set lo up
ip link add lan type veth peer name nobody
ip address add {ADDRESS}/24 dev lan
ip link set nobody up
ip link set lan up
ip route add default via 10.9.9.2
"""


async def main() -> None:
    """Start both, and let one use the other."""
    subprocess.run(["sh", "-ec", NETWORK], check=True)
    gather_on([ADDRESS])
    with tempfile.TemporaryDirectory(prefix="hushcast-firefox-") as folder:
        path = Path(folder)
        known: list[Person] = []
        with running_app(path / "data", HUSHCAST_ICE_ADDRESSES=ADDRESS) as app:

            async def make() -> Person:
                known.append(await sign_up(app.url))
                return known[-1]

            try:
                await firefox_everywhere(make, path / "profile", step=int(sys.argv[1]))
            finally:
                for person in known:
                    await person.close()


if __name__ == "__main__":
    asyncio.run(main())
