"""The only room that knows SQL: rows <-> values, one table family per file."""
