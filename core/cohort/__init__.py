"""The cohort engine: runs of equal shapes trained together, each a lane of one batched program.

Most of a small run's time is the overhead of its steps, which a batched program pays once for all
lanes. HFTA (Wang et al., MLSys 2021) fuses training jobs so by hand; here it happens by itself.
A lane's bits depend on nothing but its run: not on how many lanes stand beside it, or where.

The way of one step is `program.Program.train_epoch`; what is read from a module is a `chain`.
"""
