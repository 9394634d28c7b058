"""Becomes another program, after the few things that only the new process can do to itself.

    python -I -S launch.py --parent PID --death-signal N [--user-namespace | --user UID GID] -- COMMAND…

Run as a script, so that nothing has to happen between fork and exec of a process that has threads.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
"""Linux prctl(2): the signal this process gets when its parent dies. It survives exec."""
_NOBODY = 65534
"""PostgreSQL refuses user 0 only; any other number will do."""


def main(arguments: list[str]) -> None:
    """Prepare this process and replace it. Ends with 1 when its parent died meanwhile."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--death-signal", type=int, required=True)
    parser.add_argument("--user-namespace", action="store_true")
    parser.add_argument("--user", type=int, nargs=2)
    parser.add_argument("command", nargs="+")
    wanted = parser.parse_args(arguments)
    if wanted.user_namespace:
        _enter_user_namespace()
    if wanted.user:
        user, group = wanted.user
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    if sys.platform == "linux":
        # Last, for a change of user forgets it.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, wanted.death_signal)
    if os.getppid() != wanted.parent:
        sys.exit(1)
    # Not execvp: it imports more of the library, which another user may be unable to read.
    os.execv(wanted.command[0], wanted.command)  # noqa: S606 - no shell is the point


def _enter_user_namespace() -> None:
    """Be somebody else to ourselves while files stay owned by who we really are."""
    if sys.platform != "linux":
        sys.exit("Only Linux has user namespaces.")
    user, group = os.geteuid(), os.getegid()
    os.unshare(os.CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),  # a precondition of the next line
        ("gid_map", f"{_NOBODY} {group} 1"),
        ("uid_map", f"{_NOBODY} {user} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
