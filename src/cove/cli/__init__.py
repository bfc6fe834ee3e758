"""The `cove` command: thin, one module a noun. Everything goes through the running `cove up`."""
