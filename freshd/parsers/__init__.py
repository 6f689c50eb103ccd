"""Parsers: bytes in, text and blocks out."""
