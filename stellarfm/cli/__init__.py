"""The `stellarfm` command: one short module a sub-command."""
