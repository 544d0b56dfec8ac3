"""One unit of work: its spec, its identity, its stored result."""
