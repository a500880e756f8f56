"""Kastra kind RetentionPolicy: finished runs, events and threads go when they are old or too many."""
