"""From a data callable to split, prepared parts and their batches."""
