"""Durable runs: provider choice, journal, context, scheduler, and the manager of runs."""
