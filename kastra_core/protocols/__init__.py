"""What plugins implement: stores, models, controllers, runners, migrators. Protocols and plain data, no behaviour."""
