"""The process behind `cove up`: puts the parts together, serves the API, hands over or takes down at the end."""
