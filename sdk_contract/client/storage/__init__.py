"""What the client keeps on disk: state, objects, keys, journals, and the file system underneath."""
