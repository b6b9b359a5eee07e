"""`python -m nssh`."""

from nssh.cli import main

main()
