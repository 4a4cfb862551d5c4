"""Models, versions, blobs, patches and trust bundles."""
