"""Scenarios: declared chaos from injection to recovery: schema, plan, runner, ledger, verdict."""
