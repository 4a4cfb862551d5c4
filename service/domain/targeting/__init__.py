"""Which devices are meant: rules, cohorts, buckets, device classes, version ranges."""
