"""Many runs: studies, their execution, verdicts, reports and commands."""
