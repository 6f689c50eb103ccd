"""Connectors that ship with freshd; found through the entry-point group `freshd.connectors`."""
