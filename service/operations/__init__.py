"""Everything the product does, one function each, outside the hot path.

- `releases`: models, versions, uploads and manifests.
- `patching`: which patches are built, and what becomes of them.
- `fleet`: devices, enrollment and cohorts.
- `rollouts`: drafts, approvals, starts, transitions and gates.
- `outcomes`: attempts, and the counts of their outcomes.
- `configuration`: the whole configuration as one document.
- `platform`: jobs, audit log, webhooks, API tokens, trust bundles and idempotency keys.

Functions take a session and the current time, never commit, and raise an error of `service.errors` when they refuse.

Each table has exactly one module that writes it, here or in `service.serving`; its docstring names the tables. `outcome_totals`
and `serving_epoch` are written by triggers only. `tests/test_table_writers.py` checks this.
"""
