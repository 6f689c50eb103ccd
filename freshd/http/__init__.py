"""The endpoint and the dashboard."""
