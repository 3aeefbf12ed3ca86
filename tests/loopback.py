"""Addresses for workers on this machine."""

import contextlib
import socket


def free_addresses(count):
    """Returns so many "127.0.0.1:port" that nobody listens on."""
    with contextlib.ExitStack() as opened:
        ports = [
            opened.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            for _ in range(count)
        ]
    return [f"127.0.0.1:{port}" for port in ports]
