"""``python -m dia`` is the command `dia`."""

from dia._command import main

main()
