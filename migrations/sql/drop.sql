-- Drop everything that the initial schema has created, tables in the reverse order of their foreign keys.

drop table serving_epoch, webhook_deliveries, webhooks, api_tokens, enrollment_tokens, idempotency_keys, audit_log, jobs;
drop table metric_reports_seen, metric_totals, metric_histograms, metric_names, outcome_totals, outcome_rollups,
  device_classes, events, bandwidth_usage, attempts;
drop table templates, gate_evaluations, approvals, rollout_events, stages, rollouts;
drop table cohort_members, cohorts, failure_resets, installations, devices;
drop table trust_bundles, patch_requests, patches, uploads, components, variants, versions, blobs, models;

drop function count_staged_attempts();
drop function add_updated_rollups();
drop function add_inserted_rollups();
drop function create_event_partitions(date, int);
drop function increment_serving_epoch();
