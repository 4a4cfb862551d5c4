-- Attempts, events, and the counts of outcomes and metrics.

create table attempts (
    id uuid not null,
    device_id text not null,
    model text not null,
    rollout_id uuid not null,
    version_id bigint not null,
    stage smallint not null,
    device_class text not null default '',
    arm text not null default 'treatment',
    action text not null,
    from_version text,
    failure_fingerprint text not null default '',
    state text not null,
    code text,
    downloaded boolean not null default false,
    seq integer not null default -1,
    events integer not null default 0,
    bytes_offered bigint not null default 0,
    bytes_sent bigint not null default 0,
    offered_at timestamptz not null,
    lease_until timestamptz not null,
    closed_at timestamptz,
    constraint pk_attempts primary key (id),
    constraint fk_attempts_device_id foreign key (device_id) references devices (id) on delete cascade,
    constraint fk_attempts_rollout_id foreign key (rollout_id) references rollouts (id) on delete cascade,
    constraint fk_attempts_version_id foreign key (version_id) references versions (id)
);
create index ix_attempts_device_version on attempts (device_id, version_id);
create index ix_attempts_downloading on attempts (rollout_id) where closed_at is null and not downloaded;
create index ix_attempts_lease on attempts (lease_until) where closed_at is null;
create index ix_attempts_rollout_open on attempts (rollout_id) where closed_at is null;
create index ix_attempts_staged on attempts (rollout_id, stage, device_class)
    where closed_at is null and state = 'staged';
create unique index uq_attempts_open on attempts (device_id, model) where closed_at is null;

create table bandwidth_usage (
    rollout_id uuid not null,
    minute timestamptz not null,
    bytes bigint not null,
    constraint pk_bandwidth_usage primary key (rollout_id, minute),
    constraint fk_bandwidth_usage_rollout_id foreign key (rollout_id) references rollouts (id) on delete cascade
);

create table events (
    day date not null,
    event_id uuid not null,
    device_id text not null,
    attempt_id text,
    state text not null,
    code text,
    body jsonb not null,
    received_at timestamptz not null default now(),
    constraint pk_events primary key (day, event_id)
) partition by range (day);
create index ix_events_attempt_id on events (attempt_id);

create table device_classes (
    rollout_id uuid not null,
    device_class text not null,
    seen_at timestamptz not null default now(),
    constraint pk_device_classes primary key (rollout_id, device_class),
    constraint fk_device_classes_rollout_id foreign key (rollout_id) references rollouts (id) on delete cascade
);

create table outcome_rollups (
    rollout_id uuid not null,
    stage smallint not null,
    device_class text not null,
    arm text not null,
    minute timestamptz not null,
    offered bigint not null default 0,
    committed bigint not null default 0,
    failed bigint not null default 0,
    rolled_back bigint not null default 0,
    timed_out bigint not null default 0,
    withdrawn bigint not null default 0,
    early_reports bigint not null default 0,
    early_failures bigint not null default 0,
    bytes_sent bigint not null default 0,
    constraint pk_outcome_rollups primary key (rollout_id, stage, device_class, arm, minute),
    constraint fk_outcome_rollups_rollout_id foreign key (rollout_id) references rollouts (id) on delete cascade
);
create index ix_outcome_rollups_hours on outcome_rollups (minute)
    where extract(hour from minute at time zone 'UTC') <> 0;
create index ix_outcome_rollups_minutes on outcome_rollups (minute)
    where extract(minute from minute at time zone 'UTC') <> 0;

-- Few rows, each changed by every batch: free space on the pages avoids index updates.
create table outcome_totals (
    rollout_id uuid not null,
    stage smallint not null,
    device_class text not null,
    arm text not null,
    offered bigint not null default 0,
    committed bigint not null default 0,
    failed bigint not null default 0,
    rolled_back bigint not null default 0,
    timed_out bigint not null default 0,
    withdrawn bigint not null default 0,
    early_reports bigint not null default 0,
    early_failures bigint not null default 0,
    bytes_sent bigint not null default 0,
    staged bigint not null default 0,
    constraint pk_outcome_totals primary key (rollout_id, stage, device_class, arm),
    constraint fk_outcome_totals_rollout_id foreign key (rollout_id) references rollouts (id) on delete cascade
) with (fillfactor = 50);

create table metric_names (
    model text not null,
    name text not null,
    seen_at timestamptz not null default now(),
    constraint pk_metric_names primary key (model, name),
    constraint fk_metric_names_model foreign key (model) references models (name)
);

create table metric_histograms (
    rollout_id uuid not null,
    metric text not null,
    stage smallint not null,
    device_class text not null,
    arm text not null,
    day date not null,
    bucket smallint not null,
    count bigint not null,
    constraint pk_metric_histograms primary key (rollout_id, metric, stage, device_class, arm, day, bucket),
    constraint fk_metric_histograms_rollout_id foreign key (rollout_id) references rollouts (id) on delete cascade
);
create index ix_metric_histograms_days on metric_histograms (day) where extract(day from day) <> 1;

create table metric_totals (
    rollout_id uuid not null,
    metric text not null,
    stage smallint not null,
    device_class text not null,
    arm text not null,
    count bigint not null,
    bucket_sum bigint not null,
    bucket_square_sum bigint not null,
    constraint pk_metric_totals primary key (rollout_id, metric, stage, device_class, arm),
    constraint fk_metric_totals_rollout_id foreign key (rollout_id) references rollouts (id) on delete cascade
);

create table metric_reports_seen (
    rollout_id uuid not null,
    digest bigint not null,
    constraint pk_metric_reports_seen primary key (rollout_id, digest),
    constraint fk_metric_reports_seen_rollout_id foreign key (rollout_id) references rollouts (id) on delete cascade
);
