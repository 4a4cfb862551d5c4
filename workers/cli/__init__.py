"""Commands that need the workers: `graylag patch`, `bench`, `worker` and `beat`."""
