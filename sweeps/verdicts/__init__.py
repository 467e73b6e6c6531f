"""From records, or anybody's results, to verdicts: `effects`, applied to what was observed."""
