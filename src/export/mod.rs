//! Events out of the store in the published format: gzip JSON lines, exactly once.
