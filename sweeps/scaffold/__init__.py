"""`paribus new`: from data to an experiment file that works as it is."""
