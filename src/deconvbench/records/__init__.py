"""Plain data on disk: cases, records, the journal and the run folder."""
