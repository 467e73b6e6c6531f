"""Can it learn at all: a sequence of checks, each of which names one kind of fault."""
