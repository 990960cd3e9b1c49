"""The command `dia`."""

import signal
import sys

from dia import _dia


def main() -> None:
    """Runs the command with the arguments of this process, and ends it with its exit code."""
    # An end by Ctrl-C is the command's, which leaves nothing half-written behind.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_dia.run_command(["dia", *sys.argv[1:]]))
