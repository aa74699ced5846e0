"""Runs a program in a network of its own, whose one door is a socket in a folder.

Triton's SageMaker front end listens on every address and has no option for that. Runs as a script behind `unshare`, as the first process
of its namespace: when this one ends, the kernel ends all others.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import socketserver
import struct
import subprocess
import sys
import threading

PORT = 8080
"""Of the program, in its own network."""
_SIOCSIFFLAGS, _IFF_UP_RUNNING = 0x8914, 0x41
_CHUNK = 2**16


class _Relay(socketserver.BaseRequestHandler):
    """One connection, passed on both ways until both have ended."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", PORT)) as program:
            answers = threading.Thread(target=_pump, args=(program, self.request))
            answers.start()
            _pump(self.request, program)
            answers.join()


class _Door(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def main(door: str, command: list[str]) -> int:
    """The program's exit status; ends as well when standard input does, as it does with the one who started this."""
    _raise_loopback()
    threading.Thread(target=_Door(door, _Relay).serve_forever, daemon=True).start()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP_RUNNING))


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
