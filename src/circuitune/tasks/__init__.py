"""A name or a file in, a ``PairSet`` out: text only, no model."""
