"""The ledger: durable record of what the store holds, in one SQLite file."""
