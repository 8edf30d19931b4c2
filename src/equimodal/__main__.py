"""`python -m equimodal` is `equimodal`."""

from equimodal.cli import main

main()
