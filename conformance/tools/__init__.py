"""What knows no networks: files, names, TOML, child processes, messages."""
