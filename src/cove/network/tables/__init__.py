"""The attribute tables of all resources: names, defaults and rules of Networking v2.0, as data, one module each."""
