"""From task records to token ids on disk, and the order in which examples are seen."""
