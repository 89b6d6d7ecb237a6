"""Code that knows nothing of networks: files, names, TOML, child processes, messages."""
