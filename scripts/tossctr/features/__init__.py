"""Rows as models take them: the feature map, what it is fitted to, and how it encodes rows."""
