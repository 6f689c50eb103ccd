"""Tests of freshd: real parts, real files; nothing from outside this machine unless a marker says so."""
