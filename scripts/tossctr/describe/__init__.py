"""What the data look like before any training: counts, drift between the tables, and alarms."""
