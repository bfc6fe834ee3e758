"""`python -m cove.cli`: the `cove` command."""

from .main import main

main()
