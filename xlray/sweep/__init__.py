"""Driving a whole sweep: Ray Tune and Ray Train around the driver."""
