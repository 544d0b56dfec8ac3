"""Machines: jobs on a Ray cluster, spot notices, node types."""
