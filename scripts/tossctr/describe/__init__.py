"""Statistics of the data before any training: counts, drift between the tables, and alarms."""
