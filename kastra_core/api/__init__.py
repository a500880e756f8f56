"""Declarative API: resources, kinds, references, selectors, conditions, merging. Data only, no I/O."""
