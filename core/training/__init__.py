"""From a configuration to an epoch's reports: engines, resume state, the job of a worker."""
