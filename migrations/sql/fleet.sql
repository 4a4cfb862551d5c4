-- Devices and cohorts.

create table devices (
    id text not null,
    public_key bytea,
    pending_key bytea,
    secret_salt bytea,
    models text[],
    status text not null,
    attributes jsonb not null default '{}'::jsonb,
    admin_attributes jsonb not null default '{}'::jsonb,
    enrolled_at timestamptz not null default now(),
    seen_at timestamptz,
    constraint pk_devices primary key (id),
    constraint ck_devices_status check (status in ('pending', 'accepted', 'suspended', 'decommissioned'))
);
create index ix_devices_admin_attributes on devices (id) where admin_attributes <> '{}'::jsonb;
create index ix_devices_not_accepted on devices (id) where status <> 'accepted';
create index ix_devices_seen_at on devices (seen_at);

create table installations (
    device_id text not null,
    model text not null,
    version text,
    seen_at timestamptz not null,
    constraint pk_installations primary key (device_id, model),
    constraint fk_installations_device_id foreign key (device_id) references devices (id) on delete cascade,
    constraint fk_installations_model foreign key (model) references models (name)
);

create table failure_resets (
    device_id text not null,
    model text not null,
    at timestamptz not null,
    constraint pk_failure_resets primary key (device_id, model),
    constraint fk_failure_resets_device_id foreign key (device_id) references devices (id) on delete cascade,
    constraint fk_failure_resets_model foreign key (model) references models (name)
);

create table cohorts (
    name text not null,
    description text not null default '',
    rule jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint pk_cohorts primary key (name)
);

create table cohort_members (
    cohort text not null,
    device_id text not null,
    constraint pk_cohort_members primary key (cohort, device_id),
    constraint fk_cohort_members_cohort foreign key (cohort) references cohorts (name) on delete cascade
);
