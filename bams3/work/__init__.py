"""Many units of work as a few jobs: plan, run, status, gather."""
