"""Events: store what devices report, update attempts, count outcomes and metrics, trigger gate evaluations."""
