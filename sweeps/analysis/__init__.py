"""From records to verdicts, and what to know of a study before believing them."""
