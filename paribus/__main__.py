"""`python -m paribus`."""

from paribus.sweeps.cli.main import main

main()
