"""The program ``kastra`` of stories: has its command run by the server of forked processes, and ends as that does.

It is started as ``python -IS`` and imports as little as it can: it is what a command of a story costs beside itself.
"""

import os
import signal
import socket
import sys


def main() -> int:
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    door.connect(os.environ["STORY_DOOR"])
    names = (word for pair in os.environb.items() for word in pair)
    words = [str(len(sys.argv) - 1).encode(), *map(os.fsencode, sys.argv[1:]), os.getcwdb(), *names]  # noqa: PTH109
    request = b"\0".join(words)
    socket.send_fds(door, [len(request).to_bytes(4, "big")], [0, 1, 2])
    door.sendall(request)
    lines = door.makefile("r", encoding="ascii")
    pid = int(lines.readline())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: os.kill(pid, received))
    code = int(lines.readline())
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    os._exit(main())  # there is nothing to take down
