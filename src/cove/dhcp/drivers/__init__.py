"""DHCP servers that the agent can drive: one small interface (`base`), dnsmasq as its first implementation."""
