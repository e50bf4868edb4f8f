"""When a step runs again: the params of its rule that stand for settings and for code."""
