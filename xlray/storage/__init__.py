"""Where files lie: folders, object stores, leases, the journal, Parquet."""
