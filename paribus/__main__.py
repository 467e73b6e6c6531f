"""`python -m paribus`."""

from paribus.sweeps.cli.start import main

main()
