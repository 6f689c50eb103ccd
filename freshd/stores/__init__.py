"""Stores: where points live."""
