"""`make cluster`: the cluster of docs/cluster.md on this machine, until Ctrl-C.

Its pages are on 127.0.0.1, where browsers open microphones without a certificate.
"""

import asyncio
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.cluster.cluster import ADDRESSES, Cluster, running_cluster

HOST = "192.0.2.1"


async def relay(port: int) -> None:
    """Pass TCP connections on to the load balancer until a signal comes."""
    end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end.set)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(ADDRESSES["proxy"], 80)
        with suppress(ConnectionError):
            await asyncio.gather(_copy(reader, back), _copy(there, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        await end.wait()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


def describe(cluster: Cluster, url: str) -> str:
    """Say what runs, and how to break it."""
    lines = [f"hushcast is ready: {url}", "a shell on a machine:"]
    for machine in cluster.lan.machines:
        lines.append(
            f"  {machine.name:8} {machine.address}  nsenter -t {machine.pid} -a -r -w bash"
        )
    return "\n".join(lines)


def main(port: int) -> None:
    """Run it."""
    url = f"http://127.0.0.1:{port}"
    changes = {"HUSHCAST_PUBLIC_URL": url, "HUSHCAST_SIGN_UP": "open"}
    with tempfile.TemporaryDirectory(prefix="hush-") as folder:
        with running_cluster(Path(folder), changes=changes) as cluster:
            with cluster.lan.joined(HOST):
                print(describe(cluster, url), flush=True)
                asyncio.run(relay(port))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
