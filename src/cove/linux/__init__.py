"""What Cove asks of the Linux kernel: links, network namespaces, daemon processes and files that survive a crash."""
