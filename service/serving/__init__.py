"""The hot path: decides polls from memory and ingests events; durable state is written in group commits."""
